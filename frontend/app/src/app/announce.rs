//! What is said without being asked: the title, the icon, a clock, and a toast.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::HtmlLinkElement;

use crate::link::Link;
use crate::page::{Page, now_millis};

/// Title and icon carry the percent of the run under way; the clock ticks while there is one.
pub fn follow(link: Link, page: Page) {
    let percent = Memo::new(move |_| {
        link.runs.with(|runs| {
            let run = runs.under_way()?;
            Some((run.share() * 100.0).floor() as u32)
        })
    });
    Effect::new(move |_| {
        let percent = percent.get();
        document().set_title(&match percent {
            Some(percent) => format!("{percent} % · Mimeo"),
            None => "Mimeo".to_owned(),
        });
        set_icon(percent);
    });
    set_interval(
        move || {
            if percent.get_untracked().is_some() {
                page.now_millis.set(now_millis());
            }
        },
        Duration::from_secs(1),
    );
}

/// Two sheets, or a ring that fills.
fn set_icon(percent: Option<u32>) {
    let drawing = match percent {
        None => "<rect x='4' y='3' width='17' height='22' rx='3' fill='%237c8aa5'/><rect x='11' y='8' width='17' height='22' rx='3' fill='%23e0245e'/>".to_owned(),
        Some(percent) => format!(
            "<circle cx='16' cy='16' r='12' fill='none' stroke='%237c8aa5' stroke-width='7'/><circle cx='16' cy='16' r='12' fill='none' stroke='%23e0245e' stroke-width='7' pathLength='100' stroke-dasharray='{percent} 100' transform='rotate(-90 16 16)'/>"
        ),
    };
    let icon = document().query_selector("link[rel=icon]").ok().flatten();
    if let Some(icon) = icon.and_then(|icon| icon.dyn_into::<HtmlLinkElement>().ok()) {
        icon.set_href(&format!(
            "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>{drawing}</svg>"
        ));
    }
}

/// What has no place of its own, for a moment.
#[component]
pub fn Toast() -> impl IntoView {
    let page = expect_context::<Page>();
    let timer = StoredValue::new(None::<TimeoutHandle>);
    Effect::new(move |_| {
        if page.said.with(Option::is_some) {
            if let Some(timer) = timer.get_value() {
                timer.clear();
            }
            let quiet = Duration::from_secs(6);
            timer.set_value(set_timeout_with_handle(move || page.said.set(None), quiet).ok());
        }
    });
    view! {
        <div class="toast" role="status" class:shown=move || page.said.with(Option::is_some)>
            {move || page.said.get()}
        </div>
    }
}
