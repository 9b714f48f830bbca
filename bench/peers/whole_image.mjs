// SPDX-License-Identifier: MIT
// node whole_image.mjs MODULES MODEL CHANNELS HEIGHT WIDTH THREADS RUNS: runs a network over an image in onnxruntime; prints the
// version, the median nanoseconds of a run (processor time with one thread, otherwise the clock), and the peak of the resident
// memory of this process in bytes.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, model, channels, height, width, threads, runs] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const ort = require('onnxruntime-node');
const { version } = require('onnxruntime-node/package.json');
const session = await ort.InferenceSession.create(model, {
  executionProviders: ['cpu'],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
});
const shape = [1, Number(channels), Number(height), Number(width)];
const pixels = new Float32Array(shape[1] * shape[2] * shape[3]);
for (let i = 0; i < pixels.length; ++i) pixels[i] = (((i * 31) >> 7) & 255) / 255;
const image = new ort.Tensor('float32', pixels, shape);

const now = () => {
  if (Number(threads) !== 1) return Number(process.hrtime.bigint());
  const { user, system } = process.cpuUsage();
  return 1e3 * (user + system);
};
const times = [];
let classes = 0;
for (let run = 0; run <= Number(runs); ++run) {
  const start = now();
  const { logits } = await session.run({ image });
  if (run > 0) times.push(now() - start);  // the first one also allocates
  classes = logits.data.length;
  if (!logits.data.every(Number.isFinite)) throw new Error('a logit is not finite');
}
if (classes !== 55) throw new Error(`55 logits expected, ${classes} came`);
times.sort((a, b) => a - b);
const peak = 1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
console.log(version, times[times.length >> 1], peak);
