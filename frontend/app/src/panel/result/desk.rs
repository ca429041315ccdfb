//! What is drawn and measured with one result: kept for as long as the page is open, so that
//! another tab and back draws nothing twice, and goes on meanwhile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mimeo_protocol::{
    BaseId, BlobId, Canvas, ClientMessage, FileId, LoraRef, PreviewRequest, PromptSyntax,
    ResultFile, Said, Scores, ServerMessage, Strength, TrainJob, VaeId,
};
use mimeo_workbench::Run;
use mimeo_workbench::dial::{Dial, Wish};
use mimeo_workbench::grid::{Grid, STRENGTHS};

use crate::link::Link;
use crate::panel::playground::draw::draw;

/// The dial rests, and the run's pictures are all here, once nothing came for so long.
const QUIET: Duration = Duration::from_millis(400);

thread_local! {
    /// By file and content: what a job made may be made anew.
    static KEPT: RefCell<BTreeMap<(FileId, BlobId), Kept>> = RefCell::default();
}

/// What outlives the panel.
#[derive(Clone)]
struct Kept {
    dial: ArcRwSignal<Dial>,
    grid: ArcRwSignal<Option<Grid>>,
    prompts: ArcRwSignal<String>,
    strengths: ArcRwSignal<String>,
    measured: ArcRwSignal<Measured>,
}

/// A measurement that was asked for here.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// It was not.
    No,
    /// It is on its way.
    Asked,
    /// The numbers.
    Yes(Box<Scores>),
    /// Why there are none.
    Refused(String),
}

/// Where pictures come from.
#[derive(Clone)]
struct Source {
    name: String,
    base: BaseId,
    vae: Option<VaeId>,
    said: Said,
    canvas: Canvas,
    file: FileId,
    prompt_syntax: PromptSyntax,
}

/// One result, as its panel uses it.
#[derive(Clone, Copy)]
pub struct Desk {
    /// Whoever draws and measures.
    pub link: Link,
    /// The strength dial and its pictures.
    pub dial: RwSignal<Dial>,
    /// The table of pictures, once one was asked for.
    pub grid: RwSignal<Option<Grid>>,
    /// Prompts for the table, as typed.
    pub prompts: RwSignal<String>,
    /// Strengths for the table, as typed.
    pub strengths: RwSignal<String>,
    /// What was measured here.
    pub measured: RwSignal<Measured>,
    kept: StoredValue<Kept>,
    source: StoredValue<Source>,
    timer: StoredValue<Option<TimeoutHandle>>,
}

impl Desk {
    /// The desk of a file, as it was left. The pictures that its run drew lie on it.
    pub fn new(run: Signal<Run>, file: &ResultFile) -> Self {
        let link = expect_context::<Link>();
        let key = (file.id, file.sha256);
        let kept = KEPT.with_borrow_mut(|all| {
            let new = || run.with_untracked(|run| Kept::new(link, run));
            all.entry(key).or_insert_with(new).clone()
        });
        let like = |job: &TrainJob| match job.examples.first() {
            Some(example) => Canvas::Like {
                picture: example.original,
                resolution: job.recipe.resolution,
            },
            None => Canvas::Native,
        };
        let source = run.with_untracked(|run| Source {
            name: run.job().name.to_string(),
            base: run.job().base.clone(),
            vae: run.job().vae.clone(),
            said: run.job().recipe.said(),
            canvas: like(run.job()),
            file: file.id,
            prompt_syntax: run.job().recipe.prompt_syntax,
        });
        let desk = Self {
            link,
            dial: kept.dial.clone().into(),
            grid: kept.grid.clone().into(),
            prompts: kept.prompts.clone().into(),
            strengths: kept.strengths.clone().into(),
            measured: kept.measured.clone().into(),
            kept: StoredValue::new(kept),
            source: StoredValue::new(source),
            timer: StoredValue::new(None),
        };
        desk.follow(run);
        desk
    }

    /// What the LoRA is called.
    pub fn name(self) -> String {
        self.source.with_value(|source| source.name.clone())
    }

    /// How prompts are read: as in the run's own previews.
    pub fn prompt_syntax(self) -> PromptSyntax {
        self.source.with_value(|source| source.prompt_syntax)
    }

    /// Takes over the run's own pictures, and draws what is missing when they are all here, and
    /// again when the line is back.
    fn follow(self, run: Signal<Run>) {
        let shots = Memo::new(move |_| run.with(|run| run.previews().shots().to_vec()));
        Effect::new(move |_| {
            shots.with(|shots| self.dial.update(|dial| dial.know(shots)));
            if self.link.is_connected() {
                self.rest_soon();
            }
        });
        on_cleanup(move || self.stop_timer());
    }

    /// The dial rests where it is, unless it is turned again soon.
    pub fn rest_soon(self) {
        self.stop_timer();
        let timer = set_timeout_with_handle(move || self.rest(), QUIET);
        self.timer.set_value(timer.ok());
    }

    /// The dial rests where it is: what is missing there is drawn.
    pub fn rest(self) {
        self.dial.update(Dial::rest);
        self.draw_dial();
    }

    fn stop_timer(self) {
        let timer = self.timer.try_update_value(Option::take);
        if let Some(timer) = timer.flatten() {
            timer.clear();
        }
    }

    /// Draws what the dial asks for until it asks for nothing.
    pub fn draw_dial(self) {
        let (link, source) = (self.link, self.source.get_value());
        let dial = self.kept.with_value(|kept| kept.dial.clone());
        spawn_local(async move {
            while let Some(ask) = dial.try_update(Dial::ask).flatten() {
                let Wish { prompt, seed } = ask.wish.clone();
                let answer = source.draw(link, prompt, seed, ask.at.strength()).await;
                dial.update(|dial| dial.answered(&ask, answer));
            }
        });
    }

    /// Measures what the LoRA does.
    pub fn measure(self) {
        let (link, file) = (self.link, self.source.with_value(|source| source.file));
        let measured = self.kept.with_value(|kept| kept.measured.clone());
        if measured.get_untracked() == Measured::Asked {
            return;
        }
        measured.set(Measured::Asked);
        spawn_local(async move {
            let ask = |request| ClientMessage::Score { request, file };
            measured.set(match link.ask(ask).await {
                Ok(ServerMessage::Scored { scores, .. }) => Measured::Yes(Box::new(scores)),
                Ok(_) => {
                    let why = "Something else came back than scores. Reload the page.";
                    Measured::Refused(why.to_owned())
                }
                Err(why) => Measured::Refused(why),
            });
        });
    }

    /// Draws what the table asks for until it asks for nothing.
    pub fn draw_grid(self) {
        let (link, source) = (self.link, self.source.get_value());
        let grid = self.kept.with_value(|kept| kept.grid.clone());
        let ask = |grid: &mut Option<Grid>| grid.as_mut().and_then(Grid::ask);
        spawn_local(async move {
            while let Some(ask) = grid.try_update(ask).flatten() {
                let began = js_sys::Date::now();
                let prompt = ask.prompt.clone();
                let answer = source.draw(link, prompt, ask.seed, ask.strength).await;
                let secs = (js_sys::Date::now() - began).max(0.0) / 1000.0;
                grid.update(|grid| {
                    if let Some(grid) = grid {
                        grid.answered(&ask, answer, secs);
                    }
                });
            }
        });
    }
}

impl Kept {
    fn new(link: Link, run: &Run) -> Self {
        let job = run.job();
        let mut prompts = link.host.with_untracked(|host| {
            let base = host.base(&job.base);
            base.map(|base| base.prompts.clone()).unwrap_or_default()
        });
        let wish = match &job.previews {
            Some(plan) => Wish {
                prompt: plan.prompt.clone(),
                seed: plan.seed,
            },
            None => Wish {
                prompt: prompts.first().cloned().unwrap_or_default(),
                seed: 0,
            },
        };
        if prompts.is_empty() {
            prompts.push(wish.prompt.clone());
        }
        Self {
            dial: ArcRwSignal::new(Dial::new(wish)),
            grid: ArcRwSignal::new(None),
            prompts: ArcRwSignal::new(prompts.join("\n")),
            strengths: ArcRwSignal::new(STRENGTHS.to_owned()),
            measured: ArcRwSignal::new(Measured::No),
        }
    }
}

impl Source {
    /// A picture of A's size, as the run's own previews are.
    async fn draw(
        &self,
        link: Link,
        prompt: String,
        seed: u64,
        strength: Strength,
    ) -> Result<BlobId, String> {
        let lora = LoraRef::File { file: self.file };
        // At strength 0 it is the base alone.
        let is_active = strength.get() != 0.0;
        let preview = PreviewRequest {
            vae: self.vae.clone(),
            said: self.said,
            canvas: self.canvas,
            loras: is_active.then_some((lora, strength)).into_iter().collect(),
            prompt_syntax: self.prompt_syntax,
            ..PreviewRequest::new(self.base.clone(), prompt, seed)
        };
        draw(link, preview).await
    }
}
