//! Any graphics API of the system.

use burn::tensor::wgpu::wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};
use burn::tensor::{Device, DeviceKind};

use super::{Adapter, DeviceError, MemoryKind};

pub(super) const NO_ADAPTER: &str = "the graphics driver offers no adapter";
pub(super) const WITHOUT_ADAPTER: &str = "Install the graphics driver, or use --device cpu.";

/// Burn numbers the adapters of each kind.
pub(super) type Address = DeviceKind;

/// The device of an adapter; whether it works is seen when it is used first.
pub(super) async fn device(adapter: &Adapter) -> Result<Device, DeviceError> {
    Ok(Device::wgpu(adapter.address.clone()))
}

/// The adapters of the first graphics API that has any, numbered as Burn numbers them: each kind
/// by itself.
pub(super) async fn adapters() -> Vec<Adapter> {
    for api in [
        Backends::VULKAN,
        Backends::METAL,
        Backends::DX12,
        Backends::GL,
    ] {
        let descriptor = InstanceDescriptor {
            backends: api,
            ..InstanceDescriptor::new_without_display_handle()
        };
        let found = Instance::new(descriptor).enumerate_adapters(api).await;
        let (mut discrete, mut integrated, mut virtual_) = (0, 0, 0);
        let adapters: Vec<Adapter> = found
            .iter()
            .filter_map(|adapter| {
                let info = adapter.get_info();
                let next = |counter: &mut usize| {
                    *counter += 1;
                    *counter - 1
                };
                let kind = match info.device_type {
                    DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(next(&mut discrete)),
                    DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(next(&mut integrated)),
                    DeviceType::VirtualGpu => DeviceKind::VirtualGpu(next(&mut virtual_)),
                    DeviceType::Cpu => DeviceKind::Cpu,
                    // OpenGL does not say; Burn cannot address it by kind.
                    DeviceType::Other => return None,
                };
                Some(Adapter {
                    driver: format!("{} {}", info.driver, info.driver_info),
                    name: info.name,
                    is_software: kind == DeviceKind::Cpu,
                    memory: match kind {
                        DeviceKind::Cpu => MemoryKind::System,
                        DeviceKind::IntegratedGpu(_) => MemoryKind::Shared,
                        _ => MemoryKind::Own,
                    },
                    address: kind,
                })
            })
            .collect();
        if !adapters.is_empty() {
            return adapters;
        }
    }
    Vec::new()
}
