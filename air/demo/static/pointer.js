// The visitor's hand on the scene: drawing, moving, scaling, and the same with keys.

const REACH = 10; // screen pixels around a corner

/**
 * Let a scene be changed with pointer, wheel and keys.
 * tool: () => "move" or "draw"; brush: () => { width in pixels, colour }; changed: called after
 * each change.
 */
export function handle(scene, { tool, brush, changed }) {
  const canvas = scene.canvas;
  let act = null; // what a move of the pointer does

  const point = (event) => {
    const edges = canvas.getBoundingClientRect();
    const scale = scene.size / edges.width;
    return [(event.clientX - edges.left) * scale, (event.clientY - edges.top) * scale];
  };

  const atCorner = (item, [x, y]) => {
    const reach = (REACH * scene.size) / canvas.clientWidth;
    return [x - item.x, y - item.y].every(
      (distance) => Math.abs(Math.abs(distance) - item.size / 2) <= reach);
  };

  function begin(event) {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = point(event);
    if (tool() === "draw") {
      const stroke = scene.addStroke([x, y], brush());
      act = (to) => scene.extend(stroke, to);
    } else if (scene.selected && atCorner(scene.selected, [x, y])) {
      const item = scene.selected;
      act = (to) => scene.resize(
        item, 2 * Math.max(Math.abs(to[0] - item.x), Math.abs(to[1] - item.y)));
    } else {
      const item = scene.at(x, y);
      scene.selected = item;
      const [dx, dy] = item ? [item.x - x, item.y - y] : [0, 0];
      act = item && ((to) => scene.move(item, to[0] + dx, to[1] + dy));
    }
    changed();
  }

  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", (event) => {
    if (!act) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) act(point(each));
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { act = null; });
  }

  canvas.addEventListener("wheel", (event) => {
    const item = scene.at(...point(event));
    if (!item || tool() === "draw") return;
    event.preventDefault();
    scene.selected = item;
    scene.resize(item, item.size * Math.exp(-event.deltaY / 800));
    changed();
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    const item = scene.selected;
    const keys = {
      ArrowLeft: () => scene.move(item, item.x - 1, item.y),
      ArrowRight: () => scene.move(item, item.x + 1, item.y),
      ArrowUp: () => scene.move(item, item.x, item.y - 1),
      ArrowDown: () => scene.move(item, item.x, item.y + 1),
      "+": () => scene.resize(item, item.size + 1),
      "-": () => scene.resize(item, item.size - 1),
      Delete: () => scene.remove(item),
      Backspace: () => scene.remove(item),
    };
    if (!item || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
    changed();
  });
}
