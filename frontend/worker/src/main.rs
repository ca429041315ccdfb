//! The trainer in a Web Worker. Trunk compiles it; elsewhere there is none.

fn main() {
    #[cfg(target_family = "wasm")]
    mimeo_worker::start();
}
