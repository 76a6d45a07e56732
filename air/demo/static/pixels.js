// Images as the server sends them, rows of pixels, each a list of its channels (one of grey, three of
// colour, a fourth for opacity) with values 0…255; and canvases.

/** Draw rows of pixels on a canvas, which takes their size, and return it. */
export function show(canvas, rows) {
  return paint(canvas, rows, ([r, g = r, b = r, opacity = 255]) => [r, g, b, opacity]);
}

/** Return a canvas whose white is as opaque as a grey image is bright, so that pictures add up. */
export function asLight(rows) {
  return paint(document.createElement("canvas"), rows, ([grey]) => [255, 255, 255, grey]);
}

/** Return the rows of pixels of a canvas, with the first so many of its channels. */
export function read(canvas, channels) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const pixel = (i) => Array.from(data.subarray(i, i + channels));
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => pixel(4 * (y * width + x))));
}

function paint(canvas, rows, colour) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const image = new ImageData(canvas.width, canvas.height);
  image.data.set(rows.flat().flatMap(colour));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
