// The server's interface. Every failure becomes an Error whose message a visitor can read.

export const getModel = () => call("api/model");
export const getDigits = (page) => call(`api/digits/${page}`);
export const getImages = (page) => call(`api/images/${page}`);
export const infer = (pixels, numSteps) => post("api/infer", { pixels, num_steps: numSteps });
export const render = (steps, background) => post("api/render", { steps, background });

/** Send a file; the server answers with the image, of the scene's size. */
export const upload = (file) => call("api/upload", { method: "POST", body: file });

const post = (path, values) => call(path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(values),
});

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `python scripts/demo.py` still running?");
  }
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The server failed: ${response.status} ${response.statusText}`);
}

/**
 * Return a function that asks for `work`: soon, once for many requests, never twice at a time,
 * so that answers come in order and the last request is always answered.
 */
export function eventually(work, delay = 40) {
  let timer = null;
  let running = false;
  let wanted = false;
  async function run() {
    timer = null;
    running = true;
    wanted = false;
    try {
      await work();
    } finally {
      running = false;
      if (wanted) timer = setTimeout(run, 0);
    }
  }
  return () => {
    wanted = true;
    if (!running && timer === null) timer = setTimeout(run, delay);
  };
}
