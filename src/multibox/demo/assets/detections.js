// What an ONNX file of multibox says of itself, what goes into it, and from what comes out to detections.
// The numbers are those of multibox: data/images.resize, model/anchors.make_anchors, boxes.decode and model/postprocess.select.

const MAX_LOG_RATIO = Math.abs(Math.log(16 / 1000)); // a side is at most 62.5 times its anchor's
const METADATA = 14; // field metadata_props of ModelProto (onnx.proto); its entries have a key (1) and a value (2)
const PREFIX = "multibox ";

// The description in the bytes of an ONNX file: an object with the fields of `multibox.runtime.contract.ExportInfo`.
export function readDescription(bytes) {
  const text = new TextDecoder();
  const info = {};
  for (const [field, entry] of protobufFields(bytes)) {
    if (field !== METADATA) continue;
    const parts = new Map(protobufFields(entry));
    const key = text.decode(parts.get(1)), value = text.decode(parts.get(2));
    if (key.startsWith(PREFIX)) info[key.slice(PREFIX.length)] = asValue(value);
  }
  if (info.form !== "raw") throw new Error("The model is no file of multibox without suppression (raw/model.onnx).");
  return { anchor_offset: 0.5, ...info };
}

// Words stand there as they are, all else as JSON.
function asValue(text) {
  try { return JSON.parse(text); } catch { return text; }
}

// The fields of a protobuf message that have a length, as [number, bytes]; the others are passed over.
function* protobufFields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1, byte;
    do {
      byte = bytes[at++];
      if (byte === undefined) throw new Error("The model's file is broken off.");
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield [(tag - kind) / 8, bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("The model's file is damaged.");
  }
}

// Planar RGB in 0..1, as the network takes it, of pixels in rows of RGBA; bilinear, nothing is smoothed or padded.
export function toInput({ data, width, height }, side, input = new Float32Array(3 * side * side)) {
  const columns = samples(side, width), rows = samples(side, height);
  for (let y = 0; y < side; y++) {
    const [top, bottom, down] = rows[y];
    for (let x = 0; x < side; x++) {
      const [left, right, across] = columns[x];
      for (let channel = 0; channel < 3; channel++) {
        const at = (row, column) => data[4 * (row * width + column) + channel];
        const upper = at(top, left) + across * (at(top, right) - at(top, left));
        const lower = at(bottom, left) + across * (at(bottom, right) - at(bottom, left));
        input[channel * side * side + y * side + x] = Math.round(upper + down * (lower - upper)) / 255;
      }
    }
  }
  return input;
}

// For each of `size` new pixels: the two old ones that it lies between, and how far from the first.
function samples(size, oldSize) {
  return Array.from({ length: size }, (_, i) => {
    const place = Math.min(Math.max(((i + 0.5) * oldSize) / size - 0.5, 0), oldSize - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, oldSize - 1), place - first];
  });
}

// Anchors as [x, y, width, height] of their centres and sizes, in fractions of the image, four numbers each.
export function makeAnchors({ anchors_px, strides, input_size, anchor_offset }) {
  const anchors = [];
  strides.forEach((stride, level) => {
    const cells = Math.floor(input_size / stride);
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        for (const [width, height] of anchors_px[level]) {
          anchors.push((column + anchor_offset) * stride, (row + anchor_offset) * stride, width, height);
        }
      }
    }
  });
  return Float32Array.from(anchors, (value) => value / input_size);
}

// Detections of the first image, best first: [{ label, score, box: [x1, y1, x2, y2] in fractions of the image }].
// `deltas` (A, 4) and `scores` (A, K + 1), of which the last column is of no class, are flat.
export function select(deltas, scores, anchors, info) {
  const numAnchors = anchors.length / 4, numColumns = info.classes.length + 1;
  const detections = [];
  for (let label = 0; label < info.classes.length; label++) {
    const candidates = [];
    for (let i = 0; i < numAnchors; i++) {
      const score = scores[i * numColumns + label];
      if (score > info.score_threshold) candidates.push({ label, score, anchor: i });
    }
    candidates.sort((a, b) => b.score - a.score); // which keeps the order of equal ones
    candidates.length = Math.min(candidates.length, info.max_per_class);
    for (const one of candidates) one.box = decode(deltas, anchors, one.anchor, info.box_variances);
    detections.push(...suppress(candidates, info.iou_threshold));
  }
  detections.sort((a, b) => b.score - a.score);
  return detections.slice(0, info.max_detections);
}

function decode(deltas, anchors, i, [centreVariance, sizeVariance]) {
  const box = new Float32Array(4);
  for (let axis = 0; axis < 2; axis++) {
    const size = anchors[4 * i + 2 + axis];
    const centre = anchors[4 * i + axis] + size * deltas[4 * i + axis] * centreVariance;
    const ratio = Math.min(Math.max(deltas[4 * i + 2 + axis] * sizeVariance, -MAX_LOG_RATIO), MAX_LOG_RATIO);
    const half = (size * Math.exp(ratio)) / 2;
    box[axis] = Math.min(Math.max(centre - half, 0), 1);
    box[axis + 2] = Math.min(Math.max(centre + half, 0), 1);
  }
  return box;
}

// Greedy: a box goes if a better one that stays overlaps it by the threshold or more. Boxes without area stay.
function suppress(candidates, iouThreshold) {
  const kept = [];
  for (const one of candidates) {
    if (!kept.some((better) => iou(one.box, better.box) >= iouThreshold)) kept.push(one);
  }
  return kept;
}

function iou(a, b) {
  const overlap = side(Math.max(a[0], b[0]), Math.min(a[2], b[2])) * side(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  const union = area(a) + area(b) - overlap;
  return overlap / Math.max(union, 1e-12);
}

const side = (low, high) => Math.max(high - low, 0);
const area = (box) => side(box[0], box[2]) * side(box[1], box[3]);
