//! Every message of a client, and what is answered to it.
//!
//! The one table of them. What differs between servers is asked of two traits: what is remembered of
//! the [`Store`], all else of the [`Host`]. How a client reaches the server, who may, and in which
//! order events reach it are the server's own.

use mimeo_protocol::{
    BlobId, Canvas, ClientMessage, CopierChoice, CopierId, CopierInfo, Example, FileId, JobControl,
    JobEvent, JobId, JobName, JobState, LoraRef, MAX_CLIENT_FRAME, MemoryPlan, PROTOCOL_VERSION,
    PreviewRequest, Rejection, RequestId, ServerMessage, Snapshot, TrainJob, Transition,
    UnreadableJob, VaeId, codec,
};

use crate::host::{Answer, Host, Program};
use crate::plan;
use crate::prepare;
use crate::rules::{self, Course};
use crate::runner::WantedBase;
use crate::steering::{Running, Steering};
use crate::store::{ImportedCopier, KeptJob, Listed, Store, StoredJob};
use crate::task::Task;

/// The longest name of a client that is repeated to it, in characters.
const MAX_APP: usize = 80;

/// What answers the clients.
#[derive(Debug)]
pub struct Server<S, H> {
    /// What is remembered.
    pub store: S,
    /// Where it runs.
    pub host: H,
    /// The jobs that run, and what is wanted of them.
    pub running: Running,
}

/// What a client hears of its message.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// This.
    Message(Box<ServerMessage>),
    /// A job's events again ([`Server::events`]), in order with those that follow by themselves, and
    /// then that it is done.
    Events {
        /// Number of the request.
        request: RequestId,
        /// Which job.
        job: JobId,
        /// The last one that the client has; 0 for none.
        after: u64,
    },
}

/// The message in a client's frame.
///
/// # Errors
/// When it is none.
pub fn read(frame: &[u8]) -> Answer<ClientMessage> {
    codec::decode(frame, MAX_CLIENT_FRAME).map_err(Rejection::from)
}

/// Whether a client speaks as we do.
///
/// - `protocol`, `client`: what its hello says
///
/// # Errors
/// When it speaks another version.
pub fn check_version(program: Program, protocol: u32, client: &str) -> Answer<()> {
    if protocol == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Rejection::Version {
        client: client.chars().take(MAX_APP).collect(),
        client_protocol: protocol,
        server: program.app.to_owned(),
        server_protocol: PROTOCOL_VERSION,
    })
}

impl<S: Store, H: Host> Server<S, H>
where
    Rejection: From<S::Error>,
{
    /// A server of which no job runs yet; see [`Self::recover`].
    pub fn new(store: S, host: H) -> Self {
        Self {
            store,
            host,
            running: Running::default(),
        }
    }

    /// After a start: what ran when the last process ended waits again, before all others, and what
    /// the user wants to wait will wait. Jobs that cannot be read stay as they are, for a program
    /// that can; they are returned.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn recover(&self) -> Answer<Vec<UnreadableJob>> {
        let (mut broken_off, mut waiting, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for id in self.store.under_way().await? {
            match self.store.job(id).await? {
                Some(KeptJob::Readable(job)) => {
                    if job.state == JobState::Queued {
                        waiting.push(id);
                    } else if self.take_up(*job).await? {
                        broken_off.push(id);
                    }
                }
                Some(KeptJob::Unreadable(job)) => unreadable.push(job),
                None => {}
            }
        }
        for id in self.store.order().await? {
            if !broken_off.contains(&id) && !waiting.contains(&id) {
                self.store.unqueue(id).await?;
            }
        }
        // Most wait already. Each goes before all others, so the one that is to be first comes last.
        for id in waiting.into_iter().rev().chain(broken_off) {
            self.store.requeue(id).await?;
        }
        self.store.tell_copiers().await?;
        self.store.tell_order().await;
        Ok(unreadable)
    }

    /// Lets a job wait that was under way; whether it does.
    async fn take_up(&self, job: StoredJob) -> Answer<bool> {
        let id = job.id;
        // While a job waits for the user or for room nothing computes that could take the server down:
        // it is closed meanwhile, as often as its user likes.
        if matches!(job.state, JobState::Paused { .. }) {
            // Of a job of an older Mimeo only its state tells, which is lost with the next line.
            self.store.hold(id, job.is_held()).await?;
        } else if self.store.count_death(id).await? >= rules::MAX_DEATHS {
            let message = rules::given_up(H::PROGRAM);
            let fail = Transition::Fail { message };
            self.store.change_state(id, fail).await?;
            return Ok(false);
        }
        self.store.change_state(id, Transition::Interrupt).await?;
        Ok(true)
    }

    /// Lets a client in: how everything is, and which events that includes.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn welcome(&self) -> Answer<(ServerMessage, S::Mark)> {
        // First, because it is waited for: what comes meanwhile is in all that follows.
        let checkpoints = self.host.bases().await?;
        let vaes = self.host.vaes().await?;
        let Listed {
            mut jobs,
            unreadable,
            mark,
        } = self.store.list().await?;
        if let Some(progress) = self.host.progress()
            && let Some(job) = jobs.iter_mut().find(|job| job.id == progress.job)
        {
            job.progress = Some(progress);
        }
        let device = self.host.device().clone();
        let snapshot = Snapshot {
            jobs,
            queue: self.store.order().await?,
            copiers: self.store.copiers().await?,
            paces: self.store.paces(&device.name).await?,
            device,
            checkpoints,
            vaes,
            unreadable,
        };
        let welcome = ServerMessage::Welcome {
            protocol: PROTOCOL_VERSION,
            app: H::PROGRAM.app.to_owned(),
            snapshot,
        };
        Ok((welcome, mark))
    }

    /// Does what a client that was let in asks for.
    pub async fn answer(&self, message: ClientMessage) -> Reply {
        let request = message.request();
        let answered = self.obey(message).await;
        answered.unwrap_or_else(|reason| {
            let rejected = ServerMessage::Rejected { request, reason };
            Reply::Message(Box::new(rejected))
        })
    }

    /// The table.
    async fn obey(&self, message: ClientMessage) -> Answer<Reply> {
        use ClientMessage as C;
        let answer = match message {
            C::Hello { .. } => {
                let what = "the hello was said already".to_owned();
                return Err(Rejection::Undecodable { what });
            }
            C::Resync {
                request,
                job,
                after,
            } => {
                self.job(job).await?;
                return Ok(Reply::Events {
                    request,
                    job,
                    after,
                });
            }
            C::Submit { request, job } => {
                let job = self.submit(&job).await?;
                ServerMessage::Accepted { request, job }
            }
            C::Control {
                request,
                job,
                control,
            } => {
                self.control(job, control).await?;
                ServerMessage::Done { request }
            }
            C::Reorder {
                request,
                job,
                before,
            } => {
                self.reorder(job, before).await?;
                ServerMessage::Done { request }
            }
            C::Delete { request, job } => {
                self.delete(job).await?;
                ServerMessage::Done { request }
            }
            C::Preview { request, preview } => {
                self.check_preview(&preview).await?;
                let preview = Box::new(preview);
                self.host
                    .perform(Task::Preview { request, preview })
                    .await?
            }
            C::Score { request, file } => {
                let job = Box::new(self.maker(file).await?);
                self.host
                    .perform(Task::Score { request, job, file })
                    .await?
            }
            C::Plan { request, job } => {
                let mut sizes = Vec::with_capacity(job.examples.len());
                for example in &job.examples {
                    sizes.extend(self.host.picture_size(example.original).await);
                }
                let plan = self.plan(&job, &sizes).await?;
                ServerMessage::Plan { request, plan }
            }
            C::ListCheckpoints { request } => ServerMessage::Checkpoints {
                request,
                checkpoints: self.host.bases().await?,
                vaes: self.host.vaes().await?,
            },
            C::Devices { request } => ServerMessage::Devices {
                request,
                devices: self.host.devices().await,
            },
            C::RenameCopier {
                request,
                copier,
                name,
            } => {
                self.rename_copier(copier, &name).await?;
                ServerMessage::Done { request }
            }
            C::ImportCopier {
                request,
                lora,
                name,
                kind,
                base,
                vae,
            } => {
                let copier = ImportedCopier {
                    lora,
                    name,
                    kind,
                    base,
                };
                self.import_copier(request, copier, vae).await?
            }
            C::DeleteCopier { request, copier } => {
                self.delete_copier(copier).await?;
                ServerMessage::Done { request }
            }
            C::Reveal { request, file } => {
                self.host.reveal(file).await?;
                ServerMessage::Done { request }
            }
        };
        Ok(Reply::Message(Box::new(answer)))
    }

    /// A job's events in order, for [`Reply::Events`]; the first of many, and none at the end.
    ///
    /// - `until`: what the client has, or is told otherwise
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn events(&self, job: JobId, after: u64, until: &S::Mark) -> Answer<Vec<JobEvent>> {
        Ok(self.store.events(job, after, until).await?)
    }

    /// Queues a job, if it can be done at all.
    async fn submit(&self, job: &TrainJob) -> Answer<JobId> {
        rules::check_queue(self.store.order().await?.len())?;
        self.check(job).await?;
        let id = self.store.add(job).await?;
        self.store.tell_order().await;
        self.store.flush().await;
        self.host.wake();
        Ok(id)
    }

    /// What the run would find wrong minutes later.
    async fn check(&self, job: &TrainJob) -> Answer<()> {
        rules::check_prompts(job)?;
        rules::check_recipe(job)?;
        self.check_said(&WantedBase::of_job(job)).await?;
        if let CopierChoice::Given(id) = job.copier {
            rules::check_copier_base(&self.copier(id).await?, &job.base)?;
        }
        let is_set = job.examples.len() > 1;
        let mut sizes = Vec::with_capacity(job.examples.len());
        for (example, number) in job.examples.iter().zip(1..) {
            let size = self.check_example(example).await;
            sizes.push(size.map_err(|rejection| match rejection {
                Rejection::Failed { message } if is_set => Rejection::Failed {
                    message: format!("example {number}: {message}"),
                },
                other => other,
            })?);
        }
        let shape = self.host.shape(&job.base, job.vae.as_ref()).await?;
        for size in &sizes {
            let fit = shape.fit(&job.recipe, *size);
            fit.map_err(|error| Rejection::Failed {
                message: error.to_string(),
            })?;
        }
        let plan = self.plan(job, &sizes).await?;
        plan::refusal(&plan).map_or(Ok(()), Err)
    }

    /// Whether a base can be had as it is wanted.
    async fn check_said(&self, wanted: &WantedBase<'_>) -> Answer<()> {
        if let Some(vae) = wanted.vae {
            self.host.check_vae(vae).await?;
        }
        if wanted.said.is_nothing() {
            return Ok(());
        }
        let shape = self.host.shape(wanted.id, wanted.vae).await?;
        let checked = shape.check_said(&wanted.said);
        checked.map_err(|error| Rejection::Failed {
            message: error.to_string(),
        })
    }

    /// Whether pictures make an example; their size.
    async fn check_example(&self, example: &Example) -> Answer<(u32, u32)> {
        let original = self.picture(example.original).await?;
        let target = match example.is_alone() {
            true => None,
            false => Some(self.picture(example.target).await?),
        };
        let mask = match example.mask {
            Some(mask) => Some(self.picture(mask).await?),
            None => None,
        };
        let check = move || match target {
            Some(target) => prepare::check_pair(&original, &target, mask.as_deref()),
            None => prepare::check_alone(&original, mask.as_deref()),
        };
        let size = self.host.aside(check).await?;
        size.map_err(|error| Rejection::Failed {
            message: error.to_string(),
        })
    }

    /// What a job would take of the device's memory.
    ///
    /// - `sizes`: of the pictures, where they are known
    async fn plan(&self, job: &TrainJob, sizes: &[(u32, u32)]) -> Answer<MemoryPlan> {
        let shape = self.host.shape(&job.base, job.vae.as_ref()).await?;
        let (compute, room) = (self.host.compute(), self.host.room());
        Ok(plan::plan(&shape, &job.recipe, sizes, compute, room))
    }

    /// Steers a job.
    async fn control(&self, id: JobId, control: JobControl) -> Answer<()> {
        let job = self.job(id).await?;
        match rules::course(control, &job.state)? {
            Course::Queue => {
                self.store.change_state(id, Transition::Retry).await?;
                self.store.tell_order().await;
                self.store.flush().await;
                self.host.wake();
            }
            course @ (Course::Leave | Course::Discard) => {
                self.store.unqueue(id).await?;
                self.store.change_state(id, Transition::Stop).await?;
                if course == Course::Discard {
                    self.store.forget_results(id).await;
                }
                self.store.tell_order().await;
                self.store.flush().await;
            }
            Course::Steer => {
                // Not made anew: wishes about a run that ended meanwhile would be those of the next.
                let steering = self.running.steering(id).ok_or_else(rules::just_ended)?;
                steering.control(control);
                self.host.nudge();
                if matches!(control, JobControl::Pause | JobControl::Resume) {
                    self.keep_wish(id, &steering).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps whether a running job is to wait: its state tells only once it does, or goes on.
    async fn keep_wish(&self, id: JobId, steering: &Steering) -> Answer<()> {
        loop {
            let is_held = steering.wishes().pause;
            self.store.hold(id, is_held).await?;
            // Another client may have wished the contrary meanwhile, and written before.
            if steering.wishes().pause == is_held {
                break;
            }
        }
        self.store.flush().await;
        Ok(())
    }

    /// Moves a waiting job.
    async fn reorder(&self, job: JobId, before: Option<JobId>) -> Answer<()> {
        if !self.store.reorder(job, before).await? {
            return Err(rules::not_waiting());
        }
        self.store.tell_order().await;
        self.store.flush().await;
        Ok(())
    }

    /// Removes a job that is over, with what it made; or one that cannot be read, whose files stay:
    /// they may be all that is left of it, and nobody knows which they are.
    async fn delete(&self, id: JobId) -> Answer<()> {
        match self.store.job(id).await? {
            Some(KeptJob::Unreadable(_)) => {}
            Some(KeptJob::Readable(job)) => {
                rules::check_deletion(&job.state)?;
                self.store.forget_results(id).await;
            }
            None => return Err(rules::missing_job(id)),
        }
        self.store.delete(id).await?;
        self.store.flush().await;
        Ok(())
    }

    /// Whether a picture can be drawn.
    async fn check_preview(&self, request: &PreviewRequest) -> Answer<()> {
        rules::check_prompt(&request.prompt)?;
        rules::check_prompt(&request.negative_prompt)?;
        self.host.check_base(&request.base)?;
        self.check_said(&WantedBase::of_preview(request)).await?;
        match request.canvas {
            Canvas::Native => {}
            Canvas::Like { picture, .. } => self.check_picture(picture).await?,
            Canvas::Inpaint { picture, mask } => {
                self.check_picture(picture).await?;
                self.check_picture(mask).await?;
            }
        }
        rules::check_lora_count(request.loras.len())?;
        for (lora, _) in &request.loras {
            if let LoraRef::Uploaded { lora } = lora
                && !self.host.has_lora(*lora).await
            {
                return Err(rules::missing_lora(*lora));
            }
        }
        Ok(())
    }

    /// The job that made a LoRA.
    async fn maker(&self, file: FileId) -> Answer<StoredJob> {
        let owner = self.store.owner(file).await?;
        self.job(owner.ok_or_else(|| rules::missing_file(file))?)
            .await
    }

    /// Makes an uploaded LoRA a copier, if it fits its base; what becomes of it.
    async fn import_copier(
        &self,
        request: RequestId,
        copier: ImportedCopier,
        vae: Option<VaeId>,
    ) -> Answer<ServerMessage> {
        self.host.check_base(&copier.base)?;
        if let Some(vae) = &vae {
            self.host.check_vae(vae).await?;
        }
        if !self.host.has_lora(copier.lora).await {
            return Err(rules::missing_lora(copier.lora));
        }
        rules::check_import(&copier, &self.store.copiers().await?)?;
        let task = Task::Fit {
            request,
            lora: copier.lora,
            name: copier.name.clone(),
            base: copier.base.clone(),
            vae,
        };
        let answer = self.host.perform(task).await?;
        if matches!(answer, ServerMessage::Done { .. }) {
            // Another client may have sent the same one meanwhile.
            rules::check_import(&copier, &self.store.copiers().await?)?;
            self.store.import_copier(&copier).await?;
            self.store.tell_copiers().await?;
            self.store.flush().await;
        }
        Ok(answer)
    }

    /// Calls a copier something else.
    async fn rename_copier(&self, id: CopierId, name: &JobName) -> Answer<()> {
        self.copier(id).await?;
        self.store.rename_copier(id, name).await?;
        self.store.tell_copiers().await?;
        self.store.flush().await;
        Ok(())
    }

    /// Removes a copier that no job under way needs.
    async fn delete_copier(&self, id: CopierId) -> Answer<()> {
        self.copier(id).await?;
        rules::check_copier_deletion(self.store.user_of_copier(id).await?)?;
        self.store.delete_copier(id).await?;
        self.store.tell_copiers().await?;
        self.store.flush().await;
        Ok(())
    }

    /// A job, by its number.
    async fn job(&self, id: JobId) -> Answer<StoredJob> {
        match self.store.job(id).await? {
            Some(KeptJob::Readable(job)) => Ok(*job),
            Some(KeptJob::Unreadable(job)) => Err(Rejection::Failed {
                message: job.message,
            }),
            None => Err(rules::missing_job(id)),
        }
    }

    async fn copier(&self, id: CopierId) -> Answer<CopierInfo> {
        let copiers = self.store.copiers().await?;
        let found = copiers.into_iter().find(|copier| copier.id == id);
        found.ok_or_else(|| rules::missing_copier(id))
    }

    async fn check_picture(&self, id: BlobId) -> Answer<()> {
        if self.host.has_picture(id).await {
            return Ok(());
        }
        Err(rules::missing_picture(id))
    }

    async fn picture(&self, id: BlobId) -> Answer<Vec<u8>> {
        self.check_picture(id).await?;
        self.host.picture(id).await
    }
}
