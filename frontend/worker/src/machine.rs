//! What computes: the device, the bases that there are, and the one that is on it.

use std::cell::RefCell;
use std::rc::Rc;

use mimeo_engine::{Base, Compute, Emit, PreparedJob};
use mimeo_protocol::{BaseId, Method, TrainJob, VaeId};
use mimeo_service::WantedBase;

use crate::bases::{Bases, reads, unreadable};
use crate::{Desk, page};

/// Base, method, batch size, rank, and width and height of each picture.
type Shape = (BaseId, Method, u32, u32, Vec<(u32, u32)>);

/// A base on the device.
#[derive(Clone)]
struct Loaded {
    id: BaseId,
    /// The VAE that it has; none: its own.
    vae: Option<VaeId>,
    base: Rc<Base>,
}

/// The device and what is on it.
pub struct Machine {
    /// The device.
    pub compute: Compute,
    /// Checkpoints.
    pub bases: Bases,
    loaded: RefCell<Option<Loaded>>,
    /// What jobs were like that the GPU has done before.
    rehearsed: RefCell<Vec<Shape>>,
}

impl Machine {
    /// A device with nothing on it.
    pub fn new(compute: Compute, bases: Bases) -> Self {
        Self {
            compute,
            bases,
            loaded: RefCell::default(),
            rehearsed: RefCell::default(),
        }
    }

    /// The base as it is wanted, loaded if another one was. What is said of it needs no loading, another
    /// VAE only its own.
    ///
    /// # Errors
    /// A sentence when it cannot be used.
    pub async fn base(
        &self,
        wanted: WantedBase<'_>,
        emit: &mut impl Emit,
    ) -> Result<Rc<Base>, String> {
        let base = self.load(wanted.id, wanted.vae, emit).await?;
        if wanted.said.is_nothing() {
            return Ok(base);
        }
        let said = base.as_said(&wanted.said, emit);
        said.map(Rc::new).map_err(|error| error.to_string())
    }

    async fn load(
        &self,
        id: &BaseId,
        vae: Option<&VaeId>,
        emit: &mut impl Emit,
    ) -> Result<Rc<Base>, String> {
        let known = self.loaded.borrow().clone();
        let known = known.filter(|known| known.id == *id);
        if let Some(known) = &known
            && known.vae.as_ref() == vae
        {
            return Ok(Rc::clone(&known.base));
        }
        if known.is_none() {
            // First, because the device may not hold two.
            self.loaded.take();
            self.compute.free_unused();
        }
        let checkpoint = self.bases.checkpoint(id, vae).await;
        let checkpoint = checkpoint.map_err(|reason| reason.to_string())?;
        let loaded = match known {
            // A VAE is small beside its base.
            Some(known) => known.base.with_vae_of(&*checkpoint, emit).await,
            None => {
                let (device, arithmetic) = (&self.compute.device, self.compute.arithmetic);
                Box::pin(Base::load(&*checkpoint, device, arithmetic, emit)).await
            }
        };
        let base = Rc::new(loaded.map_err(|error| unreadable(id, &error).to_string())?);
        self.loaded.replace(Some(Loaded {
            id: id.clone(),
            vae: vae.cloned(),
            base: Rc::clone(&base),
        }));
        Ok(base)
    }

    /// Takes a base off the device, or the one that has this VAE, so that its files are read anew.
    pub fn unload(&self, id: &BaseId) {
        let is_it = |loaded: &mut Loaded| reads(&loaded.id, loaded.vae.as_ref(), id);
        if self.loaded.borrow_mut().take_if(is_it).is_some() {
            self.compute.free_unused();
        }
    }

    /// Whether the GPU may lack programs for a job: none of its shape was done before. What such a
    /// job needs beyond those of another shape is little.
    pub fn is_new(&self, job: &TrainJob, prepared: &PreparedJob) -> bool {
        let sizes = prepared.examples.iter().map(|example| {
            let picture = &example.pictures.original;
            (picture.width(), picture.height())
        });
        let sizes: Vec<_> = sizes.collect();
        let recipe = &job.recipe;
        let (batch, rank) = (recipe.pass.batch_size.get(), recipe.pass.rank.get());
        let shape = (job.base.clone(), recipe.method, batch, rank, sizes);
        let mut known = self.rehearsed.borrow_mut();
        let is_new = !known.contains(&shape);
        if is_new {
            known.push(shape);
        }
        is_new
    }
}

/// Tells that the GPU has its programs, and remembers how many those are.
pub fn compiled(desk: &Desk) {
    let mut ledger = desk.ledger.borrow_mut();
    let most = ledger.pipelines().max(page::pipelines());
    ledger.keep_pipelines(most);
    page::pipelines_done();
}
