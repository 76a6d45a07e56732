// Grey images: rows of values 0…255, as the server sends them, and canvases.

/** Draw rows of grey values on a canvas, which takes their size. */
export function show(canvas, rows) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  canvas.getContext("2d").putImageData(imageData(rows, (grey) => [grey, grey, grey, 255]), 0, 0);
}

/** Return a canvas whose white is as opaque as the image is bright, so that pictures add up. */
export function asLight(rows) {
  const canvas = document.createElement("canvas");
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  canvas.getContext("2d").putImageData(imageData(rows, (grey) => [255, 255, 255, grey]), 0, 0);
  return canvas;
}

/** Return the rows of grey values of a canvas that is grey. */
export function read(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => data[4 * (y * width + x)]));
}

function imageData(rows, colour) {
  const image = new ImageData(rows[0].length, rows.length);
  image.data.set(rows.flat().flatMap(colour));
  return image;
}
