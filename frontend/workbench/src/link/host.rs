//! What the other side said about itself.

use mimeo_protocol::{
    BaseId, BaseInfo, CopierId, CopierInfo, DeviceInfo, JobProgress, Pace, Resolution, Snapshot,
    TrainJob, VaeInfo,
};

use crate::cost;

/// What the other side said about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Program and version.
    pub app: String,
    /// What computes there.
    pub device: Option<DeviceInfo>,
    /// Bases to train upon.
    pub bases: Vec<BaseInfo>,
    /// VAEs in files of their own.
    pub vaes: Vec<VaeInfo>,
    /// How fast steps went there.
    pub paces: Vec<Pace>,
    /// Copiers that can be used again.
    pub copiers: Vec<CopierInfo>,
}

impl Host {
    /// As a welcome tells it.
    #[must_use]
    pub fn welcoming(app: String, snapshot: &Snapshot) -> Self {
        Self {
            app,
            device: Some(snapshot.device.clone()),
            bases: snapshot.checkpoints.clone(),
            vaes: snapshot.vaes.clone(),
            paces: snapshot.paces.clone(),
            copiers: snapshot.copiers.clone(),
        }
    }

    /// A base, if it is there.
    #[must_use]
    pub fn base(&self, id: &BaseId) -> Option<&BaseInfo> {
        self.bases.iter().find(|base| base.id == *id)
    }

    /// A copier, if it is there.
    #[must_use]
    pub fn copier(&self, id: CopierId) -> Option<&CopierInfo> {
        self.copiers.iter().find(|copier| copier.id == id)
    }

    /// Whether it computes on a GPU.
    #[must_use]
    pub fn has_gpu(&self) -> bool {
        self.device.as_ref().is_some_and(|device| device.is_gpu)
    }

    /// What a running job teaches about the pace: what it takes, the next ones will take as well.
    #[must_use]
    pub fn pace(&self, job: &TrainJob, progress: &JobProgress) -> Option<Pace> {
        let resolution = job.recipe.resolution.map(Resolution::get);
        let side = u64::from(resolution.or(self.base(&job.base)?.native_side)?);
        cost::measured(job, progress, side * side)
    }
}
