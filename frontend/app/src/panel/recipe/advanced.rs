//! Every number of the recipe, with its default and a way back to it.

use leptos::prelude::*;
use mimeo_protocol::fields::{FIELDS, Field, Group};
use mimeo_workbench::Command;
use mimeo_workbench::chart::{ResponseChart, Size};
use mimeo_workbench::fields::{FieldInRecipe as _, text_of};
use mimeo_workbench::preflight::preview_prompt;
use mimeo_workbench::workbench::{Setting, Where};

use crate::bench::Bench;
use crate::link::Link;
use crate::page::Page;
use crate::panel::field_control::{FieldControl, hint};
use crate::panel::prompt_notes::PromptNotes;

#[component]
pub fn Advanced() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let edited = Memo::new(move |_| bench.with_settings(|bench| bench.settings().edited().len()));
    let method = Memo::new(move |_| bench.with_settings(|bench| bench.settings().recipe.method));
    let summary = move || match edited.get() {
        0 => "Advanced".to_owned(),
        count => format!("Advanced ({count} edited)"),
    };
    view! {
        <details class="fold advanced">
            <summary>{summary}</summary>
            <Show when=move || { edited.get() > 0 }>
                <button
                    class="quiet"
                    on:click=move |_| _ = bench.apply(Command::Set(Setting::ResetAll))
                >
                    "Reset all"
                </button>
            </Show>
            {Group::ALL
                .map(|group| {
                    view! {
                        <Show when=move || group.is_for(method.get())>
                            <fieldset>
                                <legend>{group.title()}</legend>
                                {FIELDS
                                    .iter()
                                    .filter(|field| field.group == group)
                                    .filter(|field| !TWO_PROMPTS.contains(&field.path))
                                    .map(|field| view! { <FieldRow field /> })
                                    .collect_view()}
                            </fieldset>
                        </Show>
                    }
                })
                .collect_view()}
            <Previews />
        </details>
    }
}

/// The fields of a slider that stand above, because nothing goes without them.
pub const TWO_PROMPTS: [&str; 2] = ["/slider/original", "/slider/target"];

/// One field with its default and a way back to it.
#[component]
pub fn FieldRow(field: &'static Field) -> impl IntoView {
    let bench = expect_context::<Bench>();
    let id = format!("field{}", field.path.replace('/', "-"));
    let hint_id = format!("{id}-hint");
    let value =
        Memo::new(move |_| bench.with_settings(|bench| field.value(&bench.settings().recipe)));
    let default =
        Memo::new(move |_| bench.with_settings(|bench| field.value(&bench.settings().defaults())));
    let is_edited = move || value.get() != default.get();
    let text = move || text_of(&value.get());
    let set = move |text: String| {
        _ = bench.apply(Command::Set(Setting::Field(field, field.parse(&text))));
    };
    view! {
        <div class="field" class:edited=is_edited>
            <label for=id.clone()>{field.label}</label>
            <FieldControl
                field
                id
                described=hint_id.clone()
                text=Signal::derive(text)
                set=Callback::new(set)
            />
            <Show when=is_edited>
                <button
                    class="quiet reset"
                    aria-label=move || {
                        format!("Reset {} to {}", field.label, shown(&text_of(&default.get())))
                    }
                    title=move || format!("Back to {}", shown(&text_of(&default.get())))
                    on:click=move |_| _ = bench.apply(Command::Set(Setting::Reset(field)))
                >
                    "↺"
                </button>
            </Show>
            <span class="hint" id=hint_id>{hint(field)}</span>
            {(field.path == "/auto_timesteps").then(|| view! { <Response /> })}
            {(matches!(field.path, "/prompt" | "/held_out_prompts")
                || matches!(field.group, Group::Slider) && field.path != "/slider/guidance")
                .then(|| {
                    view! {
                        <PromptNotes
                            prompt=Signal::derive(text)
                            syntax=bench.prompt_syntax_signal()
                        />
                    }
                })}
            <RefusalAt place=Where::Field(field) />
        </div>
    }
}

/// How the base answered to the change of the run that is shown, if that asked it.
#[component]
fn Response() -> impl IntoView {
    /// CSS px.
    const SIZE: Size = Size {
        width: 200.0,
        height: 40.0,
    };
    let (link, page) = (expect_context::<Link>(), expect_context::<Page>());
    let response = Memo::new(move |_| {
        let shown = page.shown.get()?;
        link.runs
            .with(|runs| runs.get(shown).and_then(|run| run.response().cloned()))
    });
    move || {
        let curve = response.get()?;
        let (first, last) = (curve.window.min(), curve.window.max());
        let chart = ResponseChart::of(&curve, SIZE);
        let [left, right] = chart.window;
        let letters = std::iter::once('M').chain(std::iter::repeat('L'));
        let line: String = letters
            .zip(&chart.line)
            .map(|(letter, dot)| format!("{letter}{:.1} {:.1}", dot.x, dot.y))
            .collect();
        let size = (SIZE.width, SIZE.height);
        let view_box = format!("0 0 {} {}", size.0, size.1);
        Some(view! {
            <figure class="response">
                <svg aria-hidden="true" focusable="false" width=size.0 height=size.1 viewBox=view_box>
                    <rect class="response-window" x=left y="0" width=right - left height=size.1 />
                    <path class="mean" d=line />
                </svg>
                <figcaption class="hint">
                    {format!(
                        "The run that is shown trained timesteps {first} to {last}. The curve is how much of the change the base restores by itself, from little noise on the left to pure noise on the right.",
                    )}
                </figcaption>
            </figure>
        })
    }
}

/// The sentence that says why the value of a box was not taken.
#[component]
fn RefusalAt(
    /// Which box.
    place: Where,
) -> impl IntoView {
    let bench = expect_context::<Bench>();
    move || {
        let refusal = bench.refusal_at(|at| at == place);
        refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
    }
}

fn shown(text: &str) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        text.to_owned()
    }
}

/// What is drawn while it trains.
#[component]
fn Previews() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let previews = move || bench.with_settings(|bench| bench.settings().previews.clone());
    let set = move |setting| _ = bench.apply(Command::Set(setting));
    view! {
        <fieldset>
            <legend>"Previews"</legend>
            <div class="field">
                <label for="preview-prompt">"Prompt"</label>
                <input
                    id="preview-prompt"
                    type="text"
                    placeholder=move || {
                        let id = bench.with_settings(|bench| bench.settings().base.clone());
                        link.host.with(|host| {
                            preview_prompt("", host.base(&id))
                        })
                    }
                    prop:value=move || previews().prompt
                    on:change=move |event| set(Setting::PreviewPrompt(event_target_value(&event)))
                />
                <span class="hint">"Drawn at strengths −1, 0 and 1"</span>
                <PromptNotes
                    prompt=Signal::derive(move || previews().prompt)
                    syntax=bench.prompt_syntax_signal()
                />
            </div>
            <div class="field">
                <label for="preview-seed">"Seed"</label>
                <input
                    id="preview-seed"
                    type="text"
                    inputmode="numeric"
                    prop:value=move || previews().seed.to_string()
                    on:change=move |event| set(Setting::PreviewSeedTyped(event_target_value(&event)))
                />
                <RefusalAt place=Where::PreviewSeed />
            </div>
            <div class="field">
                <label for="preview-every">"Every"</label>
                <input
                    id="preview-every"
                    type="text"
                    inputmode="numeric"
                    placeholder=move || {
                        let steps = bench.with_settings(|bench| bench.settings().recipe.pass.steps);
                        previews().interval(steps.get()).to_string()
                    }
                    prop:value=move || {
                        previews().every.map(|every| every.to_string()).unwrap_or_default()
                    }
                    on:change=move |event| set(Setting::PreviewEveryTyped(event_target_value(&event)))
                />
                <span class="hint">"Steps between previews; 0 for none, empty for a quarter of the steps"</span>
                <RefusalAt place=Where::PreviewEvery />
            </div>
        </fieldset>
    }
}
