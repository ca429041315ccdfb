//! Whether this machine has a GPU that Mimeo could train on, found without a graphics library: this
//! decides whether one is compiled at all.
//!
//! A program with GPU support looks again when it starts, and asks the driver; what is found here only
//! has to be right about whether that is worth ten more minutes of compiling.

use std::fs;
use std::path::Path;

use crate::workspace::{Workspace, answer};

/// Where Vulkan's loader finds its drivers on Linux.
const DRIVER_FOLDERS: [&str; 3] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
];

/// Device files that only a GPU's kernel driver makes: NVIDIA's own, and WSL's.
const DEVICES: [&str; 3] = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"];

/// Beginnings of the names of drivers that stand in for a GPU.
const SOFTWARE_DRIVERS: [&str; 3] = ["lvp_icd", "vk_swiftshader_icd", "gfxstream"];

/// Graphics adapters of Windows that are none.
const WINDOWS_SOFTWARE: [&str; 3] = ["Microsoft Basic", "Microsoft Remote", "Hyper-V"];

/// A GPU, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// One that Mimeo can use.
    Gpu {
        /// What shows it, in the middle of a sentence.
        evidence: String,
    },
    /// None, or none that could be used.
    None {
        /// Why not, in the middle of a sentence.
        reason: String,
    },
}

/// Looks for a GPU.
pub fn find(workspace: &Workspace) -> Found {
    if cfg!(target_os = "macos") {
        return Found::Gpu {
            evidence: "every Mac that runs this has one (Metal)".to_owned(),
        };
    }
    if cfg!(windows) {
        return on_windows(&adapters_of_windows(workspace));
    }
    on_linux(Path::new("/"))
}

/// - `root`: what `/` is; another folder in the tests
fn on_linux(root: &Path) -> Found {
    let device = hardware(root);
    let drivers = drivers(root);
    let hardware_driver = drivers
        .iter()
        .find(|name| !SOFTWARE_DRIVERS.iter().any(|soft| name.starts_with(soft)));
    match (device, hardware_driver) {
        (Some(device), Some(driver)) => Found::Gpu {
            evidence: format!("{device} and its Vulkan driver {driver} are there"),
        },
        (Some(device), None) => Found::None {
            reason: format!(
                "{device} is there, but no Vulkan driver for it; install the one of your graphics card"
            ),
        },
        (None, _) => Found::None {
            reason: "this machine has none".to_owned(),
        },
    }
}

/// A device file of a GPU. A virtual machine's own graphics has one too; it computes nothing.
fn hardware(root: &Path) -> Option<String> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let named = DEVICES.iter().find(|device| inside(device).exists());
    if let Some(device) = named {
        return Some((*device).to_owned());
    }
    let nodes = fs::read_dir(inside("/dev/dri")).into_iter().flatten();
    let mut nodes: Vec<String> = nodes
        .flatten()
        .map(|node| node.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("renderD"))
        .collect();
    nodes.sort();
    nodes
        .into_iter()
        .find(|node| !is_virtual(&inside(&format!("/sys/class/drm/{node}/device/vendor"))))
        .map(|node| format!("/dev/dri/{node}"))
}

/// Whether a PCI vendor, such as "0x10de" in a file of the kernel, makes graphics of virtual machines
/// only: QEMU, VMware, VirtualBox, Red Hat's virtio.
fn is_virtual(vendor: &Path) -> bool {
    const VENDORS: [&str; 4] = ["0x1234", "0x15ad", "0x80ee", "0x1af4"];
    fs::read_to_string(vendor).is_ok_and(|vendor| VENDORS.contains(&vendor.trim()))
}

/// The names of the files by which Vulkan drivers make themselves known.
pub fn drivers(root: &Path) -> Vec<String> {
    let folders = DRIVER_FOLDERS
        .iter()
        .map(|folder| root.join(folder.trim_start_matches('/')));
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The names of the graphics adapters that Windows knows, a line each.
fn adapters_of_windows(workspace: &Workspace) -> String {
    let script = "(Get-CimInstance Win32_VideoController).Name";
    let mut shell = workspace.command("powershell");
    answer(shell.args(["-NoProfile", "-Command", script])).unwrap_or_default()
}

fn on_windows(adapters: &str) -> Found {
    let adapters = adapters.lines().map(str::trim);
    let mut named = adapters.filter(|name| !name.is_empty());
    let real = named.find(|name| !WINDOWS_SOFTWARE.iter().any(|soft| name.starts_with(soft)));
    match real {
        Some(name) => Found::Gpu {
            evidence: format!("Windows knows {name}"),
        },
        None => Found::None {
            reason: "Windows knows none".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn is_gpu(files: &[(&str, &str)]) -> bool {
        matches!(on_linux(machine(files).path()), Found::Gpu { .. })
    }

    const LLVMPIPE: (&str, &str) = ("usr/share/vulkan/icd.d/lvp_icd.x86_64.json", "");
    const RADEON: (&str, &str) = ("usr/share/vulkan/icd.d/radeon_icd.x86_64.json", "");
    const NODE: (&str, &str) = ("dev/dri/renderD128", "");

    #[test]
    fn a_card_with_its_driver_is_a_gpu() {
        assert!(is_gpu(&[NODE, RADEON, LLVMPIPE]), "AMD on Mesa");
        assert!(
            is_gpu(&[
                ("dev/nvidia0", ""),
                ("etc/vulkan/icd.d/nvidia_icd.json", "")
            ]),
            "NVIDIA's own driver"
        );
    }

    #[test]
    fn drivers_are_listed_of_all_folders() {
        let own = ("etc/vulkan/icd.d/nvidia_icd.json", "");
        let root = machine(&[LLVMPIPE, own]);
        let expected = ["lvp_icd.x86_64.json", "nvidia_icd.json"];
        assert_eq!(drivers(root.path()), expected, "of two folders");
        assert!(drivers(&root.path().join("none")).is_empty(), "of none");
    }

    #[test]
    fn software_is_none() {
        assert!(!is_gpu(&[]), "an empty machine");
        assert!(!is_gpu(&[RADEON, LLVMPIPE]), "drivers without a card");
        assert!(!is_gpu(&[NODE, LLVMPIPE]), "a card with software alone");
    }

    #[test]
    fn the_screen_of_a_virtual_machine_is_none() {
        let vendor = ("sys/class/drm/renderD128/device/vendor", "0x1af4\n");
        assert!(!is_gpu(&[NODE, RADEON, vendor]), "virtio");
    }

    #[test]
    fn a_card_without_a_driver_says_what_to_install() {
        let root = machine(&[NODE]);
        let Found::None { reason } = on_linux(root.path()) else {
            panic!("it cannot be used");
        };
        assert!(
            reason.contains("renderD128") && reason.contains("install"),
            "{reason}"
        );
    }

    #[test]
    fn windows_own_software_is_none() {
        let both = "Microsoft Basic Display Adapter\r\nNVIDIA GeForce RTX 3060\r\n";
        assert!(
            matches!(on_windows(both), Found::Gpu { evidence } if evidence.contains("RTX 3060")),
            "the card beside it"
        );
        for none in ["Microsoft Basic Display Adapter\r\n", ""] {
            assert!(matches!(on_windows(none), Found::None { .. }), "{none:?}");
        }
    }
}
