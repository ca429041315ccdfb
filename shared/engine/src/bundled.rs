//! The bundled base, for tests.

use mimeo_checkpoint::EmbeddedFolder;

use crate::base::Base;
use crate::runtime::{ArithmeticChoice, Compute, DeviceChoice, block_on};

/// Its files.
pub fn folder() -> EmbeddedFolder {
    EmbeddedFolder {
        name: mimeo_base::NAME,
        files: mimeo_base::files(),
    }
}

/// Loaded onto the CPU.
pub fn base() -> Base {
    let compute =
        block_on(Compute::choose(&DeviceChoice::Cpu, ArithmeticChoice::Auto)).expect("a CPU");
    block_on(Base::load(
        &folder(),
        &compute.device,
        ArithmeticChoice::Auto,
        &mut |_| (),
    ))
    .expect("it is bundled")
}
