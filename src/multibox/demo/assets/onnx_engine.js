// The detector of a page of multibox to publish: the network runs in the browser, by ONNX Runtime Web.
// To take ONNX Runtime from another place, a CDN for instance, put the address of its ort.wasm.min.mjs here:
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

import { makeAnchors, readDescription, select, toInput } from "./detections.js";
import { COLOURS, NAME } from "./model.js";

const LOWEST = 0.05; // the lowest threshold of the page
const LIMITS = { bytes: 64 * 2 ** 20, kinds: ["JPEG", "PNG", "WebP", "GIF, and what else this browser shows"] };

export async function openEngine() {
  const answer = await fetch("model.onnx");
  if (!answer.ok) throw new Error(`model.onnx cannot be loaded: the server answers ${answer.status}.`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const info = readDescription(bytes);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const anchors = makeAnchors(info);
  const model = {
    name: NAME,
    classes: info.classes.map((name, label) => ({ name, colour: COLOURS[label % COLOURS.length] })),
    threshold: info.threshold,
    input_size: info.input_size,
    limits: LIMITS,
    timeNote: "Detector: the network, in this browser. In all: with decoding and suppression.",
    footer: "The detector runs in this browser. No image leaves this machine.",
  };
  let last = Promise.resolve();
  // One image after the other: the network has one memory.
  const detect = (source) => {
    last = last.catch(() => {}).then(() => detectOne(source, { session, anchors, info }));
    return last;
  };
  return { model, detect };
}

async function detectOne(source, { session, anchors, info }) {
  const pixels = await readPixels(source);
  const { input_size: size, batch } = info;
  const numImages = batch || 1;
  const input = new Float32Array(numImages * 3 * size * size);
  toInput(pixels, size, input);
  const begin = performance.now();
  const { deltas, scores } = await session.run({ image: new ort.Tensor("float32", input, [numImages, 3, size, size]) });
  const detect = performance.now() - begin;
  const { width, height } = pixels;
  const detections = select(deltas.data, scores.data, anchors, info)
    .filter(({ score }) => score >= LOWEST)
    .map(({ label, score, box }) => ({ label, score, box_px: [box[0] * width, box[1] * height, box[2] * width, box[3] * height] }));
  return { width, height, detections, milliseconds: { detect } };
}

async function readPixels(source) {
  if (source instanceof HTMLCanvasElement) return source.getContext("2d").getImageData(0, 0, source.width, source.height);
  let bitmap;
  try {
    bitmap = await createImageBitmap(source);
  } catch {
    throw new Error("This browser cannot show the image.");
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}
