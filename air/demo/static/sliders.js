// Sliders over the latents of one step, each around what was inferred.

import { make } from "./found.js";

const byId = (id) => document.getElementById(id);
const rounded = (value) => value.toFixed(2).replace("-", "−");

/**
 * The sliders of z_where and of the first components of z_what.
 * ranges: scale, position, what, num_components; changed: called after each change.
 */
export class Sliders {
  constructor(ranges, changed) {
    this.ranges = ranges;
    this.changed = changed;
    this.step = null; // whose latents the sliders change
    this.rows = ["s", "x", "y"].map((name, i) => this.row("where", i, name, name));
    byId("where-sliders").append(...this.rows.map((row) => row.element));
    const what = Array.from({ length: ranges.num_components },
      (_, i) => this.row("what", i, i + 1, `component ${i + 1}`));
    byId("what-sliders").append(...what.map((row) => row.element));
    this.rows.push(...what);
  }

  row(group, i, name, label) {
    const element = make("div", { className: "latent" });
    const input = make("input", {
      type: "range", step: "any", id: `${group}-${i}`, ariaLabel: `z_${group} ${label}` });
    const value = make("output", { htmlFor: input.id });
    const range = make("span", { className: "range" });
    element.append(make("label", { textContent: name, htmlFor: input.id }), input, value, range);
    input.addEventListener("input", () => {
      this.step[`z_${group}`][i] = Number(input.value);
      value.value = rounded(Number(input.value));
      this.changed();
    });
    return { group, i, element, input, value, range };
  }

  /** Show a step's latents as they are now, around those that were inferred. */
  show(step, inferred) {
    this.step = step;
    for (const { group, i, input, value, range } of this.rows) {
      const mean = inferred[`z_${group}`][i];
      const reach = this.reach(group, i, mean);
      input.min = mean - reach;
      input.max = mean + reach;
      input.value = step[`z_${group}`][i];
      value.value = rounded(step[`z_${group}`][i]);
      range.textContent = `${rounded(mean)} ± ${rounded(reach)}`;
    }
  }

  reach(group, i, mean) {
    if (group === "what") return this.ranges.what;
    return i === 0 ? this.ranges.scale * Math.abs(mean) : this.ranges.position;
  }
}
