// The detector behind the page of `multibox demo`: each image goes to the server on this machine.

const LOWEST = 0.05; // the lowest threshold of the page: moving its slider asks for nothing anew
const MOST_TRIES = 20;

export async function openEngine() {
  const model = await (await ask("model")).json();
  model.timeNote = "In all: with decoding, and the way to the detector and back.";
  model.footer = `Served by multibox ${model.version} on this machine, and to this machine only. Nothing is loaded from elsewhere.`;
  return { model, detect, preview, saveLabels };
}

async function detect(source) {
  const body = source instanceof HTMLCanvasElement
    ? await new Promise((resolve) => { source.toBlob(resolve, "image/jpeg", 0.92); })
    : source;
  return (await ask(`detect?threshold=${LOWEST}`, { method: "POST", body })).json();
}

// An image of a kind that this browser does not show, as one that it does.
async function preview(file) {
  return (await ask("preview", { method: "POST", body: file })).blob();
}

async function saveLabels(format, images) {
  return (await ask("labels", { method: "POST", body: JSON.stringify({ format, images }) })).blob();
}

async function ask(path, options, tries = 1) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The detector does not answer. Is `multibox demo` still running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 503 && tries < MOST_TRIES) { // others ask as well
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    return ask(path, options, tries + 1);
  }
  const { error } = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  throw new Error(error);
}
