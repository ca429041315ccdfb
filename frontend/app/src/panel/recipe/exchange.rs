//! Recipes in and out, as JSON.

use leptos::html::Textarea;
use leptos::prelude::*;
use mimeo_workbench::Command;
use mimeo_workbench::dropped::{recipe_from_json, recipe_to_json};
use mimeo_workbench::workbench::{Refusal, Setting, Where};

use crate::bench::Bench;
use crate::files;
use crate::page::Page;

#[component]
pub fn Exchange() -> impl IntoView {
    let (bench, page) = (expect_context::<Bench>(), expect_context::<Page>());
    let pasted = NodeRef::<Textarea>::new();
    let json = move || bench.with(|bench| recipe_to_json(&bench.settings().recipe));
    let load = move |_| {
        let text = pasted.get_untracked().map(|area| area.value());
        match recipe_from_json(text.unwrap_or_default().as_bytes()) {
            Ok(recipe) => {
                if bench.apply(Command::Set(Setting::Recipe(Box::new(recipe)))) {
                    page.say("The recipe is on the bench");
                }
            }
            Err(why) => bench.refusal.set(Some(Refusal::new(Where::Recipe, why))),
        }
    };
    view! {
        <details class="fold">
            <summary>"Recipe as JSON"</summary>
            <div class="row">
                <button on:click=move |_| files::copy(page, json())>"Copy"</button>
                <button on:click=move |_| files::download("recipe.json", "application/json", json().as_bytes())>
                    "Save…"
                </button>
            </div>
            <label class="stacked">
                "Paste one here, or drop a .json or a LoRA of Mimeo's anywhere"
                <textarea rows="4" spellcheck="false" node_ref=pasted></textarea>
            </label>
            <button on:click=load>"Load"</button>
        </details>
    }
}
