//! The workbench in the browser.
fn main() {
    #[cfg(target_family = "wasm")]
    leptos::mount::mount_to_body(|| leptos::view! { <h1>"Mimeo"</h1> });
}
