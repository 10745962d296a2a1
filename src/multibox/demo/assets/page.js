// The page of a detector, by multibox: it takes images, a video or a webcam, has `engine` detect in them, and shows what was found.
// What detects is in engine.js: a server on this machine, or ONNX Runtime in the browser.
import { openEngine } from "./engine.js";

const AT_ONCE = 2; // images that are detected side by side
const LIVE_SIDE = 1280; // frames of videos are made no larger: the network's input is far smaller
const THUMBNAIL = [192, 144];

const byId = (id) => document.getElementById(id);
const view = byId("view"), video = byId("video");

const state = {
  engine: null,
  items: [], // images: { file, name, width, height, detections, milliseconds, total, error, entry }
  current: null, // the item, or the frame of a video, that is shown
  shown: null, // what is drawn: { source, width, height, detections }
  live: null, // the video or webcam that runs
  threshold: 0.3,
  hidden: new Set(),
  numRunning: 0,
};

// --- light and dark, as the report remembers it

const REMEMBERED = "multibox-theme";
const root = document.documentElement;
try {
  const theme = localStorage.getItem(REMEMBERED);
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
} catch { /* a browser may forbid it; then the choice lasts as long as the page */ }
byId("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem(REMEMBERED, root.dataset.theme); } catch { /* see above */ }
});

// --- words

const counted = (number, noun) => `${number} ${number === 1 ? noun : noun.endsWith("s") ? noun + "es" : noun + "s"}`;
function duration(milliseconds) {
  if (milliseconds === undefined) return "–";
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

// --- what is shown of the detections

const isShown = (found) => found.score >= state.threshold && !state.hidden.has(found.label);

function counts(detections) {
  const numbers = new Map();
  for (const found of detections.filter(isShown)) numbers.set(found.label, (numbers.get(found.label) ?? 0) + 1);
  return numbers;
}

function draw() {
  const shown = state.shown;
  if (!shown) return;
  const room = byId("frame").clientWidth;
  const scale = Math.min(room / shown.width, (0.72 * innerHeight) / shown.height, 3);
  const width = Math.max(1, Math.round(shown.width * scale)), height = Math.max(1, Math.round(shown.height * scale));
  const ratio = devicePixelRatio || 1;
  view.width = Math.round(width * ratio);
  view.height = Math.round(height * ratio);
  view.style.width = `${width}px`;
  view.style.height = `${height}px`;
  const pen = view.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(shown.source, 0, 0, width, height);
  // The best come first in the list and are drawn last, on top.
  const boxes = shown.detections.filter(isShown).reverse();
  pen.lineWidth = 2.5;
  for (const found of boxes) frameOf(pen, found, scale);
  const taken = [];
  for (const found of boxes.reverse()) nameOf(pen, found, { scale, width, height, taken });
}

function frameOf(pen, found, scale) {
  const [x1, y1, x2, y2] = found.box_px.map((value) => value * scale);
  pen.strokeStyle = state.engine.model.classes[found.label].colour;
  pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
}

function nameOf(pen, found, { scale, width, height, taken }) {
  const { name, colour } = state.engine.model.classes[found.label];
  const text = `${name} ${found.score.toFixed(2)}`;
  const letters = width < 500 ? 11 : 13;
  pen.font = `600 ${letters}px system-ui, sans-serif`;
  const chip = { width: pen.measureText(text).width + 8, height: letters + 5 };
  const [x1, y1, x2, y2] = found.box_px.map((value) => value * scale);
  const inside = (value, size, room) => Math.min(Math.max(0, value), Math.max(0, room - size));
  // Above the box, below it, or in its corner: the first place that covers no other name.
  const places = [[x1 - 1, y1 - chip.height], [x1 - 1, y2], [x1, y1], [x2 - chip.width, y1 - chip.height]].map(([left, top]) =>
    ({ ...chip, left: inside(left, chip.width, width), top: inside(top, chip.height, height) }));
  const place = places.find((one) => !taken.some((other) => overlap(one, other))) ?? places[0];
  taken.push(place);
  pen.fillStyle = colour;
  pen.fillRect(place.left, place.top, place.width, place.height);
  pen.fillStyle = inkOn(colour);
  pen.textBaseline = "middle";
  pen.fillText(text, place.left + 4, place.top + place.height / 2 + 0.5);
}

const overlap = (one, other) =>
  one.left < other.left + other.width && other.left < one.left + one.width
  && one.top < other.top + other.height && other.top < one.top + one.height;

function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((start) => (parseInt(colour.slice(start, start + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#111" : "#fff";
}

function refresh() {
  refreshImage();
  for (const item of state.items) mark(item);
  const ready = state.items.filter((item) => item.detections);
  byId("save").disabled = ready.length === 0;
  byId("save").textContent = ready.length ? `Save ${counted(ready.length, "image")}` : "Save";
}

function refreshImage() {
  draw();
  const numbers = state.shown ? counts(state.shown.detections) : new Map();
  for (const row of byId("classes").querySelectorAll("li")) {
    row.querySelector(".count").textContent = numbers.get(Number(row.dataset.label)) ?? (state.shown ? 0 : "");
  }
  refreshStatus(numbers);
}

function refreshStatus(numbers) {
  const current = state.current;
  let text = "";
  if (current?.error) text = `${current.name}: ${current.error}`;
  else if (current && !current.detections) text = `${current.name}: detecting …`;
  else if (current) {
    const names = state.engine.model.classes;
    const found = [...numbers].sort((a, b) => b[1] - a[1]).map(([label, number]) => `${number} ${names[label].name}`);
    const total = [...numbers.values()].reduce((sum, number) => sum + number, 0);
    const kinds = found.length > 6 ? [...found.slice(0, 5), `${found.length - 5} more classes`] : found;
    text = [current.name, counted(total, "object") + (found.length ? `: ${kinds.join(", ")}` : "")].filter(Boolean).join(" · ");
  }
  byId("status").textContent = text;
}

function showTimes(milliseconds, total, rate) {
  byId("detector-ms").textContent = duration(milliseconds?.detect);
  byId("total-ms").textContent = duration(total);
  byId("rate").textContent = rate === undefined ? "–" : rate.toFixed(rate < 10 ? 1 : 0);
}

// --- images

async function addFiles(files) {
  say("");
  const list = [...files];
  const film = list.find((file) => file.type.startsWith("video/"));
  const images = list.filter((file) => !file.type.startsWith("video/"));
  if (film && images.length === 0) return startVideo(film);
  if (film) say(`${film.name}: a video comes alone. Drop it again without images.`);
  if (images.length === 0) return undefined;
  await stopLive();
  const first = state.items.length;
  for (const file of images) state.items.push(newItem(file));
  showWork();
  select(state.items[first]);
  pump();
  return undefined;
}

function newItem(file) {
  const item = { file, name: file.name || "image", entry: document.createElement("li"), hasBegun: false };
  const button = document.createElement("button");
  button.type = "button";
  button.append(document.createElement("canvas"), document.createElement("span"));
  button.addEventListener("click", () => select(item));
  item.entry.append(button);
  byId("strip").append(item.entry);
  mark(item);
  return item;
}

function mark(item) {
  const button = item.entry.firstChild;
  const number = item.detections ? [...counts(item.detections).values()].reduce((sum, count) => sum + count, 0) : 0;
  button.lastChild.textContent = item.error ? "!" : item.detections ? number : "…";
  button.className = item.error ? "failed" : "";
  button.setAttribute("aria-current", String(item === state.current));
  button.setAttribute("aria-label", `${item.name}: ${item.error ?? (item.detections ? counted(number, "object") : "waiting")}`);
  button.title = item.name;
}

function pump() {
  while (state.numRunning < AT_ONCE) {
    const item = state.items.find((one) => !one.hasBegun);
    if (!item) return;
    item.hasBegun = true;
    state.numRunning += 1;
    process(item).finally(() => {
      state.numRunning -= 1;
      if (item === state.current) select(item);
      else refresh();
      pump();
    });
  }
}

async function process(item) {
  const { limits } = state.engine.model;
  try {
    if (item.file.size > limits.bytes) throw new Error(`The file is larger than ${limits.bytes / 2 ** 20} MB.`);
    const begin = performance.now();
    const answer = await state.engine.detect(item.file);
    item.total = performance.now() - begin;
    Object.assign(item, { width: answer.width, height: answer.height, detections: answer.detections });
    item.milliseconds = answer.milliseconds;
    await drawThumbnail(item);
  } catch (error) {
    item.error = error.message;
  }
}

// Of an image that this browser does not show but the detector knows, a preview comes from there.
async function openImage(item) {
  try {
    return await createImageBitmap(item.file);
  } catch (error) {
    if (!item.detections || !state.engine.preview) throw error;
    item.preview ??= state.engine.preview(item.file);
    return createImageBitmap(await item.preview);
  }
}

async function drawThumbnail(item) {
  const canvas = item.entry.querySelector("canvas");
  const bitmap = await openImage(item);
  [canvas.width, canvas.height] = THUMBNAIL;
  const scale = Math.max(canvas.width / bitmap.width, canvas.height / bitmap.height);
  const size = [bitmap.width * scale, bitmap.height * scale];
  const place = [(canvas.width - size[0]) / 2, (canvas.height - size[1]) / 2];
  canvas.getContext("2d").drawImage(bitmap, ...place, ...size);
  bitmap.close();
}

async function select(item) {
  await stopLive();
  state.current = item;
  showTimes(item.milliseconds, item.total);
  if (!item.entry.contains(document.activeElement)) item.entry.scrollIntoView({ block: "nearest", inline: "nearest" });
  let bitmap = null;
  try {
    bitmap = await openImage(item);
  } catch { /* the detector says what is wrong with it */ }
  if (state.current !== item) return;
  state.shown?.source.close?.();
  state.shown = bitmap && { source: bitmap, width: bitmap.width, height: bitmap.height, detections: item.detections ?? [] };
  byId("frame").hidden = !bitmap;
  refresh();
}

// --- videos and webcam: a frame is shown when its detections are there, so boxes are always those of the frame

async function startVideo(file) {
  await stopLive();
  const url = URL.createObjectURL(file);
  video.src = url;
  const isReady = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(true);
    video.onerror = () => resolve(false);
  });
  if (!isReady) {
    URL.revokeObjectURL(url);
    video.removeAttribute("src");
    say(`${file.name}: this browser cannot play the video. \`multibox predict\` reads more formats.`);
    return;
  }
  beginLive({ name: file.name, isFile: true, end: () => URL.revokeObjectURL(url) });
  await video.play().catch(() => {});
}

async function startWebcam() {
  say("");
  if (state.live && !state.live.isFile) {
    await stopLive();
    byId("status").textContent = "The webcam is off.";
    return;
  }
  await stopLive();
  let stream;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    say(CAMERA_FAULTS[error.name] ?? `The webcam cannot be used: ${error.message}`);
    return;
  }
  video.srcObject = stream;
  stream.getVideoTracks()[0].addEventListener("ended", () => { stopLive(); say("The camera was unplugged."); });
  beginLive({ name: "Webcam", isFile: false, end: () => stream.getTracks().forEach((track) => track.stop()) });
  await video.play().catch(() => {});
}

const CAMERA_FAULTS = {
  NotAllowedError: "The browser does not allow the webcam. Allow it beside the address of this page, and try again.",
  NotFoundError: "There is no webcam.",
  NotReadableError: "Another program uses the webcam.",
  SecurityError: "Browsers allow a webcam on 127.0.0.1, localhost and https pages only.",
};

function beginLive(live) {
  state.live = live;
  state.current = live;
  showWork();
  byId("frame").hidden = false;
  byId("player").hidden = !live.isFile;
  byId("webcam").textContent = live.isFile ? "Use the webcam" : "Stop the webcam";
  refresh();
  run(live);
}

async function stopLive() {
  const live = state.live;
  if (!live) return;
  state.live = null;
  video.pause();
  live.end();
  video.srcObject = null;
  video.removeAttribute("src");
  byId("player").hidden = true;
  byId("webcam").textContent = "Use the webcam";
}

async function run(live) {
  let last = null, rate;
  while (state.live === live) {
    await nextFrame(live);
    if (state.live !== live) return;
    const frame = grab();
    if (!frame) continue;
    const begin = performance.now();
    let answer;
    try {
      answer = await state.engine.detect(frame);
    } catch (error) {
      if (state.live === live) { await stopLive(); say(error.message); }
      return;
    }
    if (state.live !== live) return;
    const now = performance.now();
    // A frame that somebody stopped at or jumped to tells nothing about how many there are in a second.
    if (last !== null && !video.paused) rate = rate === undefined ? 1000 / (now - last) : 0.9 * rate + 100 / (now - last);
    last = now;
    state.shown?.source.close?.();
    live.detections = answer.detections;
    state.shown = { source: frame, width: frame.width, height: frame.height, detections: answer.detections };
    showTimes(answer.milliseconds, now - begin, rate);
    if (live.isFile && video.duration) byId("position").value = video.currentTime / video.duration;
    byId("play").textContent = video.paused ? "Play" : "Pause";
    refreshImage();
  }
}

// A paused video has a next frame when somebody moves in it or plays on; a hidden page has none, and so rests.
function nextFrame(live) {
  return new Promise((resolve) => {
    const done = () => {
      clearInterval(watch);
      video.removeEventListener("seeked", done);
      resolve();
    };
    const watch = setInterval(() => { if (state.live !== live) done(); }, 200);
    video.addEventListener("seeked", done);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
    else requestAnimationFrame(done);
  });
}

function grab() {
  if (!video.videoWidth) return null;
  const scale = Math.min(1, LIVE_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const frame = document.createElement("canvas");
  frame.width = Math.round(video.videoWidth * scale);
  frame.height = Math.round(video.videoHeight * scale);
  frame.getContext("2d").drawImage(video, 0, 0, frame.width, frame.height);
  return frame;
}

byId("play").addEventListener("click", () => {
  if (video.paused) video.play().catch(() => {});
  else video.pause();
  byId("play").textContent = video.paused ? "Play" : "Pause";
});
byId("position").addEventListener("input", (event) => { video.currentTime = event.target.value * (video.duration || 0); });
video.addEventListener("ended", () => { byId("play").textContent = "Play"; });

// --- settings

function listClasses() {
  const rows = state.engine.model.classes.map(({ name, colour }, label) => {
    const row = document.createElement("li");
    row.dataset.label = label;
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(label);
      else state.hidden.add(label);
      refresh();
    });
    const [chip, title, count] = ["chip", "name", "count"].map((kind) =>
      Object.assign(document.createElement("span"), { className: kind }));
    chip.style.background = colour;
    title.textContent = name;
    const line = document.createElement("label");
    line.append(box, chip, title, count);
    row.append(line);
    return row;
  });
  byId("classes").replaceChildren(...rows);
}

function switchAll(isOn) {
  state.hidden = new Set(isOn ? [] : state.engine.model.classes.keys());
  for (const box of byId("classes").querySelectorAll("input")) box.checked = isOn;
  refresh();
}

function setThreshold(value) {
  state.threshold = value;
  byId("threshold").value = value;
  byId("threshold-value").textContent = value.toFixed(2);
  refresh();
}

byId("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));
byId("suggested").addEventListener("click", () => setThreshold(state.engine.model.threshold));
byId("all").addEventListener("click", () => switchAll(true));
byId("none").addEventListener("click", () => switchAll(false));

// --- labels

byId("save").addEventListener("click", async () => {
  say("");
  const ready = state.items.filter((item) => item.detections);
  const images = ready.map(({ name, width, height, detections }) => {
    const kept = detections.filter(isShown).map(({ label, score, box_px }) => ({ label, score, box_px }));
    return { name, width, height, detections: kept };
  });
  const format = byId("format").value;
  try {
    const file = await state.engine.saveLabels(format, images);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `labels_${format}.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (error) {
    say(error.message);
  }
});

// --- what people do

function showWork() {
  byId("empty").hidden = true;
  byId("work").hidden = false;
}

async function clear() {
  await stopLive();
  say("");
  state.items = [];
  state.current = state.shown = null;
  byId("strip").replaceChildren();
  byId("work").hidden = true;
  byId("empty").hidden = false;
  showTimes();
  refresh();
}

const ACTIONS = { choose: () => byId("files").click(), webcam: startWebcam, clear };

function listen() {
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", ACTIONS[button.dataset.do]);
  byId("files").addEventListener("change", (event) => { addFiles(event.target.files); event.target.value = ""; });
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => { if (event.clipboardData.files.length) addFiles(event.clipboardData.files); });
  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const index = state.items.indexOf(state.current);
    if (!step || index < 0 || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const next = state.items[index + step];
    if (next) { event.preventDefault(); select(next); }
  });
  new ResizeObserver(draw).observe(byId("frame"));
}

function introduce() {
  const { model, saveLabels } = state.engine;
  document.title = `${model.name} · multibox`;
  byId("model-name").textContent = model.name;
  byId("model-facts").textContent = [counted(model.classes.length, "class"), `${model.input_size} px`].join(" · ");
  byId("kinds").textContent = `${model.limits.kinds.join(", ")}; videos that this browser plays.`;
  byId("suggested").textContent = `Suggested: ${model.threshold.toFixed(2)}`;
  byId("time-note").textContent = model.timeNote;
  byId("footer").textContent = model.footer;
  byId("labels").hidden = !saveLabels;
  if (saveLabels) {
    for (const [value, text] of Object.entries(model.formats)) byId("format").append(new Option(text, value));
    byId("labels-note").textContent = "Of the images above: what is shown at this threshold, of these classes. For correcting in a labelling tool.";
  }
}

try {
  state.engine = await openEngine();
  introduce();
  listClasses();
  setThreshold(state.engine.model.threshold);
  listen();
} catch (error) {
  byId("model-facts").textContent = "";
  say(error.message);
}
