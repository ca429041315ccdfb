//! A base from disk, for the trainer in this browser: the companion finds its own.

use leptos::prelude::*;
use mimeo_workbench::Command;
use mimeo_workbench::base_folder;
use web_sys::{File, HtmlInputElement};

use super::setting;
use crate::bench::Bench;
use crate::link::Link;

#[component]
pub fn FromDisk() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let (is_busy, refusal) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let picked = move |files: Vec<File>| {
        if files.is_empty() || is_busy.get_untracked() {
            return;
        }
        is_busy.set(true);
        refusal.set(None);
        leptos::task::spawn_local(async move {
            let added = add(bench, link, files).await;
            // It may train elsewhere by then.
            _ = is_busy.try_set(false);
            _ = refusal.try_set(added.err());
        });
    };
    view! {
        <div class="row">
            <label class="file">
                {move || if is_busy.get() { "Reading…" } else { "From disk…" }}
                <input
                    type="file"
                    aria-label="Base from disk…"
                    aria-describedby="from-disk"
                    aria-busy=move || is_busy.get().to_string()
                    prop:webkitdirectory=true
                    on:change=move |event| {
                        let input: HtmlInputElement = event_target(&event);
                        picked(files_of(&input));
                        // So that the same folder can be picked again.
                        input.set_value("");
                    }
                />
            </label>
            <span class="soft" id="from-disk">
                "A diffusers folder, read where it is; choose it again after a reload"
            </span>
        </div>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

async fn add(bench: Bench, link: Link, files: Vec<File>) -> Result<(), String> {
    let files = files.into_iter().map(|file| (path(&file), file));
    let picked = base_folder::pick(files)?;
    let base = link.add_base(&picked.folder, picked.files).await?;
    let setting = link
        .host
        .with_untracked(|host| setting(host, base.as_str()));
    if let Some(setting) = setting {
        bench.apply(Command::Set(setting));
    }
    Ok(())
}

/// With the folder's name, where it comes from one.
fn path(file: &File) -> String {
    let path = js_sys::Reflect::get(file, &"webkitRelativePath".into());
    let path = path.ok().and_then(|path| path.as_string());
    path.unwrap_or_default()
}

fn files_of(input: &HtmlInputElement) -> Vec<File> {
    let files = input.files();
    let files = files
        .iter()
        .flat_map(|files| (0..files.length()).map(|at| files.get(at)));
    files.flatten().collect()
}
