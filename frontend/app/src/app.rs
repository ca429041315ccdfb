//! The page: header, pair, stage, recipe, and what became of them.

mod again;
mod announce;
mod choices;
mod drops;
mod lower;
mod stay;

use leptos::prelude::*;
use mimeo_workbench::backend::Backend;
use mimeo_workbench::saved::Restored;

use crate::bench::Bench;
use crate::keyboard;
use crate::link::Link;
use crate::page::Page;
use crate::panel::header::Header;
use crate::panel::keys_sheet::KeysSheet;
use crate::panel::pair::PairPanel;
use crate::panel::playground;
use crate::panel::preflight::{Preflight, Training};
use crate::panel::recipe::RecipePanel;
use crate::panel::set::SetPanel;
use crate::stage::{Stage, StagePanel};

/// The page, with the work as it was when it was closed.
#[component]
pub fn App(restored: Restored) -> impl IntoView {
    let link = Link::open();
    let bench = Bench::new(restored);
    let run_again = Callback::new(move |job| again::load(bench, link, job));
    let page = Page::new(run_again);
    let training = Training::new();
    let stage = Stage::new(bench, page);
    provide_context(link);
    provide_context(bench);
    provide_context(page);
    provide_context(training);
    provide_context(stage);
    choices::restore_and_keep(bench, page);

    let train = Callback::new(move |()| training.begin(bench, link, page));
    keyboard::listen(bench, page, stage, train);
    drops::listen(bench, link, page);
    announce::follow(link, page);
    stay::follow(link, page);
    leave_with_the_place(bench, link, page);
    view! {
        <Header />
        <main>
            <div class="work">
                <PairPanel />
                <div class="middle">
                    <StagePanel stage />
                    <SetPanel />
                </div>
                <div class="side">
                    <RecipePanel />
                    <Preflight />
                </div>
            </div>
            <lower::Lower />
        </main>
        <KeysSheet />
        <drops::BroughtBack />
        <announce::Toast />
    }
}

/// What is shown of one place means nothing at another: there it has other runs by the same numbers.
fn leave_with_the_place(bench: Bench, link: Link, page: Page) {
    Effect::new(move |before: Option<Option<Backend>>| {
        let place = link.place.get();
        if before.flatten().is_some_and(|before| Some(before) != place) {
            page.shown.set(None);
            page.on_stage.set(None);
            bench.plan.set(None);
            playground::desk::Desk::forget_drawings();
        }
        place
    });
}
