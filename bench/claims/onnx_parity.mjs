// SPDX-License-Identifier: MIT
// node onnx_parity.mjs MODULES MODEL CASES HEIGHT WIDTH CHANNELS CLASSES STEPS: runs a graph over images in onnxruntime and
// compares. CASES: for each image its bytes, then CLASSES probabilities and 3 * STEPS numbers of regions, float32. Prints the
// version, the number of images and the largest differences of probabilities and of regions.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, model, cases, ...sizes] = process.argv.slice(2);
const [height, width, channels, classes, steps] = sizes.map(Number);
const require = createRequire(join(modules, 'package.json'));
const ort = require('onnxruntime-node');
const { version } = require('onnxruntime-node/package.json');
const session = await ort.InferenceSession.create(model, { executionProviders: ['cpu'], intraOpNumThreads: 1 });

const bytes = readFileSync(cases);
const pixels = height * width * channels;
const numbers = classes + 3 * steps;
const record = pixels + 4 * numbers;
if (bytes.length === 0 || bytes.length % record !== 0) throw new Error(`${cases}: records of ${record} bytes expected`);
const worst = { probabilities: 0, regions: 0 };
const compare = (what, got, expected) => {
  if (got.length !== expected.length) throw new Error(`${expected.length} ${what} expected, ${got.length} came`);
  got.forEach((value, i) => {
    const difference = Math.abs(value - expected[i]);
    if (!(difference <= worst[what])) worst[what] = difference;  // NaN too
  });
};
for (let at = 0; at < bytes.length; at += record) {
  const image = new ort.Tensor('uint8', bytes.subarray(at, at + pixels), [1, height, width, channels]);
  const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset + at + pixels, bytes.byteOffset + at + record));
  const answer = await session.run({ image });
  compare('probabilities', answer.probabilities.data, expected.subarray(0, classes));
  if (steps > 0) compare('regions', answer.regions.data, expected.subarray(classes));
}
console.log(version, bytes.length / record, worst.probabilities, worst.regions);
