//! The trainer in a Web Worker; elsewhere there is none.

fn main() {
    #[cfg(target_family = "wasm")]
    mimeo_worker::start();
}
