// Watches the GPU from below: how many pipelines, dispatches, submissions and readbacks there were,
// and whether the device is lost. Nothing is changed, everything is passed on.

/** So far. */
export const counts = { pipelines: 0, dispatches: 0, submits: 0, readbacks: 0 };

let pipelineMade = () => {};
let deviceLost = () => {};
let faultSeen = () => {};
const devices = [];

/** @param {(done: number) => void} told how many pipelines were compiled so far */
export function onPipeline(told) {
  pipelineMade = () => told(counts.pipelines);
}

/** @param {(info: GPUDeviceLostInfo) => void} told when the browser takes a device away */
export function onLost(told) {
  deviceLost = told;
}

/** @param {(error: GPUError) => void} told when the GPU cannot do what it is asked for */
export function onFault(told) {
  faultSeen = told;
}

/** Destroys the device, as a driver that crashes does. For tests. */
export function loseDevice() {
  for (const device of devices) {
    device.destroy();
  }
}

/** Puts a counter around a method; `after` sees what it answers. */
function count(prototype, method, name, after = () => {}) {
  const original = prototype[method];
  prototype[method] = function (...values) {
    if (name !== undefined) {
      counts[name] += 1;
    }
    const answer = original.apply(this, values);
    after(answer);
    return answer;
  };
}

/** Begins to watch, where there is WebGPU at all. */
export function watchGpu() {
  if (globalThis.GPUDevice === undefined) {
    return;
  }
  count(GPUDevice.prototype, "createComputePipeline", "pipelines", () => pipelineMade());
  count(GPUComputePassEncoder.prototype, "dispatchWorkgroups", "dispatches");
  count(GPUQueue.prototype, "submit", "submits");
  count(GPUBuffer.prototype, "mapAsync", "readbacks");
  count(GPUAdapter.prototype, "requestDevice", undefined, async (requested) => {
    const device = await requested;
    devices.push(device);
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    globalThis.mimeoLargestBuffer = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    device.addEventListener("uncapturederror", ({ error }) => faultSeen(error));
    deviceLost(await device.lost);
  });
}
