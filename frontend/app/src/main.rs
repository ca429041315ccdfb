//! The workbench in the browser; elsewhere there is no page.

fn main() {
    #[cfg(target_family = "wasm")]
    mimeo_app::start();
}
