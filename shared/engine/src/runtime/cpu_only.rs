//! No GPU: the program was built without the feature `gpu`.

use std::convert::Infallible;

use burn::tensor::Device;

use super::{Adapter, DeviceError};

pub(super) const NO_ADAPTER: &str = "this mimeo was built for the CPU only";
pub(super) const WITHOUT_ADAPTER: &str = "`cargo xtask run --gpu` builds one with GPU support.";

/// Of nothing.
pub(super) type Address = Infallible;

/// Never asked, since there is no adapter.
pub(super) async fn device(adapter: &Adapter) -> Result<Device, DeviceError> {
    match adapter.address {}
}

/// None.
pub(super) async fn adapters() -> Vec<Adapter> {
    Vec::new()
}
