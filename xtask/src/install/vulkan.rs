//! A GPU made of software, for machines without one.

use std::path::Path;

use super::debian;
use crate::machine::gpu;
use crate::workspace::Workspace;

/// Installs a software Vulkan driver on Debian and its relatives, for the test of the GPU path.
///
/// Says so when it cannot: that test then prints that it was skipped, everything else is unharmed.
pub fn software_vulkan(workspace: &Workspace) {
    let is_llvmpipe = |name: &String| name.starts_with("lvp_icd");
    if !cfg!(target_os = "linux") || gpu::drivers(Path::new("/")).iter().any(is_llvmpipe) {
        return;
    }
    let installed = debian::install(workspace, &["mesa-vulkan-drivers"], "Mesa's Vulkan drivers");
    if let Err(remedy) = installed {
        println!();
        println!("*** No software Vulkan driver: the GPU path is NOT tested here.");
        println!("*** To test it, {remedy:#}.");
        println!();
    }
}
