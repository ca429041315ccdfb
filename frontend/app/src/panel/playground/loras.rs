//! The LoRAs that are drawn with: from finished runs, or from files.

use leptos::html::Select;
use leptos::prelude::*;
use mimeo_protocol::{FileId, LoraRef};
use mimeo_workbench::lora;
use mimeo_workbench::playground::Active;
use mimeo_workbench::{Run, words};
use web_sys::{DragEvent, File, HtmlInputElement};

use super::desk::Desk;
use crate::files;
use crate::widget::number::Range;

/// What is told of the list: why something was not added, or what is on its way.
#[derive(Clone, Copy)]
struct Told {
    refusal: RwSignal<Option<String>>,
    sending: RwSignal<Option<String>>,
}

#[component]
pub fn Loras(desk: Desk) -> impl IntoView {
    let told = Told {
        refusal: RwSignal::new(None),
        sending: RwSignal::new(None),
    };
    let dropped = move |event: DragEvent| {
        event.prevent_default();
        // Elsewhere on the page a LoRA brings its recipe.
        event.stop_propagation();
        if let Some(transfer) = event.data_transfer() {
            add_files(desk, told, files::files_of(&transfer));
        }
    };
    let active = Memo::new(move |_| {
        let settings = desk.settings;
        settings.with(|settings| {
            settings
                .loras
                .iter()
                .map(|active| active.lora)
                .collect::<Vec<_>>()
        })
    });
    view! {
        <fieldset
            class="loras"
            on:dragover=|event: DragEvent| event.prevent_default()
            on:drop=dropped
        >
            <legend>"LoRAs"</legend>
            <Show when=move || active.with(Vec::is_empty)>
                <p class="soft">"None: the base alone. Add one below, or drop its file here."</p>
            </Show>
            <ul>
                {move || {
                    let active = active.get().into_iter();
                    active.map(|lora| view! { <Row desk lora /> }).collect_view()
                }}
            </ul>
            <Add desk told />
            {move || told.sending.get().map(|says| view! { <p role="status">{says}</p> })}
            {move || {
                let refusal = told.refusal.get();
                refusal.map(|why| view! { <p class="refusal" role="alert">{why}</p> })
            }}
        </fieldset>
    }
}

/// One LoRA with its strength.
#[component]
fn Row(desk: Desk, lora: LoraRef) -> impl IntoView {
    let settings = desk.settings;
    let find = move |look: fn(&Active) -> f64| {
        settings.with(|settings| {
            let active = settings.loras.iter().find(|active| active.lora == lora);
            active.map_or(0.0, look)
        })
    };
    let strength = Signal::derive(move || find(|active| active.strength.get()));
    let name = settings.with_untracked(|settings| {
        let active = settings.loras.iter().find(|active| active.lora == lora);
        active.map(|active| active.name.clone()).unwrap_or_default()
    });
    let remark = Memo::new(move |_| {
        settings.with(|settings| {
            let active = settings.loras.iter().find(|active| active.lora == lora);
            active.and_then(|active| active.remark.clone())
        })
    });
    let remove = format!("Remove {name}");
    view! {
        <li>
            <div class="lora" role="group" aria-label=name.clone()>
                <span class="lora-name">{name.clone()}</span>
                <Range
                    label="Strength"
                    span=(-2.0, 2.0, 0.05)
                    value=strength
                    text=Signal::derive(move || words::strength(strength.get()))
                    change=Callback::new(move |strength| {
                        settings.update(|settings| settings.set_strength(lora, strength));
                    })
                />
                <button
                    type="button"
                    class="quiet"
                    aria-label=remove
                    on:click=move |_| settings.update(|settings| settings.remove(lora))
                >
                    "Remove"
                </button>
            </div>
            {move || remark.get().map(|remark| view! { <p class="soft">{remark}</p> })}
        </li>
    }
}

#[component]
fn Add(desk: Desk, told: Told) -> impl IntoView {
    let select = NodeRef::<Select>::new();
    let results = Memo::new(move |_| {
        let result = |run: &Run| {
            let name = format!("{} (run {})", run.job().name, run.id());
            Some((run.result()?.id, name))
        };
        desk.link
            .runs
            .with(|runs| runs.iter().filter_map(result).collect::<Vec<_>>())
    });
    let add = move |_| {
        let chosen = select.get_untracked().map(|select| select.value());
        let chosen = chosen.and_then(|id| id.parse::<FileId>().ok());
        let found = results.with_untracked(|results| {
            results
                .iter()
                .find(|(file, _)| Some(*file) == chosen)
                .cloned()
        });
        if let Some((file, name)) = found {
            add_lora(desk, told, LoraRef::File { file }, &name);
        }
    };
    let option = |(file, name): (FileId, String)| {
        view! { <option value=file.to_string()>{name}</option> }
    };
    view! {
        <div class="row">
            <Show when=move || !results.with(Vec::is_empty)>
                <label class="stacked grow">
                    "Of a run"
                    <select node_ref=select>
                        {move || results.get().into_iter().map(option).collect_view()}
                    </select>
                </label>
                <button type="button" on:click=add>"Add"</button>
            </Show>
            <label class="file">
                "Add a file…"
                <input
                    type="file"
                    accept=".safetensors,.json"
                    multiple
                    on:change=move |event| {
                        let input: HtmlInputElement = event_target(&event);
                        add_files(desk, told, files::picked(&input));
                        // So that the same file can be picked again.
                        input.set_value("");
                    }
                />
            </label>
        </div>
    }
}

fn add_lora(desk: Desk, told: Told, lora: LoraRef, name: &str) {
    // The panel may be gone by then.
    _ = told.refusal.try_set(desk.add(lora, name).err());
}

/// Sends the files to where it draws one by one, and adds them.
fn add_files(desk: Desk, told: Told, files: Vec<File>) {
    leptos::task::spawn_local(async move {
        let names: Vec<String> = files.iter().map(File::name).collect();
        let sorted = lora::sort(&names);
        let mut refusals = sorted.refusals.clone();
        for &place in &sorted.loras {
            let name = &names[place];
            _ = told.sending.try_set(Some(format!("Sending {name}…")));
            let config = sorted.config_of(place).map(|place| &files[place]);
            let sent = files::send_lora(desk.link, &files[place], config).await;
            let stem = name.rsplit_once('.').map_or(&**name, |(stem, _)| stem);
            let added = sent.and_then(|(lora, remark)| {
                let lora = LoraRef::Uploaded { lora };
                desk.add(lora, stem)?;
                desk.set_remark(lora, remark);
                Ok(())
            });
            refusals.extend(added.err());
        }
        _ = told.sending.try_set(None);
        let refusal = (!refusals.is_empty()).then(|| refusals.join(" "));
        // The panel may be gone by then.
        _ = told.refusal.try_set(refusal);
    });
}
