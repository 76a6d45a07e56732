// The page: what the visitor does goes to the scene, the scene to the model, and what it says to
// the page.

import * as api from "./api.js";
import { make, showCount, showSteps } from "./found.js";
import { asMasks, drawOverlay } from "./overlay.js";
import { show } from "./pixels.js";
import { handle } from "./pointer.js";
import { Scene } from "./scene.js";
import { Sliders } from "./sliders.js";

const byId = (id) => document.getElementById(id);
const PAUSE = 900; // ms between two steps that are played
const MEGA = 1e6;

const model = await api.getModel().catch((error) => {
  complain(error);
  throw error;
});
const scene = new Scene(byId("scene"), model.x_size, model.mode);
const ofDigits = model.strip === "digits";
let strip = []; // digits, or held-out images
let page = 0;
let found = null; // what was inferred in the scene
let drawn = null; // the same steps, as the visitor changed them
let pictures = null; // of these: reconstruction, objects, background, segmentation
let chosen = 0; // step whose latents the sliders change
let shown = Infinity; // steps that have been played
let timer = null; // of the next step to be played
let sceneIsNew = false; // to the model

// --- the scene ------------------------------------------------------------------------------------

function sceneChanged() {
  stopPlaying();
  complain(null);
  scene.draw();
  showTools();
  showWindows();
  inferSoon();
}

function showTools() {
  const drawing = tool() === "draw";
  const item = scene.selected;
  scene.canvas.classList.toggle("draw", drawing);
  byId("brush-row").hidden = !drawing;
  byId("size-row").hidden = drawing;
  byId("shade").hidden = !drawing || model.mode !== "L";
  byId("colour").hidden = !drawing || model.mode !== "RGB";
  byId("item-size").disabled = byId("remove").disabled = !item;
  byId("invert").disabled = !item?.rows;
  byId("invert").hidden = model.mode !== "ink";
  if (item) byId("item-size").value = item.size;
}

const tool = () => document.querySelector("input[name=tool]:checked").value;

function useTool(name) {
  byId(`tool-${name}`).checked = true;
}

function brush() {
  const colours = { ink: "#fff", L: byId("shade").value, RGB: byId("colour").value };
  return { width: byId("brush").valueAsNumber, colour: colours[model.mode] };
}

function add(place, x, y) {
  if (ofDigits) {
    addDigit(strip[place].pixels, x, y);
  } else {
    scene.begin(strip[place]);
    sceneChanged();
  }
}

function addDigit(pixels, x, y) {
  const size = model.digit_size;
  const place = x === undefined ? scene.freePlace(size) : [x, y];
  scene.addPicture(pixels, ...place, size);
  useTool("move");
  sceneChanged();
}

async function showStrip() {
  strip = await (ofDigits ? api.getDigits(page) : api.getImages(page));
  byId("strip").replaceChildren(...strip.map((each, place) => {
    const [id, ariaLabel, pixels] = ofDigits
      ? [`digit-${each.label}`, `Add the digit ${each.label}`, each.pixels]
      : [`image-${place}`, `Show the model image ${place + 1}`, each];
    const button = make("button", { type: "button", id, draggable: true, ariaLabel });
    button.append(show(make("canvas"), pixels));
    button.addEventListener("click", () => add(place));
    button.addEventListener("dragstart", (event) => event.dataTransfer.setData("text", place));
    return button;
  }));
}

async function loadImage(file) {
  if (file.size > model.max_upload_megabytes * MEGA) { // the server would stop reading half-way
    complain(new Error(`too large: at most ${model.max_upload_megabytes} MB can be loaded`), file);
    return;
  }
  try {
    const { pixels } = await api.upload(file);
    scene.begin(model.ground);
    scene.addPicture(pixels, scene.size / 2, scene.size / 2, scene.size);
    useTool("move");
    sceneChanged();
  } catch (error) {
    complain(error, file);
  }
}

function dropped(event) {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) {
    loadImage(file);
    return;
  }
  const place = Number.parseInt(event.dataTransfer.getData("text"), 10);
  const edges = scene.canvas.getBoundingClientRect();
  const scale = scene.size / edges.width;
  if (place in strip) {
    add(place, (event.clientX - edges.left) * scale, (event.clientY - edges.top) * scale);
  }
}

// --- what the model says --------------------------------------------------------------------------

// One queue for both, so that an answer never comes after that to a later question.
const updateSoon = api.eventually(async () => {
  try {
    await (sceneIsNew ? infer() : render());
    document.body.dataset.state = "ready";
  } catch (error) {
    complain(error);
    document.body.dataset.state = "failed";
  }
});

function renderSoon() {
  document.body.dataset.state = "working";
  updateSoon();
}

function inferSoon() {
  sceneIsNew = true;
  renderSoon();
}

async function infer() {
  sceneIsNew = false;
  found = await api.infer(scene.pixels(), byId("num-steps").valueAsNumber);
  drawn = structuredClone(found.steps);
  if (chosen >= found.count) chosen = 0;
  pictures = { ...found };
  showDrawn();
  showAll();
}

async function render() {
  if (!drawn) return; // nothing was ever inferred
  const answer = await api.render(drawn.map(({ present, z_where, z_what }, t) => (
    { present: present && t < shown, z_where, z_what })), found.background);
  answer.steps.forEach((step, t) => Object.assign(drawn[t], step));
  Object.assign(pictures, answer);
  showDrawn();
  showWindows();
  showCards();
}

function showAll() {
  showCount(found);
  showCards();
  showWindows();
  showSliders();
}

function showCards() {
  const steps = found.steps.map((step, t) => ({ ...step, decoding: drawn[t].decoding }));
  showSteps(steps, model.colours, chosen, shown, choose);
}

function showDrawn() {
  const view = document.querySelector("input[name=view]:checked");
  show(byId("reconstruction"), pictures[view.value]);
  byId("reconstruction").ariaLabel =
    view.value === "reconstruction" ? "Reconstruction" : view.nextSibling.textContent;
}

function showWindows() {
  const colour = (t) => model.colours[t % model.colours.length];
  const masks = (of) =>
    of && byId("segmentation").checked ? asMasks(of.segmentation, colour, shown) : null;
  const windows = (steps, dashed) => steps
    .map((step, t) => ({ box: step.box, colour: colour(t), name: t + 1, dashed, step }))
    .filter(({ step }, t) => step.present && t < shown);
  const selected = tool() === "move" ? scene.selected : null;
  drawOverlay(
    byId("windows"), scene.size, windows(found?.steps ?? [], false),
    { selected, masks: masks(found) });
  drawOverlay(
    byId("drawn-windows"), scene.size, windows(drawn ?? [], true), { masks: masks(pictures) });
}

function showSliders() {
  byId("edited-step").textContent = chosen + 1;
  byId("present").checked = drawn[chosen].present;
  sliders.show(drawn[chosen], found.steps[chosen]);
}

function choose(t) {
  chosen = t;
  showSliders();
}

// --- playing --------------------------------------------------------------------------------------

/** Show one step after the other, up to the one that finds nothing more. */
function play() {
  stopPlaying();
  const last = Math.min(found.count + 1, found.steps.length);
  const next = (steps) => {
    shown = steps;
    chosen = Math.max(steps - 1, 0);
    showAll();
    renderSoon();
    timer = setTimeout(() => (steps < last ? next(steps + 1) : end()), PAUSE);
  };
  const end = () => {
    stopPlaying();
    showAll();
  };
  next(0);
}

function stopPlaying() {
  clearTimeout(timer);
  shown = Infinity;
}

// --- messages and wiring --------------------------------------------------------------------------

function complain(error, file) {
  byId("message").hidden = !error;
  byId("scene-help").hidden = Boolean(error); // the message takes its place
  byId("message").textContent = error ? `${file ? `${file.name}: ` : ""}${error.message}` : "";
  if (error && !file) console.error(error);
}

const sliders = new Sliders(model.sliders, () => {
  drawn[chosen].present = byId("present").checked = true; // else nothing would be seen to change
  renderSoon();
});
byId("run").textContent = `${model.run}, iteration ${model.iteration}`;
byId("what-hint").textContent =
  `the first ${model.sliders.num_components} of ${model.z_what_size} components`;
byId("num-steps").value = model.num_steps;
byId("num-steps").max = Math.max(9, model.num_steps);
byId("item-size").max = 1.5 * scene.size;
byId("brush").value = Math.max((model.digit_size * 2.4) / 28, 1).toFixed(1);
const bright = model.ground?.flat(2).reduce((sum, value, _, { length }) => sum + value / length, 0);
byId("shade").value = bright > 127 ? "#000" : "#fff"; // what the ground is not
byId("colour").value = bright > 127 ? "#000000" : "#ffffff";
byId("strip-name").textContent =
  ofDigits ? "Digits the model never saw" : "Images the model never saw";
byId("more").textContent = ofDigits ? "Other digits" : "Other images";
byId("views").hidden = !model.ground;

handle(scene, { tool, brush, changed: sceneChanged });
scene.canvas.addEventListener("dragover", (event) => event.preventDefault());
scene.canvas.addEventListener("drop", dropped);
for (const name of ["move", "draw"]) byId(`tool-${name}`).addEventListener("change", () => { showTools(); showWindows(); });
byId("item-size").addEventListener("input", (event) => {
  scene.resize(scene.selected, event.target.valueAsNumber);
  sceneChanged();
});
byId("invert").addEventListener("click", () => { scene.invert(scene.selected); sceneChanged(); });
byId("remove").addEventListener("click", () => { scene.remove(scene.selected); sceneChanged(); });
byId("clear").addEventListener("click", () => { scene.begin(model.ground); sceneChanged(); });
byId("more").addEventListener("click", () => { page += 1; showStrip().catch(complain); });
for (const view of document.querySelectorAll("input[name=view]")) {
  view.addEventListener("change", () => pictures && showDrawn());
}
byId("segmentation").addEventListener("change", showWindows);
byId("upload").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) loadImage(file);
  event.target.value = ""; // so that the same file can be chosen again
});
byId("num-steps").addEventListener("change", (event) => {
  if (event.target.checkValidity() && event.target.value) inferSoon();
});
byId("present").addEventListener("change", (event) => {
  drawn[chosen].present = event.target.checked;
  renderSoon();
});
byId("reset").addEventListener("click", () => {
  drawn[chosen] = structuredClone(found.steps[chosen]);
  showSliders();
  renderSoon();
});
byId("play").addEventListener("click", () => found && play());
window.addEventListener("resize", showWindows);

scene.begin(model.ground);
await showStrip();
if (ofDigits) {
  addDigit(strip[4].pixels, 0.28 * scene.size, 0.3 * scene.size);
  addDigit(strip[7].pixels, 0.7 * scene.size, 0.68 * scene.size);
} else {
  add(0);
}
