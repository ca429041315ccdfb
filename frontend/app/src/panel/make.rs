//! Making the pair here: A drawn by the base, B made from A by an edit or by drawing the mask anew.

use std::sync::Arc;

use leptos::prelude::*;
use mimeo_image::{Edit, encode_mask_png, encode_png};
use mimeo_protocol::{BlobId, Canvas, PreviewRequest};
use mimeo_workbench::picture::hash;
use mimeo_workbench::{Command, Picture, Slot};

use super::playground::draw::draw;
use super::playground::seed::Seed;
use super::prompt_notes::PromptNotes;
use crate::bench::Bench;
use crate::link::Link;
use crate::widget::number::Range;

#[component]
pub fn MakePair() -> impl IntoView {
    view! {
        <details class="fold">
            <summary>"Make the pair here"</summary>
            <DrawOriginal />
            <EditOriginal />
            <Inpaint />
        </details>
    }
}

/// What is being drawn, and why it was not.
#[derive(Clone, Copy)]
struct Drawing {
    is_busy: RwSignal<bool>,
    refusal: RwSignal<Option<String>>,
}

impl Drawing {
    fn new() -> Self {
        Self {
            is_busy: RwSignal::new(false),
            refusal: RwSignal::new(None),
        }
    }

    /// Waits for a picture, once at a time, and says why there is none.
    fn begin(self, drawing: impl Future<Output = Result<(), String>> + 'static) {
        if self.is_busy.get_untracked() {
            return;
        }
        self.is_busy.set(true);
        self.refusal.set(None);
        leptos::task::spawn_local(async move {
            let drawn = drawing.await;
            self.is_busy.set(false);
            self.refusal.set(drawn.err());
        });
    }
}

#[component]
fn DrawOriginal() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let prompt = RwSignal::new(String::new());
    let drawing = Drawing::new();
    let seed = RwSignal::new(1_u64);
    let prompts = move || {
        let base = bench.with_settings(|bench| bench.settings().base.clone());
        link.host.with(|host| {
            let base = host.base(&base);
            base.map(|base| base.prompts.clone()).unwrap_or_default()
        })
    };
    let act = move || {
        let (prompt, seed) = (prompt.get_untracked(), seed.get_untracked());
        drawing.begin(async move {
            let name = if prompt.is_empty() { "drawn" } else { &prompt };
            let file = drawn(bench, link, Canvas::Native, prompt.clone(), seed).await?;
            let picture = Picture::read(&format!("{name}, seed {seed}.png"), file);
            let picture = Arc::new(picture.map_err(|error| error.to_string())?);
            let slot = Some(Slot::Original);
            bench.apply(Command::Place { slot, picture });
            Ok(())
        });
    };
    view! {
        <fieldset>
            <legend>"A, drawn by the base"</legend>
            <Prompt label="Prompt for A" value=prompt hints=Signal::derive(prompts) />
            <SeedAndButton seed drawing label="Draw A" act=Callback::new(move |()| act()) />
        </fieldset>
    }
}

#[component]
fn Inpaint() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let (prompt, seed) = (RwSignal::new(String::new()), RwSignal::new(1_u64));
    let drawing = Drawing::new();
    let act = move || {
        let (prompt, seed) = (prompt.get_untracked(), seed.get_untracked());
        drawing.begin(async move {
            let (original, mask) = bench.with(|bench| {
                let original = bench.frame().and_then(|frame| frame.original.clone());
                (original, bench.mask().cloned())
            });
            let original = original.ok_or("There is no A to redraw. Add it first.")?;
            let mask = mask.filter(|mask| !mask.is_empty());
            let mask = mask.ok_or("Nothing is masked. Paint what to redraw first.")?;
            let text = |error: mimeo_image::ImageError| error.to_string();
            let picture = upload(link, encode_png(&original).map_err(text)?).await?;
            let painted = upload(link, encode_mask_png(&mask).map_err(text)?).await?;
            let canvas = Canvas::Inpaint {
                picture,
                mask: painted,
            };
            let file = drawn(bench, link, canvas, prompt.clone(), seed).await?;
            bench.apply(Command::PlacePair {
                original: Arc::new(Picture::made("A.png", original).map_err(text)?),
                target: Arc::new(Picture::read("redrawn.png", file).map_err(text)?),
                mask: Some(mask),
            });
            Ok(())
        });
    };
    view! {
        <fieldset>
            <legend>"B, with the masked part of A drawn anew"</legend>
            <Prompt label="Prompt for B" value=prompt hints=Signal::derive(Vec::new) />
            <SeedAndButton seed drawing label="Redraw the mask" act=Callback::new(move |()| act()) />
        </fieldset>
    }
}

async fn upload(link: Link, file: Vec<u8>) -> Result<BlobId, String> {
    let id = hash(&file);
    link.upload(id, &file).await?;
    Ok(id)
}

/// A picture that the base draws.
async fn drawn(
    bench: Bench,
    link: Link,
    canvas: Canvas,
    prompt: String,
    seed: u64,
) -> Result<Vec<u8>, String> {
    let settings = bench.with(|bench| bench.settings().clone());
    let preview = PreviewRequest {
        vae: settings.vae,
        said: settings.recipe.said(),
        canvas,
        prompt_syntax: bench.prompt_syntax(),
        ..PreviewRequest::new(settings.base, prompt, seed)
    };
    let picture = draw(link, preview).await?;
    link.fetch_blob(picture).await
}

#[component]
fn Prompt(
    label: &'static str,
    value: RwSignal<String>,
    #[prop(into)] hints: Signal<Vec<String>>,
) -> impl IntoView {
    let syntax = expect_context::<Bench>().prompt_syntax_signal();
    view! {
        <label class="stacked">
            {label}
            <input
                type="text"
                prop:value=move || value.get()
                on:input=move |event| value.set(event_target_value(&event))
            />
        </label>
        <PromptNotes prompt=value syntax />
        <ul class="chips" aria-label="Prompts to begin with">
            {move || {
                hints
                    .get()
                    .into_iter()
                    .take(3)
                    .map(|hint| {
                        let text = hint.clone();
                        view! {
                            <li>
                                <button class="chip" on:click=move |_| value.set(hint.clone())>
                                    {text}
                                </button>
                            </li>
                        }
                    })
                    .collect_view()
            }}
        </ul>
    }
}

#[component]
fn SeedAndButton(
    seed: RwSignal<u64>,
    drawing: Drawing,
    label: &'static str,
    act: Callback<()>,
) -> impl IntoView {
    view! {
        <div class="row">
            <Seed
                value=seed.into()
                change=Callback::new(move |number| seed.set(number))
                button="Another"
                other=|seed| seed.wrapping_add(1)
            />
            <button
                aria-busy=move || drawing.is_busy.get().to_string()
                on:click=move |_| act.run(())
            >
                {move || if drawing.is_busy.get() { "Drawing…" } else { label }}
            </button>
        </div>
        {move || {
            let refusal = drawing.refusal.get();
            refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
        }}
    }
}

/// The built-in edits, with the amounts that they begin with.
const EDITS: [(&str, &str); 7] = [
    ("paint", "Paint a colour"),
    ("greyscale", "Greyscale"),
    ("blur", "Blur"),
    ("outline", "Line drawing"),
    ("posterise", "Fewer colours"),
    ("contrast", "Contrast"),
    ("transform", "Scale and move"),
];

#[component]
fn EditOriginal() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let kind = RwSignal::new("paint".to_owned());
    let amount = RwSignal::new(0.5_f64);
    let (dx, dy) = (RwSignal::new(0.0_f64), RwSignal::new(0.0_f64));
    let colour = RwSignal::new("#e91e63".to_owned());
    let inside = RwSignal::new(true);
    let percent = Signal::derive(move || format!("{:.0} %", amount.get() * 100.0));
    let has_amount = move || !matches!(kind.get().as_str(), "greyscale" | "outline");
    let make = move |_| {
        let edit = edit(
            &kind.get_untracked(),
            amount.get_untracked(),
            (dx.get_untracked(), dy.get_untracked()),
            &colour.get_untracked(),
        );
        bench.apply(Command::MakeTarget {
            edit,
            inside_mask: inside.get_untracked(),
        });
    };
    let is_transform = move || kind.get() == "transform";
    view! {
        <fieldset>
            <legend>"B, made from A"</legend>
            <label class="stacked">
                "What to do"
                <select on:change=move |event| kind.set(event_target_value(&event))>
                    {EDITS
                        .map(|(value, label)| view! { <option value=value>{label}</option> })
                        .collect_view()}
                </select>
            </label>
            <Show when=has_amount>
                <Range
                    label="How much"
                    span=(0.0, 1.0, 0.05)
                    value=amount
                    text=percent
                    change=Callback::new(move |value| amount.set(value))
                />
            </Show>
            <Show when=is_transform>
                <Range label="Across" span=(-0.5, 0.5, 0.01) value=dx
                    text=Signal::derive(move || format!("{:.0} %", dx.get() * 100.0))
                    change=Callback::new(move |value| dx.set(value)) />
                <Range label="Down" span=(-0.5, 0.5, 0.01) value=dy
                    text=Signal::derive(move || format!("{:.0} %", dy.get() * 100.0))
                    change=Callback::new(move |value| dy.set(value)) />
            </Show>
            <Show when=move || kind.get() == "paint">
                <label class="row">
                    "Colour"
                    <input
                        type="color"
                        prop:value=move || colour.get()
                        on:input=move |event| colour.set(event_target_value(&event))
                    />
                </label>
            </Show>
            <div class="row">
                <label class="check">
                    <input
                        type="checkbox"
                        prop:checked=move || inside.get()
                        on:change=move |event| inside.set(event_target_checked(&event))
                    />
                    "Inside the mask only"
                </label>
                <button on:click=make>"Make B"</button>
            </div>
        </fieldset>
    }
}

/// The edit of a name, by an amount of 0..=1 and moved by shares of the frame.
fn edit(kind: &str, amount: f64, moved: (f64, f64), colour: &str) -> Edit {
    let share = amount as f32;
    match kind {
        "greyscale" => Edit::Greyscale,
        "outline" => Edit::Outline,
        "blur" => Edit::Blur {
            radius: 1 + (amount * 23.0) as u32,
        },
        // From many levels to two.
        "posterise" => Edit::Posterise {
            levels: (16.0 - amount * 14.0).round() as u8,
        },
        // The middle leaves it as it is.
        "contrast" => Edit::Contrast {
            factor: share * 2.0,
        },
        "transform" => Edit::Transform {
            dx: moved.0 as f32 * 128.0,
            dy: moved.1 as f32 * 128.0,
            scale: 0.5 + share,
        },
        _ => Edit::Paint {
            colour: parse_colour(colour),
            opacity: share,
        },
    }
}

/// "#rrggbb", as colour inputs give it.
fn parse_colour(text: &str) -> [u8; 3] {
    let number = text
        .strip_prefix('#')
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let [_, red, green, blue] = number.unwrap_or_default().to_be_bytes();
    [red, green, blue]
}
