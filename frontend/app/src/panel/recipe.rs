//! The recipe: a method, three plain choices, and everything else folded.

mod advanced;
mod copiers;
mod exchange;
pub mod from_disk;
mod idea;

use leptos::prelude::*;
use mimeo_protocol::fields::Field;
use mimeo_protocol::{BaseId, Method, ModelSize};
use mimeo_workbench::plain::{Capacity, ChangeKind, Effort, explain};
use mimeo_workbench::workbench::{Setting, Where};
use mimeo_workbench::{Command, Sides, cost, words};

use self::advanced::{FieldRow, TWO_PROMPTS};
use super::base_choice::BaseChoice;
use super::vae_choice::VaeChoice;
use crate::bench::Bench;
use crate::link::Link;
use crate::widget::segmented::Segmented;

#[component]
pub fn RecipePanel() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let set = move |setting| _ = bench.apply(Command::Set(setting));
    let method = Memo::new(move |_| bench.with_settings(|bench| bench.settings().recipe.method));
    view! {
        <section class="recipe" aria-labelledby="recipe-heading">
            <h2 id="recipe-heading">"Recipe"</h2>
            <Base />
            <Methods />
            <Show when=move || method.get() == Method::Addift>
                <div class="choice">
                    <span class="choice-name">"What changes?"</span>
                    <Segmented
                        legend="What changes?"
                        options=ChangeKind::ALL.map(|kind| (kind, kind.label())).to_vec()
                        chosen=Signal::derive(move || {
                            bench.with_settings(|bench| ChangeKind::of(&bench.settings().recipe))
                        })
                        choose=Callback::new(move |kind| set(Setting::ChangeKind(kind)))
                    />
                    <span class="soft">"Timesteps, as TrainTrain sets them"</span>
                </div>
            </Show>
            <Show when=move || method.get() == Method::Slider>
                <TwoPrompts />
            </Show>
            <Show when=move || method.get() == Method::Copier>
                <copiers::Copiers />
            </Show>
            <EffortChoice />
            <CapacityChoice />
            <label class="stacked">
                "Name"
                <input
                    id="lora-name"
                    type="text"
                    placeholder="mimeo"
                    autocomplete="off"
                    prop:value=move || bench.with_settings(|bench| bench.settings().name.clone())
                    on:input=move |event| set(Setting::Name(event_target_value(&event)))
                />
            </label>
            <advanced::Advanced />
            <exchange::Exchange />
            {move || {
                let refusal = bench.refusal_at(|place| place == Where::Recipe);
                refusal.map(|sentence| view! { <p class="refusal" role="alert">{sentence}</p> })
            }}
        </section>
    }
}

/// Which base to train upon, where there is more than one.
#[component]
fn Base() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let chosen = Memo::new(move |_| bench.with_settings(|bench| bench.settings().base.clone()));
    // A base whose sizes are not those that the bench was fitted for, as after an update.
    Effect::new(move |_| {
        let setting = link.host.with(|host| setting(host, &chosen.get()));
        if let Some(setting) = setting {
            bench.apply(Command::Set(setting));
        }
    });
    let bases = Memo::new(move |_| link.host.with(|host| host.bases.clone()));
    view! {
        <BaseChoice
            id="base"
            bases
            chosen=Signal::derive(move || Some(chosen.get()))
            choose=Callback::new(move |id: BaseId| {
                let setting = link.host.with_untracked(|host| setting(host, &id));
                if let Some(setting) = setting {
                    bench.apply(Command::Set(setting));
                }
            })
        />
        <VaeChoice
            id="vae"
            base=Signal::derive(move || Some(chosen.get()))
            chosen=Signal::derive(move || bench.with_settings(|bench| bench.settings().vae.clone()))
            choose=Callback::new(move |vae| _ = bench.apply(Command::Set(Setting::Vae(vae))))
        />
        <Show when=move || link.is_browser()>
            <from_disk::FromDisk />
        </Show>
    }
}

fn setting(host: &mimeo_workbench::link::Host, id: &BaseId) -> Option<Setting> {
    let base = host.base(id)?;
    Some(Setting::Base {
        id: base.id.clone(),
        size: base.size.unwrap_or(ModelSize::Sd1),
        sides: Sides {
            long: base.native_side.unwrap_or(Sides::UNKNOWN.long),
            multiple: base.side_multiple,
        },
    })
}

/// What a slider learns from, in place of pictures. What else it takes is under Advanced.
#[component]
fn TwoPrompts() -> impl IntoView {
    let fields = TWO_PROMPTS.into_iter().filter_map(Field::at);
    view! {
        <fieldset class="two-prompts">
            <legend>"From one prompt to another"</legend>
            {fields.map(|field| view! { <FieldRow field /> }).collect_view()}
        </fieldset>
    }
}

/// The methods, each with its idea in one picture; the chosen one is put into words.
#[component]
fn Methods() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let chosen = Memo::new(move |_| bench.with_settings(|bench| bench.settings().recipe.method));
    let cards = Method::ALL.map(|method| {
        let (title, idea) = explain(method);
        view! {
            <label class="card" class:chosen=move || chosen.get() == method title=idea>
                <input
                    type="radio"
                    name="method"
                    value=method.name()
                    aria-describedby="method-idea"
                    prop:checked=move || chosen.get() == method
                    on:change=move |_| _ = bench.apply(Command::Set(Setting::Method(method)))
                />
                {idea::picture(method)}
                <span class="card-title">{title}</span>
            </label>
        }
    });
    view! {
        <fieldset class="methods">
            <legend>"Method"</legend>
            <div class="cards">{cards.collect_view()}</div>
            <p class="soft" id="method-idea">{move || explain(chosen.get()).1}</p>
        </fieldset>
    }
}

#[component]
fn EffortChoice() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let settings = move || bench.with_settings(|bench| bench.settings().clone());
    let cost = move || {
        let settings = settings();
        let steps = settings.recipe.pass.steps.get();
        let copier = settings.recipe.copier.pass.steps.get();
        let steps = match settings.recipe.method {
            Method::Copier if settings.copier.is_none() => format!("{copier} + {steps} steps"),
            _ => format!("{steps} steps"),
        };
        let pixels = bench.with_pictures(|bench| {
            let frame = bench.frame()?;
            Some(u64::from(frame.width()) * u64::from(frame.height()))
        });
        let side = u64::from(settings.sizing().side());
        let pixels = pixels.unwrap_or(side * side);
        let secs = link
            .host
            .with(|host| cost::training_secs(&settings, pixels, &host.paces));
        let scores = cost::of_scores(&settings.recipe);
        match secs {
            Some(secs) => format!("{steps} · about {} here · {scores}", words::duration(secs)),
            None => format!("{steps} · {scores}"),
        }
    };
    view! {
        <div class="choice">
            <span class="choice-name">"Effort"</span>
            <Segmented
                legend="Effort"
                options=Effort::ALL.map(|effort| (effort, effort.label())).to_vec()
                chosen=Signal::derive(move || {
                    let settings = settings();
                    Effort::of(&settings.recipe, settings.size)
                })
                choose=Callback::new(move |effort| {
                    bench.apply(Command::Set(Setting::Effort(effort)));
                })
            />
            <span class="soft">{cost}</span>
        </div>
    }
}

#[component]
fn CapacityChoice() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let settings = move || bench.with_settings(|bench| bench.settings().clone());
    let cost = move || {
        let rank = settings().recipe.pass.rank;
        match bench.plan.get() {
            Some(plan) => format!("rank {rank} · {} file", words::bytes(plan.file_bytes)),
            None => format!("rank {rank}"),
        }
    };
    view! {
        <div class="choice">
            <span class="choice-name">"Size"</span>
            <Segmented
                legend="Size"
                options=Capacity::ALL.map(|capacity| (capacity, capacity.label())).to_vec()
                chosen=Signal::derive(move || {
                    let settings = settings();
                    Capacity::of(&settings.recipe, settings.size)
                })
                choose=Callback::new(move |capacity| {
                    bench.apply(Command::Set(Setting::Capacity(capacity)));
                })
            />
            <span class="soft">{cost}</span>
        </div>
    }
}
