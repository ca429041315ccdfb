//! What memory the device has.

use std::process::Command;

use mimeo_engine::memory::RecomputeChoice;
use mimeo_engine::{Compute, MemoryKind};
use mimeo_service::plan::Room;

/// Left to the system and to other programs.
const SHARE: f64 = 0.9;

/// The device's memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// In all, where the system tells.
    pub total_bytes: Option<u64>,
    /// How sparing jobs are of it.
    pub recompute: RecomputeChoice,
}

impl Memory {
    /// Asks the system; `told` overrides it.
    pub fn of(compute: &Compute, told: Option<u64>, recompute: RecomputeChoice) -> Self {
        let total_bytes = told.or_else(|| match compute.memory() {
            MemoryKind::System => Some(system_bytes()),
            // What drivers let an integrated GPU take of it.
            MemoryKind::Shared => Some(system_bytes() / 2),
            MemoryKind::Own => card_bytes(&compute.name),
        });
        Self {
            total_bytes,
            recompute,
        }
    }

    /// What of it jobs may take.
    pub fn room(self) -> Room {
        Room {
            available_bytes: self.total_bytes.map(|total| (total as f64 * SHARE) as u64),
            largest_bytes: None,
            recompute: self.recompute,
        }
    }
}

fn system_bytes() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let total = system.total_memory();
    let limits = system.cgroup_limits();
    limits.map_or(total, |limits| limits.total_memory.min(total))
}

/// WebGPU does not tell, so the driver's own tool is asked, or the system.
#[expect(clippy::disallowed_methods, reason = "it asks the driver")]
fn card_bytes(name: &str) -> Option<u64> {
    let asked = Command::new("nvidia-smi")
        .args([
            "--query-gpu=name,memory.total",
            "--format=csv,noheader,nounits",
        ])
        .output();
    let told = asked.ok().filter(|asked| asked.status.success());
    let told = told.and_then(|told| nvidia_bytes(&String::from_utf8_lossy(&told.stdout), name));
    told.or_else(amd_bytes)
}

/// From lines like `NVIDIA GeForce RTX 4070, 12282`: name and MiB.
fn nvidia_bytes(table: &str, name: &str) -> Option<u64> {
    let lines = table.lines().filter_map(|line| {
        let (card, mib) = line.rsplit_once(',')?;
        let mib: u64 = mib.trim().parse().ok()?;
        name.contains(card.trim()).then_some(mib << 20)
    });
    // Of two of a kind they are the same.
    lines.min()
}

/// What Linux' amdgpu driver says; of several cards the smallest, since it has no names.
fn amd_bytes() -> Option<u64> {
    let cards = std::fs::read_dir("/sys/class/drm").ok()?.flatten();
    let totals = cards.filter_map(|card| {
        let total = card.path().join("device/mem_info_vram_total");
        std::fs::read_to_string(total).ok()?.trim().parse().ok()
    });
    totals.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_by_its_name() {
        let table = "NVIDIA GeForce RTX 4070, 12282\nNVIDIA H200, 143771\n";
        assert_eq!(
            nvidia_bytes(table, "NVIDIA H200"),
            Some(143_771 << 20),
            "its own"
        );
        let adapter = "NVIDIA GeForce RTX 4070 (Vulkan)";
        assert_eq!(
            nvidia_bytes(table, adapter),
            Some(12_282 << 20),
            "with more behind"
        );
        assert_eq!(nvidia_bytes(table, "AMD Radeon"), None, "another maker's");
        assert_eq!(
            nvidia_bytes("no devices were found", "NVIDIA"),
            None,
            "no table"
        );
    }
}
