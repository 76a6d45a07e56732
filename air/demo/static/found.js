// What was inferred: the count with its probabilities, and a card for each step.

import { show } from "./pixels.js";

const byId = (id) => document.getElementById(id);

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Show the count and a bar for the probability of each. */
export function showCount({ count, count_probs: probabilities }) {
  byId("count").value = count;
  byId("count-noun").textContent = count === 1 ? "object" : "objects";
  byId("bars").replaceChildren(...probabilities.map((probability, number) => {
    const bar = make("div", { className: "bar", id: `bar-${number}`, role: "listitem" });
    bar.classList.toggle("best", number === count);
    const filled = make("div", { className: "filled" });
    filled.style.width = `${100 * probability}%`;
    const track = make("div", { className: "track" });
    track.append(filled);
    bar.append(
      make("span", { textContent: number }), track,
      make("span", { className: "figure", textContent: percent(probability) }));
    return bar;
  }));
}

/**
 * Show a card for each step, one of them chosen.
 * shown: how many steps have been played; choose: called with the step that the visitor chooses.
 */
export function showSteps(steps, colours, chosen, shown, choose) {
  const list = byId("steps");
  if (list.children.length !== steps.length) {
    list.replaceChildren(...steps.map((_, t) => card(t, colours[t % colours.length], choose)));
  }
  steps.forEach((step, t) => {
    const waiting = t >= shown;
    byId(`step-${t}`).classList.toggle("absent", !step.present);
    byId(`step-${t}`).classList.toggle("waiting", waiting);
    byId(`choose-${t}`).checked = t === chosen;
    byId(`step-${t}-says`).textContent = step.present ? "an object" : "nothing more";
    byId(`step-${t}-probability`).textContent = `present: ${percent(step.probability)}`;
    const [x0, y0, x1] = step.box;
    byId(`step-${t}-box`).textContent =
      `window: ${(x1 - x0).toFixed(1)} px at ${x0.toFixed(1)}, ${y0.toFixed(1)}`;
    show(byId(`glimpse-${t}`), step.glimpse);
    show(byId(`decoding-${t}`), step.decoding);
  });
}

function card(t, colour, choose) {
  const box = make("label", { className: "step", id: `step-${t}` });
  box.style.setProperty("--colour", colour);
  const input = make("input", { type: "radio", name: "step", id: `choose-${t}` });
  input.addEventListener("change", () => choose(t));
  const text = make("div");
  text.append(
    input,
    make("strong", { textContent: `Step ${t + 1}` }),
    make("span", { id: `step-${t}-says` }),
    make("span", { id: `step-${t}-probability` }),
    make("span", { id: `step-${t}-box` }));
  box.append(
    text, picture(`glimpse-${t}`, "glimpse", t),
    make("span", { className: "arrow", textContent: "→", ariaHidden: "true" }),
    picture(`decoding-${t}`, "decoding", t));
  return box;
}

function picture(id, caption, t) {
  const figure = make("figure");
  const canvas = make("canvas", { id, role: "img", ariaLabel: `${caption} of step ${t + 1}` });
  figure.append(canvas, make("figcaption", { textContent: caption }));
  return figure;
}

/** Return an element with properties. */
export function make(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
