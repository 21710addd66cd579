// Classifies an image by an exported network in the browser, with ONNX Runtime Web. Nothing is uploaded.

const SIDE = 32;
const LARGEST = 1024; // pixels; the browser reduces larger images to this first, which is faster
const CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const element = (name) => document.getElementById(`try-${name}`);
const say = (text) => { element("status").textContent = text; };
const files = new URL("../try/", import.meta.url);

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0);

// For each output pixel the first input pixel and the weights, as Pillow's antialiasing Lanczos filter has them for the
// part [start, end) of an axis of the given length.
function taps(length, start, end) {
  const scale = (end - start) / SIDE;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: SIDE }, (_, out) => {
    const center = start + (out + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 3 * stretch + 0.5));
    const last = Math.min(length, Math.trunc(center + 3 * stretch + 0.5));
    const weights = Float64Array.from({ length: last - first }, (_, i) => lanczos((first + i - center + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

// The central square of an image (RGBA, width x height) at 32 x 32, RGB.
function reduce(pixels, width, height) {
  const side = Math.min(width, height);
  const columns = taps(width, (width - side) / 2, (width + side) / 2);
  const rows = taps(height, (height - side) / 2, (height + side) / 2);
  const narrow = new Uint8ClampedArray(height * SIDE * 3); // rounds and clips, as Pillow does between its passes
  const result = new Uint8ClampedArray(SIDE * SIDE * 3);
  for (let y = 0; y < height; y++) {
    columns.forEach(({ first, weights }, x) => {
      let [r, g, b] = [0, 0, 0];
      for (let i = 0, at = 4 * (y * width + first); i < weights.length; i++, at += 4) {
        r += weights[i] * pixels[at];
        g += weights[i] * pixels[at + 1];
        b += weights[i] * pixels[at + 2];
      }
      narrow.set([r, g, b], 3 * (y * SIDE + x));
    });
  }
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < 3 * SIDE; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[(first + i) * 3 * SIDE + x];
      result[y * 3 * SIDE + x] = sum;
    }
  });
  return result;
}

async function read(file) {
  const bitmap = await createImageBitmap(file); // upright, by its EXIF orientation
  const factor = Math.min(1, LARGEST / Math.min(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * factor)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // where the image is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return reduce(context.getImageData(0, 0, width, height).data, width, height);
}

function show(pixels, probabilities, milliseconds) {
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  element("image").getContext("2d").putImageData(image, 0, 0);
  element("image").hidden = false;
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  element("classes").replaceChildren(...order.map((index) => {
    const item = document.createElement("li");
    const bar = Object.assign(document.createElement("meter"), { value: probabilities[index], max: 1 });
    bar.setAttribute("aria-hidden", "true");
    item.append(`${CLASSES[index]} ${(100 * probabilities[index]).toFixed(1)} %`, bar);
    return item;
  }));
  say(`It is most like: ${CLASSES[order[0]]}. Computed in ${milliseconds.toFixed(0)} ms.`);
}

async function start() {
  if (typeof WebAssembly !== "object") return say("This browser has no WebAssembly, which the network needs to run.");
  say("The network is loading ...");
  const ort = await import(new URL("ort.wasm.bundle.min.mjs", files));
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", files).href };
  ort.env.wasm.numThreads = 1; // more threads need headers that not every server sends
  const session = await ort.InferenceSession.create(new URL("network.onnx", files).href);
  const run = async (pixels) => {
    const { probabilities } = await session.run({ pixels: new ort.Tensor("uint8", Uint8Array.from(pixels), [1, SIDE, SIDE, 3]) });
    return probabilities.data;
  };
  await run(new Uint8ClampedArray(SIDE * SIDE * 3)); // the first run is slower

  const classify = async (file) => {
    if (!file) return;
    element("classes").replaceChildren();
    element("image").hidden = true;
    const began = performance.now();
    let pixels;
    try {
      pixels = await read(file);
    } catch {
      return say(`${file.name} is not an image that this browser can read.`);
    }
    show(pixels, await run(pixels), performance.now() - began);
  };
  element("file").addEventListener("change", (event) => classify(event.target.files[0]));
  const box = document.getElementById("try");
  for (const name of ["dragover", "drop"]) box.addEventListener(name, (event) => event.preventDefault());
  box.addEventListener("drop", (event) => classify(event.dataTransfer.files[0]));
  say("Ready.");
  classify(element("file").files[0]); // chosen while the network was loading
}

start().catch((error) => say(`The network cannot be loaded: ${error.message}`));
