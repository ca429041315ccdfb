//! What is said about a prompt below its field.

use leptos::prelude::*;
use mimeo_protocol::PromptSyntax;
use mimeo_workbench::prompts::notes;

#[component]
pub fn PromptNotes(
    /// The prompt; or several, one on each line.
    #[prop(into)]
    prompt: Signal<String>,
    /// How it is read.
    #[prop(into)]
    syntax: Signal<PromptSyntax>,
) -> impl IntoView {
    let said = Memo::new(move |_| prompt.with(|prompt| notes(prompt, syntax.get())));
    view! {
        <div class="prompt-notes" aria-live="polite">
            {move || {
                let notes = said.get().into_iter();
                notes.map(|note| view! { <p class="soft">{note}</p> }).collect_view()
            }}
        </div>
    }
}
