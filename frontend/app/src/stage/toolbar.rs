//! Tools, brush, and everything that changes the whole mask.

use leptos::html::Input;
use leptos::prelude::*;
use mimeo_image::{Paint, encode_mask_png};
use mimeo_protocol::fields::Field;
use mimeo_workbench::fields::FieldInRecipe as _;
use mimeo_workbench::keys::{Action, keys_of};
use mimeo_workbench::tool::{DIAMETERS, TOUCH_HINT};
use mimeo_workbench::workbench::{MaskCommand, Setting, Where};
use mimeo_workbench::{Command, Tool, as_trained};

use super::Stage;
use crate::bench::Bench;
use crate::files;
use crate::page::Shown;
use crate::widget::number::Range;

#[component]
pub fn Toolbar(stage: Stage) -> impl IntoView {
    let bench = stage.bench;
    let toolbox = bench.toolbox;
    let has_pair = move || {
        bench.with_pictures(|bench| {
            bench
                .frame()
                .is_some_and(|frame| frame.difference().is_some())
        })
    };
    let mask = move |command| _ = bench.apply(Command::Mask(command));
    view! {
        <div class="tools">
            <Tools stage />
            <Range
                label="Size"
                span=(f64::from(DIAMETERS.0), 256.0, 1.0)
                value=Signal::derive(move || f64::from(toolbox.with(|tools| tools.brush().diameter)))
                text=Signal::derive(move || format!("{:.0} px", toolbox.with(|tools| tools.brush().diameter)))
                change=Callback::new(move |value: f64| toolbox.update(|tools| tools.set_diameter(value as f32)))
            />
            <Range
                label="Soft"
                span=(0.0, 1.0, 0.05)
                value=Signal::derive(move || f64::from(toolbox.with(|tools| tools.brush().softness)))
                text=Signal::derive(move || format!("{:.0} %", toolbox.with(|tools| tools.brush().softness) * 100.0))
                change=Callback::new(move |value: f64| toolbox.update(|tools| tools.set_softness(value as f32)))
            />
            <button
                aria-disabled=move || (!has_pair()).to_string()
                title="Mask what differs (G)"
                on:click=move |_| mask(MaskCommand::Suggest)
            >
                "Suggest"
            </button>
            <button title="Nothing masked (Delete)" on:click=move |_| mask(MaskCommand::Clear)>
                "Clear"
            </button>
            <More stage />
        </div>
        {move || {
            let refusal = bench.refusal_at(|place| place == Where::Mask);
            refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
        }}
        <p class="status-line">
            {move || match stage.page.view.get() {
                Shown::AsTrained => bench.with_all(as_trained::sentence),
                _ if is_touched() => TOUCH_HINT.to_owned(),
                _ => toolbox.with(|tools| tools.hints().to_owned()),
            }}
        </p>
    }
}

/// Whether fingers are what points here.
fn is_touched() -> bool {
    let query = window().match_media("(pointer: coarse)").ok().flatten();
    query.is_some_and(|query| query.matches())
}

/// The tools, with one stop for Tab and arrows among them.
#[component]
fn Tools(stage: Stage) -> impl IntoView {
    let toolbox = stage.bench.toolbox;
    let chosen = move || toolbox.with(|tools| tools.tool());
    let row = NodeRef::<leptos::html::Div>::new();
    let step = move |event: web_sys::KeyboardEvent| {
        let by = match event.key().as_str() {
            "ArrowRight" => 1,
            "ArrowLeft" => Tool::ALL.len() - 1,
            _ => return,
        };
        event.prevent_default();
        let at = Tool::ALL.iter().position(|tool| *tool == chosen());
        let next = (at.unwrap_or(0) + by) % Tool::ALL.len();
        stage.choose(Tool::ALL[next]);
        let button = row
            .get_untracked()
            .and_then(|row| row.children().item(next as u32));
        if let Some(button) = button
            .and_then(|button| wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlElement>(button).ok())
        {
            _ = button.focus();
        }
    };
    let buttons = Tool::ALL.map(|tool| {
        let keys = keys_of(Action::Choose(tool)).unwrap_or_default();
        view! {
            <button
                aria-pressed=move || (chosen() == tool).to_string()
                tabindex=move || if chosen() == tool { "0" } else { "-1" }
                title=format!("{} ({keys})", tool.label())
                on:click=move |_| stage.choose(tool)
            >
                {tool.label()}
            </button>
        }
    });
    view! {
        <div class="tool-row" role="toolbar" aria-label="Tools" node_ref=row on:keydown=step>
            {buttons.collect_view()}
        </div>
    }
}

/// What is needed less often, and everything that masks without painting.
#[component]
fn More(stage: Stage) -> impl IntoView {
    let bench = stage.bench;
    let pixels = RwSignal::new(4_u32);
    let threshold = RwSignal::new(16_u8);
    let mask = move |command| _ = bench.apply(Command::Mask(command));
    view! {
        <details class="more">
            <summary>"More"</summary>
            <div class="more-body">
                <div class="row">
                    <Range
                        label="By"
                        span=(1.0, 32.0, 1.0)
                        value=Signal::derive(move || f64::from(pixels.get()))
                        text=Signal::derive(move || format!("{} px", pixels.get()))
                        change=Callback::new(move |value: f64| pixels.set(value as u32))
                    />
                    <button on:click=move |_| mask(MaskCommand::Grow(pixels.get()))>"Grow"</button>
                    <button on:click=move |_| mask(MaskCommand::Shrink(pixels.get()))>"Shrink"</button>
                    <button on:click=move |_| mask(MaskCommand::Feather(pixels.get()))>"Soften"</button>
                    <button title="Shift+I" on:click=move |_| mask(MaskCommand::Invert)>"Invert"</button>
                </div>
                <div class="row">
                    <Range
                        label="Differs by more than"
                        span=(1.0, 128.0, 1.0)
                        value=Signal::derive(move || f64::from(threshold.get()))
                        text=Signal::derive(move || threshold.get().to_string())
                        change=Callback::new(move |value: f64| threshold.set(value as u8))
                    />
                    <button on:click=move |_| mask(MaskCommand::Threshold(threshold.get()))>
                        "Mask that"
                    </button>
                </div>
                <div class="row">
                    <FieldRange bench path="/mask/feather" label="Soft edge of B" span=(0.0, 16.0, 0.5) />
                    <FieldRange bench path="/mask/unmasked_weight" label="Outside weight" span=(0.0, 1.0, 0.05) />
                </div>
                <BoxByNumbers stage />
                <Exchange stage />
            </div>
        </details>
    }
}

/// A number of the recipe that says what the mask does, as a slider.
#[component]
fn FieldRange(
    bench: Bench,
    path: &'static str,
    label: &'static str,
    span: (f64, f64, f64),
) -> impl IntoView {
    let value = Memo::new(move |_| {
        let field = Field::at(path);
        let value =
            bench.with_settings(|bench| field.map(|field| field.value(&bench.settings().recipe)));
        value.and_then(|value| value.as_f64()).unwrap_or_default()
    });
    view! {
        <Range
            label
            span
            value=value
            text=Signal::derive(move || value.get().to_string())
            change=Callback::new(move |value: f64| {
                if let Some(field) = Field::at(path) {
                    bench.apply(Command::Set(Setting::Field(field, value.into())));
                }
            })
        />
    }
}

/// A rectangle without a pointer.
#[component]
fn BoxByNumbers(stage: Stage) -> impl IntoView {
    let bench = stage.bench;
    // As they are typed: what is no number is refused when the box is wanted.
    let fields = [
        ("Left", "0"),
        ("Top", "0"),
        ("Width", "64"),
        ("Height", "64"),
    ]
    .map(|(label, value)| (label, RwSignal::new(value.to_owned())));
    let typed = fields.map(|(_, value)| value);
    let fill = move |paint| {
        let typed = typed.map(|text| text.get_untracked());
        bench.apply(Command::Mask(MaskCommand::BoxTyped(typed, paint)));
    };
    view! {
        <div class="row" role="group" aria-label="Box by numbers, px">
            {fields
                .map(|(label, value)| {
                    view! {
                        <label class="short">
                            {label}
                            <input
                                type="text"
                                inputmode="numeric"
                                prop:value=move || value.get()
                                on:input=move |event| value.set(event_target_value(&event))
                            />
                        </label>
                    }
                })
                .collect_view()}
            <button on:click=move |_| fill(Paint::Learn)>"Mask box"</button>
            <button on:click=move |_| fill(Paint::Leave)>"Unmask box"</button>
        </div>
    }
}

/// Masks from and to files.
#[component]
fn Exchange(stage: Stage) -> impl IntoView {
    let bench = stage.bench;
    let input = NodeRef::<Input>::new();
    let import = move |_| {
        let file = input
            .get_untracked()
            .and_then(|input| input.files()?.get(0));
        if let Some(file) = file {
            files::take_mask(bench, stage.page, file);
        }
    };
    let export = move |_| {
        let png = bench.with(|bench| bench.mask().and_then(|mask| encode_mask_png(mask).ok()));
        if let Some(png) = png {
            files::download("mask.png", "image/png", &png);
        }
    };
    view! {
        <div class="row">
            <label class="file">
                "Import mask…"
                <input type="file" accept="image/png,image/jpeg,image/webp" node_ref=input on:change=import />
            </label>
            <button on:click=export>"Export mask"</button>
        </div>
    }
}
