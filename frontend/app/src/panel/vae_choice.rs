//! Which VAE goes with a base: its own, or one in a file of its own. Shown where there is a choice.

use leptos::prelude::*;
use mimeo_protocol::{BaseId, VaeId, VaeInfo};

use crate::link::Link;

#[component]
pub fn VaeChoice(
    /// Of the field.
    id: &'static str,
    /// The base that it goes with.
    #[prop(into)]
    base: Signal<Option<BaseId>>,
    /// What is chosen; none: the base's own.
    #[prop(into)]
    chosen: Signal<Option<VaeId>>,
    /// Called with what is chosen.
    choose: Callback<Option<VaeId>>,
) -> impl IntoView {
    let link = expect_context::<Link>();
    let vaes = Memo::new(move |_| link.host.with(|host| host.vaes.clone()));
    let needs_one = Memo::new(move |_| {
        let base = base.get();
        link.host.with(|host| {
            let base = base.and_then(|id| host.base(&id));
            base.is_some_and(|base| base.needs_vae)
        })
    });
    let own = move || match needs_one.get() {
        true => "It has none: choose one",
        false => "The base's own",
    };
    let option = move |vae: VaeInfo| {
        let value = vae.id.to_string();
        let is_chosen = move || chosen.get().as_ref() == Some(&vae.id);
        view! {
            <option
                value=value
                disabled=vae.unusable.is_some()
                title=vae.unusable
                prop:selected=is_chosen
            >
                {vae.title}
            </option>
        }
    };
    view! {
        <Show when=move || needs_one.get() || !vaes.with(Vec::is_empty)>
            <label class="stacked vae-choice">
                "VAE"
                <select
                    id=id
                    aria-invalid=move || (needs_one.get() && chosen.get().is_none()).to_string()
                    on:change=move |event| choose.run(event_target_value(&event).parse().ok())
                >
                    <option value="" prop:selected=move || chosen.get().is_none()>
                        {own}
                    </option>
                    {move || vaes.get().into_iter().map(option).collect_view()}
                </select>
            </label>
        </Show>
    }
}
