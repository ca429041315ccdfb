//! The playground: any base, any LoRAs, any prompt.

pub mod desk;
pub mod draw;
mod drawings;
mod loras;
mod said;
pub mod seed;

use leptos::prelude::*;
use mimeo_protocol::BaseInfo;
use mimeo_workbench::playground::{fitting_base, usable};

use self::desk::Desk;
use super::base_choice::BaseChoice;
use super::prompt_notes::PromptNotes;
use super::vae_choice::VaeChoice;

#[component]
pub fn Playground() -> impl IntoView {
    let desk = Desk::new();
    view! {
        <section class="playground" aria-label="Playground">
            <form
                class="playground-form"
                on:submit=move |event| {
                    event.prevent_default();
                    desk.draw();
                }
            >
                <Base desk />
                <Prompts desk />
                <Row desk />
                <loras::Loras desk />
                <said::SaidOfBase desk />
            </form>
            <drawings::Drawings desk />
        </section>
    }
}

#[component]
fn Base(desk: Desk) -> impl IntoView {
    let bases = Memo::new(move |_| {
        let host = desk.link.host;
        host.with(|host| usable(&host.bases).cloned().collect::<Vec<BaseInfo>>())
    });
    let chosen = Memo::new(move |_| {
        let wanted = desk.settings.with(|settings| settings.base.clone());
        bases.with(|bases| fitting_base(bases, &wanted).map(|base| base.id.clone()))
    });
    view! {
        <BaseChoice
            id="playground-base"
            bases
            chosen
            choose=Callback::new(move |id| {
                desk.settings.update(|settings| settings.choose_base(id));
            })
        />
        <VaeChoice
            id="playground-vae"
            base=chosen
            chosen=Signal::derive(move || desk.settings.with(|settings| settings.vae.clone()))
            choose=Callback::new(move |vae| desk.settings.update(|settings| settings.vae = vae))
        />
        <Show when=move || bases.with(Vec::is_empty)>
            <p class="soft">"Bases are listed once the trainer is there"</p>
        </Show>
    }
}

#[component]
fn Prompts(desk: Desk) -> impl IntoView {
    let settings = desk.settings;
    let examples = Memo::new(move |_| {
        let wanted = settings.with(|settings| settings.base.clone());
        desk.link.host.with(|host| {
            let base = fitting_base(&host.bases, &wanted);
            base.map(|base| base.prompts.clone()).unwrap_or_default()
        })
    });
    let chip = move |prompt: String| {
        let says = prompt.clone();
        let take = move |_| settings.update(|settings| settings.prompt.clone_from(&prompt));
        view! { <button type="button" class="chip" on:click=take>{says}</button> }
    };
    view! {
        <label class="stacked">
            "Prompt"
            <input
                type="text"
                prop:value=move || settings.with(|settings| settings.prompt.clone())
                on:input=move |event| {
                    settings.update(|settings| settings.prompt = event_target_value(&event));
                }
            />
        </label>
        <Show when=move || !examples.with(Vec::is_empty)>
            <div class="chips" role="group" aria-label="Example prompts">
                {move || examples.get().into_iter().map(chip).collect_view()}
            </div>
        </Show>
        <PromptNotes
            prompt=Signal::derive(move || settings.with(|settings| settings.prompt.clone()))
            syntax=desk.bench.prompt_syntax_signal()
        />
        <label class="stacked">
            "Keep away from"
            <input
                type="text"
                prop:value=move || settings.with(|settings| settings.negative_prompt.clone())
                on:input=move |event| {
                    settings
                        .update(|settings| settings.negative_prompt = event_target_value(&event));
                }
            />
        </label>
        <PromptNotes
            prompt=Signal::derive(move || settings.with(|settings| settings.negative_prompt.clone()))
            syntax=desk.bench.prompt_syntax_signal()
        />
    }
}

/// The seed and the button that draws.
#[component]
fn Row(desk: Desk) -> impl IntoView {
    let settings = desk.settings;
    let is_drawing = Memo::new(move |_| desk.state.with(|state| state.is_drawing()));
    view! {
        <div class="row">
            <seed::Seed
                value=Signal::derive(move || settings.with(|settings| settings.seed))
                change=Callback::new(move |seed| settings.update(|settings| settings.seed = seed))
                button="Random"
                other=|_| seed::random()
            />
            <button class="primary" type="submit" aria-busy=move || is_drawing.get().to_string()>
                {move || if is_drawing.get() { "Drawing…" } else { "Draw" }}
            </button>
        </div>
    }
}
