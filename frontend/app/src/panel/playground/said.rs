//! What is said of the base, and how guidance is tamed: folded, because bases say it themselves.

use leptos::prelude::*;
use mimeo_protocol::fields::Field;
use mimeo_workbench::playground::PlaygroundSettings;

use super::desk::Desk;
use crate::panel::field_control::{FieldControl, hint};

#[component]
pub fn SaidOfBase(desk: Desk) -> impl IntoView {
    let settings = desk.settings;
    let rescale = move || {
        let rescale = settings.with(|settings| settings.guidance_rescale);
        rescale
            .map(|rescale| rescale.to_string())
            .unwrap_or_default()
    };
    let refusal = RwSignal::new(None::<String>);
    let set_rescale = move |text: String| {
        let set = settings.try_update(|settings| settings.set_guidance_rescale(&text));
        refusal.set(set.and_then(Result::err));
    };
    view! {
        <details class="fold said">
            <summary>"As the base is"</summary>
            {PlaygroundSettings::said_fields()
                .map(|field| view! { <SaidRow desk field /> })
                .collect_view()}
            <div class="field">
                <label for="playground-rescale">"Guidance rescale"</label>
                <input
                    id="playground-rescale"
                    type="text"
                    inputmode="decimal"
                    autocomplete="off"
                    aria-describedby="playground-rescale-hint"
                    prop:value=rescale
                    on:change=move |event| set_rescale(event_target_value(&event))
                />
                <span class="hint" id="playground-rescale-hint">
                    "Takes back contrast that guidance adds, 0 to 1; empty means 0.7 where the schedule ends in pure noise, else 0"
                </span>
                {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
            </div>
        </details>
    }
}

#[component]
fn SaidRow(desk: Desk, field: &'static Field) -> impl IntoView {
    let settings = desk.settings;
    let id = format!("playground{}", field.path.replace('/', "-"));
    let hint_id = format!("{id}-hint");
    let refusal = RwSignal::new(None::<String>);
    let set = move |text: String| {
        let said = settings.try_update(|settings| settings.say(field, &text));
        refusal.set(said.and_then(Result::err));
    };
    view! {
        <div class="field">
            <label for=id.clone()>{field.label}</label>
            <FieldControl
                field
                id
                described=hint_id.clone()
                text=Signal::derive(move || settings.with(|settings| settings.said_in(field)))
                set=Callback::new(set)
            />
            <span class="hint" id=hint_id>{hint(field)}</span>
            {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
        </div>
    }
}
