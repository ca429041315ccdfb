//! `mimeo train --remote`: a companion does the work, this follows and fetches the result.

use mimeo_engine::job::copier_kind;
use mimeo_engine::{Emit as _, Event, Outcome, Phase};
use mimeo_protocol::{
    BaseId, ClientMessage, CopierChoice, CopierId, CopierInfo, FileId, FileKind, JobControl,
    JobEvent, JobEventKind, JobId, JobName, JobProgress, JobState, ModelSize, PauseReason, Recipe,
    ServerMessage, TrainJob, VaeId, VaeInfo,
};
use mimeo_service::blob::id_of;

use super::{Trained, makes_copier};
use crate::cli::examples::Examples;
use crate::cli::lora::CopierUpload;
use crate::exit::BadInput;
use crate::interrupt;
use crate::progress::Report;
use crate::remote::{Remote, new_event};

/// What to train.
pub struct Order {
    /// Of the LoRA.
    pub name: JobName,
    /// One of the companion's.
    pub base: BaseId,
    /// Likewise; none: the base's own.
    pub vae: Option<VaeId>,
    /// The pictures; none: it learns from prompts.
    pub examples: Examples,
    /// Whether to measure.
    pub scores: bool,
    /// The copier to build upon; none: one of its own.
    pub copier: Option<CopierUpload>,
    /// Whether the copier is to be fetched as well.
    pub wants_copier: bool,
}

/// Submits a job, follows it, and fetches what it made.
///
/// # Errors
/// One sentence: nobody is there, it was rejected, or it failed.
#[expect(clippy::disallowed_methods, reason = "what `--remote` is for")]
pub async fn train(
    url: &str,
    token: Option<&str>,
    order: Order,
    recipe: impl FnOnce(ModelSize) -> Result<Recipe, BadInput>,
    report: &mut Report,
) -> anyhow::Result<(Trained, Recipe)> {
    let (mut remote, snapshot) = Remote::connect(url, token).await?;
    let device = &snapshot.device;
    report.remote_device(&device.name, &device.reason);
    let recipe = recipe(model_size(&mut remote, &order).await?)?;
    if order.copier.is_some() || !makes_copier(&order.examples, &recipe) {
        report.plan(&recipe, order.scores);
    }
    let copier = match &order.copier {
        Some(given) => {
            let known = &snapshot.copiers;
            CopierChoice::Given(bring_copier(&mut remote, given, &order, (&recipe, known)).await?)
        }
        None if order.wants_copier => CopierChoice::New,
        None => CopierChoice::Cached,
    };
    let mut examples = Vec::new();
    for example in &order.examples {
        let files = example.files()?;
        if let Some(mask) = files.mask {
            remote.upload(mask).await?;
        }
        remote.upload(files.original).await?;
        if let Some(target) = files.target {
            remote.upload(target).await?;
        }
        examples.push(example.example.clone());
    }
    let job = TrainJob {
        copier,
        vae: order.vae,
        scores: order.scores,
        examples,
        ..TrainJob::of_prompts(order.name, order.base, recipe.clone())
    };
    let submit = |request| ClientMessage::Submit {
        request,
        job: Box::new(job),
    };
    let ServerMessage::Accepted { job, .. } = remote.ask(submit).await? else {
        anyhow::bail!("the companion gave another answer than to a job. Update it.");
    };

    let mut run = Run::new(job, &recipe);
    run.follow(&mut remote, report).await?;
    Ok((run.fetch(&remote).await?, recipe))
}

/// The companion's copier of these bytes; the file becomes one where there is none yet.
///
/// - `known`: the copiers that it has
async fn bring_copier(
    remote: &mut Remote,
    given: &CopierUpload,
    order: &Order,
    (recipe, known): (&Recipe, &[CopierInfo]),
) -> anyhow::Result<CopierId> {
    let id = id_of(&given.bytes);
    let same = |known: &[CopierInfo]| {
        let is_same = |copier: &&CopierInfo| copier.file.sha256 == id && copier.base == order.base;
        known.iter().find(is_same).map(|copier| copier.id)
    };
    if let Some(known) = same(known) {
        return Ok(known);
    }
    let lora = remote.upload_lora(given.bytes.clone()).await?;
    let import = |request| ClientMessage::ImportCopier {
        request,
        lora,
        name: given.name.clone(),
        kind: copier_kind(recipe, &given.file),
        base: order.base.clone(),
        vae: order.vae.clone(),
    };
    remote.ask(import).await?;
    // Every client is told of it, this one too.
    loop {
        if let ServerMessage::Copiers { copiers } = remote.next().await?
            && let Some(brought) = same(&copiers)
        {
            return Ok(brought);
        }
    }
}

/// Bases that are named where another one has to be chosen: a sentence has no room for a hundred.
const MAX_KNOWN: usize = 10;

async fn model_size(remote: &mut Remote, order: &Order) -> anyhow::Result<ModelSize> {
    let list = |request| ClientMessage::ListCheckpoints { request };
    let ServerMessage::Checkpoints {
        checkpoints, vaes, ..
    } = remote.ask(list).await?
    else {
        anyhow::bail!("the companion gave another answer than its bases. Update it.");
    };
    let base = &order.base;
    let usable = checkpoints.iter().filter(|info| info.unusable.is_none());
    let mut known: Vec<_> = usable.map(|info| info.id.as_str()).collect();
    if known.len() > MAX_KNOWN {
        known.truncate(MAX_KNOWN);
        known.push("or another that its page lists");
    }
    let known = known.join(", ");
    let info = checkpoints.iter().find(|info| info.id == *base);
    let info = info.ok_or_else(|| {
        BadInput(format!(
            "the companion has no base {:?}. Choose one of {known}.",
            base.as_str()
        ))
    })?;
    match (&info.unusable, info.size) {
        (Some(why), _) => Err(BadInput(why.clone()).into()),
        (None, size) => {
            check_vae(order, info.needs_vae, &vaes)?;
            Ok(size.unwrap_or(ModelSize::Sd1))
        }
    }
}

/// Whether the companion has the VAE that is asked for, or needs none.
fn check_vae(order: &Order, needs_vae: bool, vaes: &[VaeInfo]) -> Result<(), BadInput> {
    let usable = vaes.iter().filter(|info| info.unusable.is_none());
    let known: Vec<_> = usable
        .take(MAX_KNOWN)
        .map(|info| info.id.as_str())
        .collect();
    let remedy = match known.is_empty() {
        true => "Put one into the VAE folder of one of its models folders.".to_owned(),
        false => format!("Choose one of {} with --vae.", known.join(", ")),
    };
    let Some(vae) = &order.vae else {
        return match needs_vae {
            true => Err(BadInput(format!(
                "the base {} has no VAE of its own. {remedy}",
                order.base
            ))),
            false => Ok(()),
        };
    };
    match vaes.iter().find(|info| info.id == *vae) {
        None => Err(BadInput(format!(
            "the companion has no VAE {vae}. {remedy}"
        ))),
        Some(info) => info
            .unusable
            .clone()
            .map_or(Ok(()), |why| Err(BadInput(why))),
    }
}

/// A job that is followed.
struct Run<'a> {
    job: JobId,
    recipe: &'a Recipe,
    seen: u64,
    phase: Option<Phase>,
    announced: Option<(Phase, Option<u32>)>,
    step: (Phase, u32),
    secs_per_unit: f64,
    lora: Option<FileId>,
    copier: Option<FileId>,
    scores: Option<mimeo_protocol::Scores>,
    outcome: Option<Outcome>,
}

impl<'a> Run<'a> {
    const fn new(job: JobId, recipe: &'a Recipe) -> Self {
        Self {
            job,
            recipe,
            seen: 0,
            phase: None,
            announced: None,
            step: (Phase::Loading, 0),
            secs_per_unit: 0.0,
            lora: None,
            copier: None,
            scores: None,
            outcome: None,
        }
    }

    /// Tells what happens until the job is over, across lost connections.
    async fn follow(&mut self, remote: &mut Remote, report: &mut Report) -> anyhow::Result<()> {
        let mut stop = Box::pin(interrupt::requested());
        let mut asked_to_stop = false;
        while self.outcome.is_none() {
            let message = tokio::select! {
                message = remote.next() => message,
                () = &mut stop, if !asked_to_stop => {
                    asked_to_stop = true;
                    let job = self.job;
                    let stop = |request| ClientMessage::Control {
                        request,
                        job,
                        control: JobControl::StopAndKeep,
                    };
                    // It may be over already.
                    _ = remote.ask(stop).await;
                    continue;
                }
            };
            match message {
                Ok(message) => self.take(&message, report)?,
                Err(error) => {
                    report.note(format!("{error:#} Connecting again…"));
                    remote.reconnect(self.job, self.seen).await?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, message: &ServerMessage, report: &mut Report) -> anyhow::Result<()> {
        if let ServerMessage::Progress(progress) = message
            && progress.job == self.job
        {
            self.progress(progress, report);
        }
        if let Some(event) = new_event(message, self.job, self.seen) {
            self.seen = event.seq;
            self.event(event, report)?;
        }
        Ok(())
    }

    fn progress(&mut self, progress: &JobProgress, report: &mut Report) {
        self.secs_per_unit = progress.secs_per_unit.unwrap_or_default();
        // Steps come with their losses.
        if Some(progress.phase) == self.phase && !is_pass(progress.phase) {
            self.announce(progress.phase, progress.total, report);
            let done = progress.done;
            report.emit(Event::Progress { done });
        }
    }

    fn event(&mut self, event: &JobEvent, report: &mut Report) -> anyhow::Result<()> {
        match &event.kind {
            JobEventKind::State { state } => self.state(state, report)?,
            JobEventKind::Losses { phase, points } => {
                let pass = match phase {
                    Phase::Copier => &self.recipe.copier.pass,
                    _ => &self.recipe.pass,
                };
                for point in points {
                    self.step = (*phase, point.step);
                    report.emit(Event::Step {
                        phase: *phase,
                        step: point.step,
                        steps: pass.steps.get(),
                        loss: point.loss,
                        secs: self.secs_per_unit,
                    });
                }
            }
            JobEventKind::Resumed { phase, step } => {
                let (phase, step) = (*phase, *step);
                report.emit(Event::Resumed { phase, step });
            }
            JobEventKind::CopyFidelity { step, fidelity } => {
                let (step, fidelity) = (*step, *fidelity);
                report.emit(Event::CopyFidelity { step, fidelity });
            }
            JobEventKind::Response { curve } => {
                let curve = curve.clone();
                report.emit(Event::Response { curve });
            }
            JobEventKind::Leak { point } => report.emit(Event::Leak { point: *point }),
            JobEventKind::Note { text } => report.note(text),
            JobEventKind::Scores { scores } => self.scores = Some(scores.clone()),
            JobEventKind::File { file } => match file.kind {
                FileKind::Lora => self.lora = Some(file.id),
                FileKind::Copier => self.copier = Some(file.id),
                FileKind::Step { .. } => {}
            },
            JobEventKind::Preview { .. } => {}
        }
        Ok(())
    }

    fn state(&mut self, state: &JobState, report: &mut Report) -> anyhow::Result<()> {
        match state {
            JobState::Queued => report.note("The job waits in the companion's queue."),
            JobState::Running { phase } => {
                self.phase = Some(*phase);
                let total = match phase {
                    Phase::Copier => Some(self.recipe.copier.pass.steps.get()),
                    Phase::Training => Some(self.recipe.pass.steps.get()),
                    _ => None,
                };
                self.announce(*phase, total, report);
            }
            JobState::Paused { reason, .. } => report.note(match reason {
                PauseReason::User => "The job is paused.",
                PauseReason::DiskFull { message } => message,
            }),
            JobState::Finished => self.outcome = Some(Outcome::Finished),
            JobState::Stopped if self.lora.is_none() && self.copier.is_none() => {
                return Err(mimeo_engine::EngineError::StoppedBeforeTraining.into());
            }
            JobState::Stopped => {
                let (phase, step) = self.step;
                self.outcome = Some(Outcome::Stopped { phase, step });
            }
            JobState::Failed { message } if self.lora.is_none() && self.copier.is_none() => {
                anyhow::bail!("{message}")
            }
            JobState::Failed { message } => {
                let reason = message.clone();
                self.outcome = Some(Outcome::Diverged { reason });
            }
        }
        Ok(())
    }

    /// A phase is announced once more when its length becomes known.
    fn announce(&mut self, phase: Phase, total: Option<u32>, report: &mut Report) {
        if self.announced != Some((phase, total)) {
            self.announced = Some((phase, total));
            report.emit(Event::Phase { phase, total });
        }
    }

    async fn fetch(self, remote: &Remote) -> anyhow::Result<Trained> {
        let mut files = [None, None];
        for (file, id) in files.iter_mut().zip([self.lora, self.copier]) {
            if let Some(id) = id {
                *file = Some(remote.download(id).await?);
            }
        }
        let [lora, copier] = files;
        Ok(Trained {
            lora,
            copier,
            scores: self.scores,
            outcome: self.outcome.unwrap_or(Outcome::Finished),
        })
    }
}

const fn is_pass(phase: Phase) -> bool {
    matches!(phase, Phase::Copier | Phase::Training)
}
