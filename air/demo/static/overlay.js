// What lies over a picture: what each object explains and the windows, in the colours of the steps,
// and the selection.

/**
 * Draw over a picture, at the screen's own resolution.
 * windows: [{box: [x0, y0, x1, y1] in the picture's pixels, colour, name, dashed}].
 * selected: an item of the scene, or null. masks: a canvas of the picture's size, or null.
 */
export function drawOverlay(canvas, size, windows, { selected = null, masks = null } = {}) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = canvas.height = Math.round(width * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const scale = width / size;
  if (masks) {
    context.imageSmoothingEnabled = false;
    context.globalAlpha = 0.6;
    context.drawImage(masks, 0, 0, width, width);
    context.globalAlpha = 1;
  }
  if (selected) drawSelection(context, scale, selected);
  for (const each of windows) drawWindow(context, scale, width, each);
}

/** Return a canvas with the pixels of each step's object in its colour, of the first steps. */
export function asMasks(segmentation, colour, shown) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = segmentation.length;
  const context = canvas.getContext("2d");
  segmentation.forEach((row, y) => row.forEach((number, x) => {
    if (number === 0 || number > shown) return; // the background, or not yet played
    context.fillStyle = colour(number - 1);
    context.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

function drawWindow(context, scale, width, { box, colour, name, dashed }) {
  const [x0, y0, x1, y1] = box.map((edge) => edge * scale);
  context.setLineDash(dashed ? [6, 4] : []);
  context.lineWidth = 5;
  context.strokeStyle = "rgb(0 0 0 / 60%)"; // so that the window shows on white, too
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  context.lineWidth = 3;
  context.strokeStyle = colour;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  const [left, top] = [x0, y0 - 18].map((edge) => Math.min(Math.max(edge, 0), width - 18));
  context.fillStyle = colour;
  context.fillRect(left - 1.5, top, 18, 18);
  context.fillStyle = "#000";
  context.font = "bold 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(name, left + 7.5, top + 9.5);
}

function drawSelection(context, scale, { x, y, size }) {
  const [left, top, length] = [(x - size / 2) * scale, (y - size / 2) * scale, size * scale];
  context.lineWidth = 1;
  context.strokeStyle = "#000"; // between the dashes, so that they show on white, too
  context.strokeRect(left, top, length, length);
  context.setLineDash([3, 3]);
  context.strokeStyle = "#fff";
  context.strokeRect(left, top, length, length);
  context.setLineDash([]);
  context.fillStyle = "#fff";
  for (const [cornerX, cornerY] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    context.fillRect(left + cornerX * length - 4, top + cornerY * length - 4, 8, 8);
  }
}
