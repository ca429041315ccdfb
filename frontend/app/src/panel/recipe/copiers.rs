//! The copier library: finished copiers by kind, each to be used, renamed, exported or deleted, and
//! other people's LoRAs that become copiers. Above it stands which one the next run builds upon.

use leptos::html::{Button, Input, Select};
use leptos::prelude::*;
use mimeo_protocol::{BaseId, ClientMessage, CopierId, CopierInfo, CopierKind, JobName};
use mimeo_workbench::Command;
use mimeo_workbench::copiers::{self, KINDS, explain, facts};
use mimeo_workbench::workbench::Setting;
use web_sys::{File, HtmlInputElement};

use crate::bench::Bench;
use crate::files;
use crate::link::Link;
use crate::page::Page;
use crate::panel::delete_button::DeleteButton;

#[component]
pub fn Copiers() -> impl IntoView {
    let link = expect_context::<Link>();
    let count = Memo::new(move |_| link.host.with(|host| host.copiers.len()));
    let kinds = KINDS.map(|kind| view! { <Kind kind /> });
    view! {
        <InUse />
        <details class="fold copiers">
            <summary>{move || format!("Copier library ({})", count.get())}</summary>
            {kinds.collect_view()}
            <Import />
        </details>
    }
}

fn take_back(bench: Bench) {
    bench.apply(Command::Set(Setting::Copier(None)));
}

/// The copier that the next run builds upon, and the way back to one of its own.
#[component]
fn InUse() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let given = Memo::new(move |_| {
        bench.with_settings(|bench| {
            let settings = bench.settings();
            let given = settings.copier.as_ref()?;
            link.host.with(|host| {
                let copier = given.find(&host.copiers, &settings.base);
                Some(copier.map_or_else(|| given.name.clone(), |copier| copier.name.clone()))
            })
        })
    });
    view! {
        <div role="status">
            {move || {
                given
                    .get()
                    .map(|name| {
                        view! {
                            <p class="note copier-in-use">
                                <span>"Builds upon the copier " <b>{name.to_string()}</b></span>
                                <button on:click=move |_| take_back(bench)>"Train its own"</button>
                            </p>
                        }
                    })
            }}
        </div>
    }
}

/// The copiers of a kind, and what it is for.
#[component]
fn Kind(kind: CopierKind) -> impl IntoView {
    let link = expect_context::<Link>();
    let (title, purpose) = explain(kind);
    let ids = Memo::new(move |_| {
        link.host.with(|host| {
            let copiers = host.copiers.iter().filter(|copier| copier.kind == kind);
            copiers.map(|copier| copier.id).collect::<Vec<_>>()
        })
    });
    view! {
        <section aria-label=title>
            <h3>{title}</h3>
            <p class="soft">{purpose}</p>
            <ul>
                <For each=move || ids.get() key=|id| *id let:id>
                    <Row id />
                </For>
            </ul>
        </section>
    }
}

#[component]
fn Row(id: CopierId) -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let page = expect_context::<Page>();
    let copier = Memo::new(move |_| link.host.with(|host| host.copier(id).cloned()));
    let name = move || copier.with(|copier| Some(copier.as_ref()?.name.to_string()));
    let base = move || {
        let id = copier.with(|copier| Some(copier.as_ref()?.base.clone()))?;
        let title = link.host.with(|host| Some(host.base(&id)?.title.clone()));
        Some(title.unwrap_or_else(|| format!("{id}, which is not here")))
    };
    let told = move || {
        copier.with(|copier| {
            let now = page.now_millis.get();
            copier.as_ref().map(|copier| facts(copier, now))
        })
    };
    let is_used = Memo::new(move |_| {
        copier.with(|copier| {
            bench.with_settings(|bench| {
                let settings = bench.settings();
                let given = settings.copier.as_ref();
                given.zip(copier.as_ref()).is_some_and(|(given, copier)| {
                    (given.file, &settings.base) == (copier.file.sha256, &copier.base)
                })
            })
        })
    });
    let use_it = move |_| match copier.get_untracked() {
        _ if is_used.get_untracked() => take_back(bench),
        Some(copier) => build_upon(bench, link, copier),
        None => {}
    };
    let download = move || {
        let copier = copier.get()?;
        let says = format!("Export {}", copier.name);
        let file = copier.file.name.clone();
        let address = move || link.file_url(&copier.file);
        Some(view! { <a class="button" href=address download=file aria-label=says>"Export"</a> })
    };
    let delete = Callback::new(move |request| ClientMessage::DeleteCopier {
        request,
        copier: id,
    });
    view! {
        <li class="copier" class:used=move || is_used.get()>
            <Name id copier />
            <p class="soft">{base}" · "{told}</p>
            <div class="run-actions" role="group" aria-label=name>
                <button aria-pressed=move || is_used.get().to_string() on:click=use_it>
                    "Use it"
                </button>
                {download}
                <DeleteButton message=delete />
            </div>
        </li>
    }
}

/// Puts a copier under the next run, and its base with it.
fn build_upon(bench: Bench, link: Link, copier: CopierInfo) {
    let other: Option<BaseId> = bench.with(|bench| {
        let base = &bench.settings().base;
        (*base != copier.base).then(|| copier.base.clone())
    });
    let base = other.map(|id| link.host.with_untracked(|host| super::setting(host, &id)));
    match base {
        Some(None) => {}
        base => {
            let base = base.flatten().map(Command::Set);
            let copier = Command::Set(Setting::Copier(Some(Box::new(copier))));
            bench.apply_all(base.into_iter().chain([copier]).collect());
        }
    }
}

/// What a copier is called, to be changed in place.
#[component]
fn Name(id: CopierId, copier: Memo<Option<CopierInfo>>) -> impl IntoView {
    let link = expect_context::<Link>();
    let is_open = RwSignal::new(false);
    let refusal = RwSignal::new(None::<String>);
    let (field, button) = (NodeRef::<Input>::new(), NodeRef::<Button>::new());
    let name = move || copier.with(|copier| Some(copier.as_ref()?.name.to_string()));
    let open = move |_| {
        is_open.set(true);
        request_animation_frame(move || {
            if let Some(field) = field.get_untracked() {
                _ = field.focus();
                field.select();
            }
        });
    };
    let close = move || {
        is_open.set(false);
        request_animation_frame(move || {
            if let Some(button) = button.get_untracked() {
                _ = button.focus();
            }
        });
    };
    let keep = move || {
        let Some(field) = field.get_untracked() else {
            return;
        };
        refusal.set(None);
        let name: JobName = match field.value().trim().parse() {
            Ok(name) => name,
            Err(error) => {
                let error: mimeo_protocol::InvalidId = error;
                return refusal.set(Some(error.to_string()));
            }
        };
        leptos::task::spawn_local(async move {
            let ask = |request| ClientMessage::RenameCopier {
                request,
                copier: id,
                name,
            };
            match link.ask(ask).await {
                Ok(_) => close(),
                // The row may be gone by now.
                Err(why) => _ = refusal.try_set(Some(why)),
            }
        });
    };
    view! {
        <div class="row">
            <Show
                when=move || is_open.get()
                fallback=move || {
                    view! {
                        <span class="run-name">{name}</span>
                        <button
                            node_ref=button
                            class="quiet"
                            aria-label=move || format!("Rename {}", name().unwrap_or_default())
                            on:click=open
                        >
                            "Rename"
                        </button>
                    }
                }
            >
                <input
                    node_ref=field
                    type="text"
                    class="grow"
                    aria-label="Name of the copier"
                    autocomplete="off"
                    value=name
                    on:keydown=move |event| match event.key().as_str() {
                        "Enter" => keep(),
                        "Escape" => {
                            refusal.set(None);
                            close();
                        }
                        _ => {}
                    }
                />
                <button on:click=move |_| keep()>"Keep"</button>
            </Show>
        </div>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

/// Takes anybody's LoRA as a copier of the base that is chosen.
#[component]
fn Import() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let select = NodeRef::<Select>::new();
    let said = RwSignal::new(None::<String>);
    let refusal = RwSignal::new(None::<String>);
    let take = move |file: File| {
        let chosen = select.get_untracked().map(|select| select.value());
        let named = KINDS
            .into_iter()
            .find(|kind| Some(explain(*kind).0) == chosen.as_deref());
        let kind = named.unwrap_or(CopierKind::Style);
        leptos::task::spawn_local(async move {
            _ = refusal.try_set(None);
            _ = said.try_set(Some(format!("Importing {}…", file.name())));
            let imported = import(bench, link, &file, kind).await;
            // The library may be closed by then.
            _ = said.try_set(imported.as_ref().ok().cloned());
            _ = refusal.try_set(imported.err());
        });
    };
    let option = |kind| {
        let (title, _) = explain(kind);
        view! { <option value=title selected=kind == CopierKind::Style>{title}</option> }
    };
    view! {
        <div class="row">
            <label class="stacked grow">
                "Import as"
                <select node_ref=select>{KINDS.map(option).collect_view()}</select>
            </label>
            <label class="file">
                "Import a LoRA…"
                <input
                    type="file"
                    accept=".safetensors"
                    on:change=move |event| {
                        let input: HtmlInputElement = event_target(&event);
                        if let Some(file) = files::picked(&input).pop() {
                            take(file);
                        }
                        // So that the same file can be picked again.
                        input.set_value("");
                    }
                />
            </label>
        </div>
        <p role="status" class="soft">{said}</p>
        {move || refusal.get().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}

/// Sends a LoRA and makes it a copier; what is to be said of it.
async fn import(bench: Bench, link: Link, file: &File, kind: CopierKind) -> Result<String, String> {
    let Some(name) = copiers::name_of(&file.name()) else {
        return Err(format!(
            "{} has no name that a copier can have. Rename it first.",
            file.name()
        ));
    };
    let (lora, remark) = files::send_lora(link, file, None).await?;
    let says = format!("{name} is in the library. {}", remark.unwrap_or_default());
    let (base, vae) = bench.with(|bench| {
        let settings = bench.settings();
        (settings.base.clone(), settings.vae.clone())
    });
    let ask = |request| ClientMessage::ImportCopier {
        request,
        lora,
        name,
        kind,
        base,
        vae,
    };
    link.ask(ask).await.map(|_done| says)
}
