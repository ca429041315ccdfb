//! What the device has, and whether a job fits into it.

use mimeo_engine::memory::{MemoryNeed, memory_need};
use mimeo_engine::{Compute, runtime};
use mimeo_protocol::{BatchSize, MemoryPlan, Rejection, TrainJob};

use super::bases::Bases;

/// Left to the system and to other programs.
const SHARE: f64 = 0.9;

/// The device's memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// In all, where the system tells.
    pub total_bytes: Option<u64>,
}

impl Memory {
    /// Asks the system; `told` overrides it.
    pub fn of(compute: &Compute, told: Option<u64>) -> Self {
        let total_bytes = told.or_else(|| {
            compute.uses_system_memory().then(|| {
                let mut system = sysinfo::System::new();
                system.refresh_memory();
                system
                    .cgroup_limits()
                    .map_or(system.total_memory(), |limits| {
                        limits.total_memory.min(system.total_memory())
                    })
            })
        });
        Self { total_bytes }
    }

    /// What a job takes.
    ///
    /// # Errors
    /// When its base cannot be read.
    pub fn plan(
        self,
        bases: &Bases,
        compute: &Compute,
        job: &TrainJob,
        size: Option<(u32, u32)>,
    ) -> Result<MemoryPlan, Rejection> {
        let source = bases.find(&job.base).ok_or_else(|| Rejection::Missing {
            what: format!("the base {}", job.base),
            remedy: "Choose another one.".to_owned(),
        })?;
        let failed = |message: String| Rejection::Failed { message };
        let folder =
            runtime::block_on(source.open()).map_err(|error| failed(format!("{error:#}")))?;
        let need = |batch: Option<BatchSize>| {
            let mut recipe = job.recipe.clone();
            if let Some(batch) = batch {
                recipe.pass.batch_size = batch;
                recipe.copier.pass.batch_size = batch;
            }
            runtime::block_on(memory_need(&*folder, &recipe, size, &compute.device))
                .map_err(|error| failed(error.to_string()))
        };
        let MemoryNeed {
            weights_bytes,
            activations_bytes,
            optimizer_bytes,
        } = need(None)?;
        let available_bytes = self.total_bytes.map(|total| (total as f64 * SHARE) as u64);
        let mut plan = MemoryPlan {
            weights_bytes,
            activations_bytes,
            optimizer_bytes,
            available_bytes,
            remedy: None,
        };
        let fits = |bytes: u64| available_bytes.is_none_or(|available| bytes <= available);
        if !fits(plan.needed_bytes()) {
            let smallest = need(Some(BatchSize::constant(1)))?;
            plan.remedy = Some(if fits(smallest.total_bytes()) {
                let passes = [&job.recipe.pass, &job.recipe.copier.pass];
                let batch = passes.map(|pass| pass.batch_size.get()).into_iter().max();
                let batch = batch.unwrap_or(1);
                format!(
                    "Lower the batch size from {batch} to 1 (and raise the accumulation instead)."
                )
            } else if fits(weights_bytes + optimizer_bytes) {
                "Use smaller pictures, with batch size 1.".to_owned()
            } else {
                "Use a smaller base, or a device with more memory.".to_owned()
            });
        }
        Ok(plan)
    }
}

/// Why a job that does not fit is refused.
pub fn refusal(plan: &MemoryPlan) -> Option<Rejection> {
    let remedy = plan.remedy.as_ref()?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let available = plan.available_bytes.unwrap_or_default();
    Some(Rejection::Memory {
        message: format!(
            "this job needs about {:.1} GiB of memory, and the device has {:.1} GiB for it. {remedy}",
            gib(plan.needed_bytes()),
            gib(available)
        ),
    })
}
