//! A GPU made of software, for machines without one.

use std::path::Path;

use super::debian;
use crate::workspace::Workspace;

/// Where Vulkan's loader finds its drivers on Linux.
const DRIVER_FOLDERS: [&str; 3] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
];

/// Installs a software Vulkan driver on Debian and its relatives, for the test of the GPU path.
///
/// Says so when it cannot: that test then prints that it was skipped, everything else is unharmed.
pub fn software_vulkan(workspace: &Workspace) {
    if !cfg!(target_os = "linux") || DRIVER_FOLDERS.iter().any(has_llvmpipe) {
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

/// Whether Mesa's software driver (`lvp_icd.<architecture>.json`) is in a folder.
fn has_llvmpipe(folder: impl AsRef<Path>) -> bool {
    let Ok(entries) = folder.as_ref().read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("lvp_icd"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn mesas_software_driver_is_recognised_among_others() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_llvmpipe(&folder), "an empty folder holds no driver");
        fs::write(folder.path().join("intel_icd.x86_64.json"), "{}").unwrap();
        assert!(!has_llvmpipe(&folder), "intel's driver needs its GPU");
        fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(has_llvmpipe(&folder), "lvp is llvmpipe's Vulkan driver");
    }

    #[test]
    fn a_folder_that_is_not_there_holds_no_driver() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            !has_llvmpipe(folder.path().join("missing")),
            "most systems lack some of the folders"
        );
    }
}
