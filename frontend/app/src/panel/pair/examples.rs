//! The bundled pairs, one click away.

use std::sync::Arc;

use leptos::prelude::*;
use mimeo_image::decode_mask;
use mimeo_workbench::workbench::{Setting, Where};
use mimeo_workbench::{Command, Picture, Refusal};

use crate::bench::Bench;
use crate::link::fetch_own;

/// Folders of the bundled pairs, and what they show. The first is the one a newcomer gets.
const EXAMPLES: [(&str, &str); 7] = [
    ("glasses", "Glasses"),
    ("smile", "Smile"),
    ("closed_eyes", "Closed eyes"),
    ("beard", "Beard"),
    ("hat", "Hat"),
    ("hair_color", "Hair colour"),
    ("small_head", "Small head"),
];

#[component]
pub fn Examples() -> impl IntoView {
    let bench = expect_context::<Bench>();
    let chosen = RwSignal::new(EXAMPLES[0].0);
    view! {
        <div class="row examples">
            <button on:click=move |_| load(bench, chosen.get_untracked())>"Example"</button>
            <label>
                <span class="hidden">"Which example"</span>
                <select on:change=move |event| {
                    let value = event_target_value(&event);
                    if let Some((folder, _)) = EXAMPLES.iter().find(|(folder, _)| *folder == value) {
                        chosen.set(folder);
                    }
                }>
                    {EXAMPLES
                        .map(|(folder, label)| view! { <option value=folder>{label}</option> })
                        .collect_view()}
                </select>
            </label>
        </div>
    }
}

/// Puts a bundled pair onto the bench.
pub fn load(bench: Bench, folder: &'static str) {
    leptos::task::spawn_local(async move {
        match pair(folder).await {
            Ok(command) => {
                bench.apply(command);
                let name = Setting::Name(folder.to_owned());
                if bench.with(|bench| bench.settings().name.is_empty()) {
                    bench.apply(Command::Set(name));
                }
            }
            Err(why) => bench.refusal.set(Some(Refusal::new(Where::Pair, why))),
        }
    });
}

/// The example that a newcomer gets.
pub fn first() -> &'static str {
    EXAMPLES[0].0
}

async fn pair(folder: &str) -> Result<Command, String> {
    let file = async |role: &str| fetch_own(&format!("pairs/{folder}/00_{role}.png")).await;
    let picture = |role: &str, bytes| {
        let picture = Picture::read(&format!("{folder} {role}.png"), bytes);
        picture.map(Arc::new).map_err(|error| error.to_string())
    };
    let mask = decode_mask(&file("mask").await?).map_err(|error| error.to_string())?;
    Ok(Command::PlacePair {
        original: picture("A", file("A").await?)?,
        target: picture("B", file("B").await?)?,
        mask: Some(mask),
    })
}
