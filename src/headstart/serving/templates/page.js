// The page; findModels and predict are those of server.js or browser.js, which stands before it.
const at = id => document.getElementById(id);
const AT_ONCE = 8, SIDE_BY_SIDE = 2, BARS = 8, RATE = 16000;
let models = [], turn = 0;

const say = (text, isError = false) => { at("status").textContent = text; at("status").className = isError ? "error" : ""; };
const show = (id, shown) => { at(id).hidden = !shown; };
const chosen = () => models[Math.max(0, at("model").selectedIndex)];
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

async function start() {
  try { models = await findModels(); } catch (error) { at("about").textContent = error.message; return; }
  at("model").replaceChildren(...models.map(model => new Option(model.name)));
  show("which", models.length > 1);
  choose();
}

function choose() {
  const model = chosen(), noun = {image: "photos", sound: "recordings", text: "texts"}[model.reads];
  at("about").textContent = `${model.name} tells ${noun} of ${model.classes.length} classes apart: ` +
    model.classes.slice(0, 8).join(", ") + (model.classes.length > 8 ? ", …" : ".");
  show("files", true); show("texts", model.reads === "text");
  show("record", model.reads === "sound" && !!navigator.mediaDevices);
  at("file").accept = {image: "image/*,.tif,.tiff,.pgm,.ppm", sound: "audio/*", text: ".txt,.md,text/plain"}[model.reads];
  show("one", false); show("many", false); say("");
}

const percent = value => (100 * value).toFixed(1) + " %";
const made = (name, text, kind) => { const one = document.createElement(name); if (text !== undefined) one.textContent = text; if (kind) one.className = kind; return one; };

function preview(item) {
  let shown = made("p", typeof item === "string" ? item : item.name);
  if (typeof item !== "string" && /^(image|audio)\//.test(item.type)) {
    const name = shown;
    shown = made(item.type.startsWith("image") ? "img" : "audio");
    shown.src = URL.createObjectURL(item);
    shown.onload = () => URL.revokeObjectURL(shown.src);
    shown.onerror = () => shown.replaceWith(name);
    if (shown.tagName === "IMG") shown.alt = "What was given"; else shown.controls = true;
  }
  at("preview").replaceChildren(shown);
}

function showOne(item, prediction) {
  show("many", false);
  if (prediction.error) { show("one", false); say(prediction.error, true); return; }
  preview(item);
  at("label").textContent = prediction.label;
  show("unlike", prediction.unlike === true);
  const shares = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]);
  at("bars").replaceChildren(...shares.slice(0, BARS).map(([name, share]) => {
    const line = made("li"), rail = made("i"), bar = made("b");
    bar.style.width = 100 * share + "%";
    rail.append(bar); rail.setAttribute("aria-hidden", "true");
    line.append(made("span", name), made("span", percent(share)), rail);
    return line;
  }));
  show("one", true);
  say(`${prediction.label}, ${percent(prediction.probability)}` + (prediction.unlike ? ", unlike the training data" : ""));
}

const cell = value => { const text = String(value ?? ""); return '"' + (/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""') + '"'; };
let address = "";

function offerCsv(found) {
  const lines = [["file", "label", "probability", "unlike", "reason"], ...found.map(([name, one]) => [name, one.label, one.probability, one.unlike, one.error])];
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(new Blob([lines.map(line => line.map(cell).join(",") + "\n").join("")], {type: "text/csv"}));
  at("csv").href = address;
}

async function showMany(items, mine) {
  show("one", false); show("many", true); show("csv", false);
  at("rows").replaceChildren();
  const found = [], groups = [];
  for (let first = 0; first < items.length; first += AT_ONCE) groups.push([first, items.slice(first, first + AT_ONCE)]);
  let done = 0;
  const work = async () => {
    for (let next = groups.shift(); next && mine === turn; next = groups.shift()) {
      const [first, group] = next, predictions = await predict(group);
      if (mine !== turn) return;
      predictions.forEach((prediction, place) => {
        const name = group[place].path || group[place].name, row = made("tr");
        found[first + place] = [name, prediction];
        const remark = prediction.error || (prediction.unlike ? "unlike the training data" : "");
        row.append(made("td", name), made("td", prediction.label ?? ""), made("td", prediction.label ? percent(prediction.probability) : "", "number"), made("td", remark, remark ? "flag" : ""));
        at("rows").append(row);
      });
      done += group.length;
      say(`${done} of ${items.length} files`);
    }
  };
  await Promise.all(Array.from({length: SIDE_BY_SIDE}, work));
  if (mine !== turn) return;
  offerCsv(found); show("csv", true);
}

async function classify(items) {
  if (!items.length || !models.length) return;
  const mine = ++turn;
  say("…");
  if (items.length > 1) return showMany(items, mine);
  const [prediction] = await predict(items);
  if (mine === turn) showOne(items[0], prediction);
}

async function walk(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    file.path = entry.fullPath.slice(1);
    files.push(file);
  } else {
    const reader = entry.createReader();
    for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length;)
      for (const one of some) await walk(one, files);
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(entry => entry.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files.sort((a, b) => a.path < b.path ? -1 : 1);
}

function asWave(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const put = (place, text) => [...text].forEach((one, next) => view.setUint8(place + next, one.charCodeAt(0)));
  put(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); put(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, RATE, true); view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); put(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((one, place) => view.setInt16(44 + 2 * place, 32767 * Math.max(-1, Math.min(1, one)), true));
  return new File([view], "recording.wav", {type: "audio/wav"});
}

async function toWave(blob) {
  const sound = await new AudioContext().decodeAudioData(await blob.arrayBuffer());
  const offline = new OfflineAudioContext(1, Math.max(1, Math.round(sound.duration * RATE)), RATE), player = offline.createBufferSource();
  player.buffer = sound; player.connect(offline.destination); player.start();
  return asWave((await offline.startRendering()).getChannelData(0));
}

let recorder = null;
async function record() {
  if (recorder) { recorder.stop(); return; }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({audio: true}), parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = event => parts.push(event.data);
    recorder.onstop = async () => {
      recorder = null; at("record").textContent = "Record";
      stream.getTracks().forEach(track => track.stop());
      classify([await toWave(new Blob(parts))]);
    };
    recorder.start(); at("record").textContent = "Stop"; say("Recording");
  } catch (error) { recorder = null; say(`No sound can be recorded: ${error.message}`, true); }
}

at("model").onchange = choose;
at("unlock").onclick = start;
at("token").onkeydown = event => { if (event.key === "Enter") { event.preventDefault(); at("unlock").click(); } };
at("ask").onsubmit = event => { event.preventDefault(); if (at("text").value.trim()) classify([at("text").value]); };
at("text").onkeydown = event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit(); };
at("record").onclick = record;
for (const id of ["file", "folder"]) at(id).onchange = event => {
  const files = [...event.target.files];
  files.forEach(file => { file.path = file.webkitRelativePath; });
  event.target.value = "";
  classify(files);
};
addEventListener("dragover", event => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", async event => { event.preventDefault(); at("drop").classList.remove("over"); classify(await dropped(event.dataTransfer)); });
addEventListener("paste", event => { const files = [...event.clipboardData.files]; if (files.length) { event.preventDefault(); classify(files); } });
start();
