//! Four checks, a fix on each, and Train.

use leptos::prelude::*;
use mimeo_protocol::fields::Field;
use mimeo_protocol::{ClientMessage, ServerMessage};
use mimeo_workbench::preflight::{Fix, job_name, job_to_plan};
use mimeo_workbench::workbench::{MaskCommand, PairsCommand, Setting};
use mimeo_workbench::{Check, Command, Slot, Verdict};
use wasm_bindgen::JsCast as _;

use super::arrivals::Arrivals;
use super::pair::{first_example, load_example};
use super::recipe::from_disk;
use crate::bench::Bench;
use crate::link::Link;
use crate::page::{Page, Tab};

/// Pressing Train, from wherever it is pressed.
#[derive(Clone, Copy)]
pub struct Training {
    /// Whether pictures and job are on their way.
    pub is_submitting: RwSignal<bool>,
    /// Whether it shall begin once the trainer is there.
    pub waits: RwSignal<bool>,
    /// Why the job was not taken.
    pub refusal: RwSignal<Option<String>>,
}

impl Training {
    /// Nothing was pressed yet.
    pub fn new() -> Self {
        Self {
            is_submitting: RwSignal::new(false),
            waits: RwSignal::new(false),
            refusal: RwSignal::new(None),
        }
    }

    /// Trains, or puts the focus on what keeps it from being trained.
    pub fn begin(self, bench: Bench, link: Link, page: Page) {
        if self.is_submitting.get_untracked() {
            return;
        }
        self.refusal.set(None);
        // Pressed once more, it does not wait.
        let waited = self.waits.get_untracked();
        self.waits.set(false);
        let submission = match untrack(|| bench.submission(link)) {
            Ok(submission) => submission,
            Err(_) if untrack(|| bench.only_waits(link)) => return self.waits.set(!waited),
            Err(_problems) => return focus_first_problem(),
        };
        self.is_submitting.set(true);
        leptos::task::spawn_local(async move {
            let answer = submit(link, submission).await;
            self.is_submitting.set(false);
            match answer {
                Ok(job) => {
                    page.shown.set(Some(job));
                    page.open(Tab::Run);
                }
                Err(why) => self.refusal.set(Some(why)),
            }
        });
    }
}

/// Begins once what is on its way is there; gives up waiting if it does not come.
fn begin_when_there(training: Training, bench: Bench, link: Link, page: Page) {
    Effect::new(move |_| {
        if training.waits.get() && !bench.only_waits(link) {
            match untrack(|| bench.submission(link)) {
                Ok(_) => training.begin(bench, link, page),
                Err(_problems) => training.waits.set(false),
            }
        }
    });
}

async fn submit(
    link: Link,
    submission: mimeo_workbench::Submission,
) -> Result<mimeo_protocol::JobId, String> {
    for (id, png) in &submission.pictures {
        link.upload(*id, png).await?;
    }
    let job = Box::new(submission.job);
    match link
        .ask(|request| ClientMessage::Submit { request, job })
        .await?
    {
        ServerMessage::Accepted { job, .. } => Ok(job),
        _ => Err("Something else came back than a number. Reload the page.".to_owned()),
    }
}

/// The first thing to mend gets the focus: its fix, or its sentence.
fn focus_first_problem() {
    // One selector of both would find the first of them in the document: always the sentence.
    let find = |selector| document().query_selector(selector).ok().flatten();
    let problem = find(".check.problem button").or_else(|| find(".check.problem"));
    if let Some(problem) =
        problem.and_then(|problem| problem.dyn_into::<web_sys::HtmlElement>().ok())
    {
        _ = problem.focus();
    }
}

#[component]
pub fn Preflight() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let link = expect_context::<Link>();
    let page = expect_context::<Page>();
    let training = expect_context::<Training>();
    ask_for_plan(bench, link);
    begin_when_there(training, bench, link, page);
    // Once for all rows: they measure the whole mask.
    let verdicts = Memo::new(move |_| bench.verdicts(link));
    let name =
        Memo::new(move |_| bench.with_settings(|bench| job_name(&bench.settings().name).err()));
    let says = move || match (training.is_submitting.get(), training.waits.get()) {
        (true, _) => "Sending…",
        (false, true) => "Trains once the trainer is there…",
        (false, false) => "Train",
    };
    view! {
        <section class="preflight" aria-label="Before the run">
            <ul class="checks">
                {(0..Check::ALL.len()).map(|row| view! { <CheckRow row verdicts /> }).collect_view()}
            </ul>
            {move || {
                name.get().map(|problem| view! { <p class="refusal check problem" tabindex="-1">{problem.sentence}</p> })
            }}
            {move || {
                let refusal = training.refusal.get();
                refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
            }}
            <Arrivals />
            <button
                class="train"
                title="Ctrl+Enter"
                aria-busy=move || (training.is_submitting.get() || training.waits.get()).to_string()
                on:click=move |_| training.begin(bench, link, page)
            >
                {says}
            </button>
        </section>
    }
}

#[component]
fn CheckRow(row: usize, verdicts: Memo<[(Check, Verdict); 4]>) -> impl IntoView {
    let verdict = Memo::new(move |_| verdicts.with(|verdicts| verdicts[row].1.clone()));
    move || {
        let (class, mark, meaning, text, fix) = match verdict.get() {
            Verdict::Good(text) => ("check good", "✓", "Good:", text, None),
            Verdict::Note(text, fix) => ("check noted", "·", "Note:", text, fix),
            Verdict::Wait(text) => ("check waits", "…", "Wait:", text, None),
            Verdict::Problem(problem) => (
                "check problem",
                "✕",
                "Problem:",
                problem.sentence,
                problem.fix,
            ),
        };
        let fix = fix.map(|fix| view! { <FixButton fix /> });
        view! {
            <li class=class tabindex="-1">
                <span class="mark" aria-hidden="true">{mark}</span>
                <span class="hidden">{meaning}" "</span>
                <span class="check-text">{text}</span>
                {fix}
            </li>
        }
    }
}

#[component]
fn FixButton(fix: Fix) -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let mend = move |_| match fix {
        Fix::Pick(slot) => click_input(slot),
        Fix::Example => load_example(bench, first_example()),
        Fix::Reconnect | Fix::Restart => link.connect_now(),
        Fix::TakeOver => link.take_over(),
        Fix::ChooseBase => focus("base"),
        Fix::ChooseVae => focus("vae"),
        Fix::OwnCopier => _ = bench.apply(Command::Set(Setting::Copier(None))),
        Fix::BringBack(way) => {
            let base = bench.with(|bench| bench.settings().base.to_string());
            from_disk::bring_back(bench, link, base, way, from_disk::Place::Choice);
        }
        Fix::BringBackVae(way) => {
            let vae = bench.with(|bench| bench.settings().vae.clone());
            let vae = vae.map_or_else(String::new, |vae| vae.to_string());
            from_disk::bring_back(bench, link, vae, way, from_disk::Place::Choice);
        }
        Fix::Prompts => focus("field-slider-target"),
        Fix::Name => focus("lora-name"),
        Fix::HalveBatch => halve_batch(bench),
        Fix::Show(at) => _ = bench.apply(Command::Pairs(PairsCommand::Choose(at))),
        Fix::SuggestAll => _ = bench.apply(Command::Pairs(PairsCommand::Suggest)),
        Fix::Suggest => _ = bench.apply(Command::Mask(MaskCommand::Suggest)),
        Fix::MendMask(remedy) => _ = bench.apply(Command::Mask(MaskCommand::Mend(remedy))),
    };
    view! { <button class="fix" on:click=mend>{fix.label()}</button> }
}

fn click_input(slot: Slot) {
    let selector = format!("input[data-well={}]", slot.letter());
    let input = document().query_selector(&selector).ok().flatten();
    if let Some(input) = input.and_then(|input| input.dyn_into::<web_sys::HtmlInputElement>().ok())
    {
        input.click();
    }
}

fn focus(id: &str) {
    let element = document().get_element_by_id(id);
    if let Some(element) =
        element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok())
    {
        _ = element.focus();
    }
}

fn halve_batch(bench: Bench) {
    let batch = bench.with(|bench| bench.settings().recipe.pass.batch_size.get());
    if let Some(field) = Field::at("/pass/batch_size") {
        let value = (batch / 2).max(1).into();
        bench.apply(Command::Set(Setting::Field(field, value)));
    }
}

/// Asks what the job would take of memory, once nothing changed for a moment.
fn ask_for_plan(bench: Bench, link: Link) {
    let timer = StoredValue::new(None::<TimeoutHandle>);
    Effect::new(move |_| {
        let is_connected = link.is_connected();
        let job = bench.with_settings(job_to_plan);
        if let Some(timer) = timer.get_value() {
            timer.clear();
        }
        let Some(job) = job.filter(|_| is_connected) else {
            return;
        };
        let ask = move || {
            leptos::task::spawn_local(async move {
                let job = Box::new(job);
                let answer = link
                    .ask(|request| ClientMessage::Plan { request, job })
                    .await;
                // Refused: the base says why at its own check.
                let plan = match answer {
                    Ok(ServerMessage::Plan { plan, .. }) => Some(plan),
                    _ => None,
                };
                bench.plan.set(plan);
            });
        };
        let quiet = std::time::Duration::from_millis(250);
        timer.set_value(set_timeout_with_handle(ask, quiet).ok());
    });
}
