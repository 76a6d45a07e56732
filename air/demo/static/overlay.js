// What lies over a picture: the windows in the colours of their steps, and the selection.

/**
 * Draw over a picture, at the screen's own resolution.
 * windows: [{box: [x0, y0, x1, y1] in the picture's pixels, colour, name, dashed}].
 * selected: an item of the scene, or null.
 */
export function drawOverlay(canvas, size, windows, selected = null) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = canvas.height = Math.round(width * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const scale = width / size;
  if (selected) drawSelection(context, scale, selected);
  for (const each of windows) drawWindow(context, scale, width, each);
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
  context.setLineDash([3, 3]);
  context.strokeStyle = "#fff";
  context.strokeRect(left, top, length, length);
  context.setLineDash([]);
  context.fillStyle = "#fff";
  for (const [cornerX, cornerY] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    context.fillRect(left + cornerX * length - 4, top + cornerY * length - 4, 8, 8);
  }
}
