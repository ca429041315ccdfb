//! The browser's WebGPU, in a Web Worker.

use burn::tensor::Device;
use burn::tensor::wgpu::wgpu::{
    Backends, DeviceType, Instance, InstanceDescriptor, PowerPreference, RequestAdapterOptions,
};

use super::{Adapter, DeviceError, MemoryKind};

pub(super) const NO_ADAPTER: &str = "the browser offers no adapter";
pub(super) const WITHOUT_ADAPTER: &str =
    "Switch WebGPU on, update the graphics driver, or train on the browser's CPU.";

/// What every adapter's name begins with.
const NAME: &str = "WebGPU";

/// Operations that are sent to the GPU at once. Each submission crosses into the browser's GPU
/// process, so there are few.
const TASKS_MAX: usize = 128;

/// The browser chooses.
pub(super) type Address = ();

/// The adapter that the browser would use.
pub(super) async fn adapters() -> Vec<Adapter> {
    let descriptor = InstanceDescriptor {
        backends: Backends::BROWSER_WEBGPU,
        ..InstanceDescriptor::new_without_display_handle()
    };
    let options = RequestAdapterOptions {
        power_preference: PowerPreference::HighPerformance,
        ..RequestAdapterOptions::default()
    };
    let found = Instance::new(descriptor).request_adapter(&options).await;
    let adapters = found.into_iter().map(|adapter| {
        let info = adapter.get_info();
        let is_software = info.device_type == DeviceType::Cpu;
        Adapter {
            // Browsers may keep the name to themselves.
            name: if info.name.is_empty() {
                NAME.to_owned()
            } else {
                format!("{NAME}, {}", info.name)
            },
            // Browsers do not tell.
            driver: String::new(),
            is_software,
            memory: if is_software {
                MemoryKind::System
            } else {
                MemoryKind::Own
            },
            address: (),
        }
    });
    adapters.collect()
}

/// The browser's GPU. Burn asks for all that the adapter has, limits and features.
///
/// Once in the life of a worker: Burn does not give a device back.
pub(super) async fn device(adapter: &Adapter) -> Result<Device, DeviceError> {
    let () = adapter.address;
    let options = Device::wgpu_options().tasks_max(TASKS_MAX);
    options
        .init_async()
        .await
        .map_err(|error| DeviceError::Broken {
            name: adapter.name.clone(),
            reason: error.to_string(),
            remedy: "Reload the page, or train on the browser's CPU.",
        })
}
