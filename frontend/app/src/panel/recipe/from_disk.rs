//! Bases and VAEs from disk, for the trainer in this browser: the companion finds its own.

use std::pin::Pin;

use leptos::prelude::*;
use mimeo_protocol::{BaseId, VaeId};
use mimeo_workbench::Command;
use mimeo_workbench::from_disk::{Kind, PickedInfo, Told, Way};
use mimeo_workbench::workbench::Setting;

use super::setting;
use crate::bench::Bench;
use crate::handles;
use crate::link::{Link, Picked};

#[component]
pub fn FromDisk() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let adding = link.adding;
    let button = move |kind| {
        let label = move || match (adding.is_busy.get(), kind) {
            (true, _) => "Reading…",
            (false, Kind::File) => "File from disk…",
            (false, Kind::Folder) => "Folder from disk…",
        };
        view! {
            <button
                aria-describedby="from-disk"
                aria-busy=move || adding.is_busy.get().to_string()
                on:click=move |_| pick(bench, link, kind)
            >
                {label}
            </button>
        }
    };
    let refusal = move || adding.refusal.get();
    view! {
        <div class="from-disk">
            <div class="row">{[Kind::File, Kind::Folder].map(button).collect_view()}</div>
            <p class="soft" id="from-disk">
                "A checkpoint or a VAE as one .safetensors file, or a diffusers folder; it is read where it is"
            </p>
            <Shelf />
            {move || refusal().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
        </div>
    }
}

/// Bases and VAEs from disk that are closed, and those that are chosen.
#[component]
fn Shelf() -> impl IntoView {
    let (bench, link) = (expect_context::<Bench>(), expect_context::<Link>());
    let shown = Memo::new(move |_| {
        bench.with_settings(|bench| {
            let settings = bench.settings();
            let vae = settings.vae.as_ref().map(VaeId::as_str);
            let chosen: Vec<_> = vae.into_iter().chain([settings.base.as_str()]).collect();
            link.shelf.with(|shelf| shelf.shown(&chosen))
        })
    });
    view! {
        <div class="shelf" aria-live="polite">
            {move || rows(bench, link, shown.get(), Place::Choice)}
        </div>
    }
}

/// Where bases are told of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// With the choice of the base, where they can be forgotten.
    Choice,
    /// With a run that waits for them.
    Run,
}

/// Bases in words, with what can be done about each.
pub fn rows(bench: Bench, link: Link, bases: Vec<Told>, place: Place) -> Vec<AnyView> {
    let row = |told: Told| {
        let Told {
            id,
            title,
            sentence,
            way,
        } = told;
        let own = id.clone();
        let back = way.map(|way| {
            let press = move |_| bring_back(bench, link, own.clone(), way, place);
            view! { <button on:click=press>{way.label()}</button> }
        });
        let forgotten = (place == Place::Choice).then(|| {
            let press = move |_| forget(bench, link, id.clone());
            view! {
                <button class="quiet" on:click=press>
                    "Forget"
                </button>
            }
        });
        let row = view! {
            <div class="base-on-disk" role="group" aria-label=title>
                <span>{sentence}</span>
                {back}
                {forgotten}
            </div>
        };
        row.into_any()
    };
    bases.into_iter().map(row).collect()
}

/// Lets the user pick, and trains upon that.
fn pick(bench: Bench, link: Link, kind: Kind) {
    leptos::task::spawn_local(async move {
        if let Some(choice) = handles::pick(kind).await {
            take(bench, link, Box::pin(Picked::of(choice, kind)));
        }
    });
}

/// Brings back a base that is closed; at the choice of the base it is trained upon from now on.
pub fn bring_back(bench: Bench, link: Link, id: String, way: Way, place: Place) {
    match way {
        Way::Pick(kind) => pick(bench, link, kind),
        Way::Open | Way::TakeAsItIs => {
            let opened = async move {
                let opened = link.open_again(&id, way).await?;
                if let (Place::Choice, Some(opened)) = (place, opened) {
                    choose(bench, link, &opened);
                }
                Ok(())
            };
            add(link, Box::pin(opened));
        }
    }
}

/// Gives the trainer what was picked, and trains upon it from now on.
pub fn take(bench: Bench, link: Link, picked: LocalFuture<Picked>) {
    let added = async move {
        let added = link.add_base(picked.await?).await?;
        choose(bench, link, &added);
        Ok(())
    };
    add(link, Box::pin(added));
}

/// Something on its way, or the sentence why it does not come.
type LocalFuture<T> = Pin<Box<dyn Future<Output = Result<T, String>>>>;

/// Trains upon a base, or with a VAE, from now on.
fn choose(bench: Bench, link: Link, picked: &PickedInfo) {
    let setting = match picked {
        PickedInfo::Base(base) => link.host.with_untracked(|host| setting(host, &base.id)),
        PickedInfo::Vae(vae) => Some(Setting::Vae(Some(vae.id.clone()))),
    };
    if let Some(setting) = setting {
        bench.apply(Command::Set(setting));
    }
}

/// One at a time; why it was not taken is said at the choice of the base.
fn add(link: Link, added: LocalFuture<()>) {
    let adding = link.adding;
    if adding.is_busy.get_untracked() {
        return;
    }
    adding.is_busy.set(true);
    adding.refusal.set(None);
    leptos::task::spawn_local(async move {
        let refusal = added.await.err();
        adding.is_busy.set(false);
        adding.refusal.set(refusal);
    });
}

/// Forgets what was picked: trains upon the bundled base if it was that, with the base's own VAE if it
/// was that.
fn forget(bench: Bench, link: Link, id: String) {
    leptos::task::spawn_local(async move {
        let (is_base, is_vae) = bench.with(|bench| {
            let settings = bench.settings();
            let vae = settings.vae.as_ref();
            (
                settings.base.as_str() == id,
                vae.is_some_and(|vae| vae.as_str() == id),
            )
        });
        let bundled = || {
            link.host
                .with_untracked(|host| setting(host, &BaseId::bundled()))
        };
        let settings = [
            is_vae.then_some(Setting::Vae(None)),
            is_base.then(bundled).flatten(),
        ];
        for setting in settings.into_iter().flatten() {
            bench.apply(Command::Set(setting));
        }
        link.forget_base(&id).await;
    });
}
