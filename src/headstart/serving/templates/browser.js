"use strict";
// What answers the page: a model that ONNX Runtime runs in the browser. MODEL is written before it.
let ort, session, queue = Promise.resolve();

async function findModels() {
  if (location.protocol === "file:") throw new Error("A browser opens the model from a server alone: run python -m http.server in this folder, and open http://localhost:8000");
  ort = await import("./ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  session = await ort.InferenceSession.create("./model.onnx", {executionProviders: ["wasm"]});
  return [MODEL];
}

async function picture(file) {
  const image = await createImageBitmap(file, {colorSpaceConversion: "none", imageOrientation: "from-image"});
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d", {alpha: false, willReadFrequently: true});
  context.fillStyle = `rgb(${MODEL.ground}, ${MODEL.ground}, ${MODEL.ground})`;
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, image.width, image.height), pixels = new Uint8Array(data.length / 4 * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) for (let channel = 0; channel < 3; channel++) pixels[to++] = data[from + channel];
  return {pictures: new ort.Tensor("uint8", pixels, [1, image.height, image.width, 3])};
}

async function recording(file) {
  const heard = await new OfflineAudioContext(1, 1, MODEL.rate).decodeAudioData(await file.arrayBuffer());
  const count = Math.min(heard.length, Math.round(MODEL.seconds * MODEL.rate)), samples = new Float32Array(count);
  for (let channel = 0; channel < heard.numberOfChannels; channel++) heard.getChannelData(channel).subarray(0, count).forEach((one, place) => { samples[place] += one / heard.numberOfChannels; });
  return {samples: new ort.Tensor("float32", samples, [1, count])};
}

async function answered(file) {
  let inputs;
  try { inputs = await (MODEL.reads === "image" ? picture : recording)(file); }
  catch (error) { return {error: `${file.name || "this"} cannot be read by this browser: ${error.message}`}; }
  try {
    const outputs = await session.run(inputs), shares = [...outputs.probabilities.data];
    const probability = Math.max(...shares), label = MODEL.classes[shares.indexOf(probability)];
    return {label, probability, unlike: outputs.novelty ? outputs.novelty.data[0] > 1 : null,
      probabilities: Object.fromEntries(MODEL.classes.map((name, place) => [name, shares[place]]))};
  } catch (error) { return {error: `the model does not run here: ${error.message}`}; }
}

function predict(items) {  // one run at a time, and the page may be drawn between two
  const mine = queue.then(async () => {
    const answers = [];
    for (const item of items) { answers.push(await answered(item)); await pause(0); }
    return answers;
  });
  queue = mine;
  return mine;
}
