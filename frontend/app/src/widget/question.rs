//! A question that has to be answered before anything else.

use leptos::html;
use leptos::prelude::*;

/// A dialog that is open as long as something is asked.
pub fn open_while_asked<T>(asks: RwSignal<Option<T>>) -> NodeRef<html::Dialog>
where
    T: Clone + Send + Sync + 'static,
{
    let dialog = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = dialog.get() else { return };
        if asks.with(Option::is_none) {
            dialog.close();
        } else if !dialog.open() {
            // Fails for a dialog that is open already.
            _ = dialog.show_modal();
        }
    });
    dialog
}
