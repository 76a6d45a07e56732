// What a visitor composes: strokes and pictures on a ground, a square of the model's size. Every item
// is painted in a unit square around its centre, so that all are moved and scaled alike.

import { asLight, read, show } from "./pixels.js";

const SMALLEST = 2; // pixels

export class Scene {
  /** mode: what the model knows: "ink", light that adds up on black, "L" grey, "RGB" colour. */
  constructor(canvas, size, mode) {
    this.canvas = canvas;
    this.size = size;
    this.mode = mode;
    this.ground = null; // a canvas that lies behind all items, or null for black
    this.items = [];
    this.selected = null;
    canvas.width = canvas.height = size;
  }

  /** Add a picture, the centre of which is at (x, y), and select it; of one channel it is white ink. */
  addPicture(rows, x, y, width) {
    const item = { x, y, size: width, rows, canvas: asItem(rows) };
    item.paint = (context) => context.drawImage(item.canvas, -0.5, -0.5, 1, 1);
    this.items.push(item);
    this.selected = item;
    return item;
  }

  /** Add a stroke that begins at a point; `extend` goes on. */
  addStroke(point, { width, colour }) {
    const item = { points: [point], width, colour };
    this.items.push(item);
    this.selected = item;
    this.extend(item, point);
    return item;
  }

  extend(stroke, point) {
    stroke.points.push(point);
    const [xs, ys] = [0, 1].map((axis) => stroke.points.map((each) => each[axis]));
    const [left, right, top, bottom] = [
      Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    stroke.x = (left + right) / 2;
    stroke.y = (top + bottom) / 2;
    stroke.size = Math.max(right - left, bottom - top) + stroke.width;
    const { x, y, size, width } = stroke;
    const path = stroke.points.map((each) => [(each[0] - x) / size, (each[1] - y) / size]);
    stroke.paint = (context) => {
      context.strokeStyle = stroke.colour;
      context.lineWidth = width / size;
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      context.moveTo(...path[0]);
      for (const each of path) context.lineTo(...each);
      context.stroke();
    };
  }

  /** Swap light and dark of a picture that is ink. */
  invert(item) {
    item.rows = item.rows.map((row) => row.map(([grey]) => [255 - grey]));
    item.canvas = asItem(item.rows);
  }

  move(item, x, y) {
    item.x = Math.min(Math.max(x, 0), this.size);
    item.y = Math.min(Math.max(y, 0), this.size);
  }

  resize(item, size) {
    item.size = Math.min(Math.max(size, SMALLEST), 2 * this.size);
  }

  remove(item) {
    this.items = this.items.filter((each) => each !== item);
    if (this.selected === item) this.selected = null;
  }

  /** Remove all items, and lay another ground: rows of pixels, or null for black. */
  begin(ground) {
    this.items = [];
    this.selected = null;
    this.ground = ground && show(document.createElement("canvas"), ground);
  }

  /** Return the item at a point, the last one added first. */
  at(x, y) {
    const reaches = (item) => {
      const half = Math.max(item.size, this.size / 12) / 2; // a small one can be hit too
      return Math.abs(x - item.x) <= half && Math.abs(y - item.y) <= half;
    };
    return this.items.findLast(reaches) ?? null;
  }

  /** Return the point where something of a width would be farthest from all items. */
  freePlace(width) {
    const margin = Math.min(width / 2, this.size / 2);
    const steps = [0, 0.25, 0.5, 0.75, 1].map((share) => margin + share * (this.size - 2 * margin));
    const places = steps.flatMap((y) => steps.map((x) => [x, y]));
    const room = ([x, y]) => Math.min(
      ...this.items.map((item) => Math.hypot(x - item.x, y - item.y)),
      this.size - Math.hypot(x - this.size / 2, y - this.size / 2) / 8); // an empty scene: its middle
    return places.reduce((best, place) => (room(place) > room(best) ? place : best));
  }

  /** Draw all items: ink adds up where it overlaps, else the last is in front. */
  draw() {
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.size, this.size);
    if (this.ground) context.drawImage(this.ground, 0, 0);
    if (this.mode === "ink") context.globalCompositeOperation = "lighter";
    context.imageSmoothingQuality = "high";
    for (const item of this.items) {
      context.save();
      context.translate(item.x, item.y);
      context.scale(item.size, item.size);
      item.paint(context);
      context.restore();
    }
  }

  /** Return the rows of pixels that the model is to look at. */
  pixels() {
    return read(this.canvas, this.mode === "RGB" ? 3 : 1);
  }
}

const asItem = (rows) =>
  rows[0][0].length === 1 ? asLight(rows) : show(document.createElement("canvas"), rows);
