//! One base among many: a field to search in, and the list under it. What is listed and what keys do
//! is `mimeo_workbench::base_picker`'s.

use std::time::Duration;

use leptos::leptos_dom::helpers::IntervalHandle;
use leptos::prelude::*;
use mimeo_protocol::{BaseId, BaseInfo};
use mimeo_workbench::base_picker::{BasePicker, Pressed, facts};
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

use crate::link::Link;

/// While the list is open, folders are looked at again after this long.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[component]
pub fn BaseChoice(
    /// Of the field, and the start of its options'.
    id: &'static str,
    /// What there is.
    bases: Memo<Vec<BaseInfo>>,
    /// What is chosen, if that is there.
    #[prop(into)]
    chosen: Signal<Option<BaseId>>,
    /// Called with what is chosen.
    choose: Callback<BaseId>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let picker = RwSignal::new(BasePicker::default());
    let is_open = Memo::new(move |_| picker.with(BasePicker::is_open));
    look_while_open(link, is_open);
    let base = Memo::new(move |_| {
        let id = chosen.get()?;
        bases.with(|bases| bases.iter().find(|base| base.id == id).cloned())
    });
    let title = move || base.with(|base| base.as_ref().map(|base| base.title.clone()));
    let change = move |change: &dyn Fn(&mut BasePicker, &[BaseInfo]) -> Pressed| {
        let pressed =
            bases.with_untracked(|bases| picker.try_update(|picker| change(picker, bases)));
        if let Some(Pressed::Chosen(id)) = &pressed {
            choose.run(id.clone());
        }
        pressed
    };
    let open = move || picker.update(|picker| picker.open(chosen.get_untracked().as_ref()));
    let list = format!("{id}-list");
    let at = Memo::new(move |_| picker.with(|picker| Some(option_id(id, picker.at()?))));
    Effect::new(move |_| {
        if let Some(at) = at.get() {
            show(&at);
        }
    });
    view! {
        <div class="base-choice">
            <label class="stacked">
                "Base"
                <input
                    id=id
                    type="text"
                    role="combobox"
                    aria-autocomplete="list"
                    aria-haspopup="listbox"
                    aria-expanded=move || is_open.get().to_string()
                    aria-controls=list.clone()
                    aria-activedescendant=move || at.get()
                    autocomplete="off"
                    spellcheck="false"
                    placeholder=move || is_open.get().then(title)
                    prop:value=move || match is_open.get() {
                        true => picker.with(|picker| picker.query().to_owned()),
                        false => title().unwrap_or_default(),
                    }
                    on:click=move |_| open()
                    on:input=move |event| {
                        let query = event_target_value(&event);
                        change(&|picker, bases| {
                            picker.search(query.clone(), bases);
                            Pressed::Taken
                        });
                    }
                    on:keydown=move |event| {
                        let key = event.key();
                        let chosen = chosen.get_untracked();
                        let pressed = change(&|picker, bases| {
                            picker.press(&key, chosen.as_ref(), bases)
                        });
                        if pressed != Some(Pressed::Ignored) {
                            event.prevent_default();
                            event.stop_propagation();
                        }
                    }
                    on:blur=move |_| picker.update(BasePicker::close)
                />
            </label>
            <span class="soft">{move || base.with(|base| base.as_ref().map(facts))}</span>
            <Show when=move || is_open.get()>
                <List
                    id
                    list=list.clone()
                    bases
                    picker
                    chosen
                    choose=Callback::new(move |id: BaseId| {
                        change(&|picker, bases| picker.choose(&id, bases));
                    })
                />
            </Show>
        </div>
    }
}

/// Asks for the bases when the list opens and now and then until it closes.
fn look_while_open(link: Link, is_open: Memo<bool>) {
    Effect::new(move |timer: Option<Option<IntervalHandle>>| {
        if let Some(timer) = timer.flatten() {
            timer.clear();
        }
        if !is_open.get() {
            return None;
        }
        link.look_for_bases();
        set_interval_with_handle(move || link.look_for_bases(), LOOK_EVERY).ok()
    });
}

#[component]
fn List(
    id: &'static str,
    /// The list's own.
    list: String,
    bases: Memo<Vec<BaseInfo>>,
    picker: RwSignal<BasePicker>,
    chosen: Signal<Option<BaseId>>,
    choose: Callback<BaseId>,
) -> impl IntoView {
    let listed = Memo::new(move |_| {
        bases.with(|bases| {
            let listed = picker.with(|picker| picker.listed(bases).into_iter().cloned().collect());
            let listed: Vec<BaseInfo> = listed;
            listed
        })
    });
    let has_pictures =
        Memo::new(move |_| bases.with(|bases| bases.iter().any(|base| base.preview.is_some())));
    let count = move || {
        let (shown, all) = (listed.with(Vec::len), bases.with(Vec::len));
        match shown {
            0 => format!("None of {all} fits to that"),
            _ => format!("{shown} of {all}"),
        }
    };
    view! {
        // The field keeps the focus, and with it the list.
        <div class="base-list" on:mousedown=|event| event.prevent_default()>
            <ul id=list role="listbox" aria-label="Bases" class:pictures=move || has_pictures.get()>
                <For
                    each=move || listed.get()
                    key=|base| format!("{base:?}")
                    let:base
                >
                    <Row id base picker chosen choose />
                </For>
            </ul>
            <p class="soft" role="status">{count}</p>
        </div>
    }
}

#[component]
fn Row(
    id: &'static str,
    base: BaseInfo,
    picker: RwSignal<BasePicker>,
    chosen: Signal<Option<BaseId>>,
    choose: Callback<BaseId>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let option = option_id(id, &base.id);
    let (own, clicked) = (base.id.clone(), base.id.clone());
    let is_at = Memo::new(move |_| picker.with(|picker| picker.at() == Some(&own)));
    let own = base.id.clone();
    let is_chosen = Memo::new(move |_| chosen.get().as_ref() == Some(&own));
    let is_unusable = base.unusable.is_some();
    let (title, told) = (base.title.clone(), facts(&base));
    let reason = base.unusable.clone();
    let picture = move || {
        link.preview_url(&base).map(|url| {
            view! { <img alt="" width="40" height="40" loading="lazy" draggable="false" src=url /> }
        })
    };
    view! {
        <li
            id=option
            role="option"
            aria-selected=move || is_chosen.get().to_string()
            aria-disabled=is_unusable.to_string()
            class:at=move || is_at.get()
            on:click=move |_| choose.run(clicked.clone())
        >
            <span class="base-picture" aria-hidden="true">{picture}</span>
            <span class="base-text">
                <span class="base-title">{title}</span>
                <span class="base-facts">{told}</span>
                {reason.map(|why| view! { <span class="base-reason">{why}</span> })}
            </span>
        </li>
    }
}

fn option_id(id: &str, base: &BaseId) -> String {
    format!("{id}-{base}")
}

/// Scrolls an option of the list into sight.
fn show(option: &str) {
    let Some(option) = document().get_element_by_id(option) else {
        return;
    };
    let options = ScrollIntoViewOptions::new();
    options.set_block(ScrollLogicalPosition::Nearest);
    option.scroll_into_view_with_scroll_into_view_options(&options);
}
