//! The workbench in the browser. Trunk compiles it; elsewhere there is no page.

fn main() {
    #[cfg(target_family = "wasm")]
    mimeo_app::start();
}
