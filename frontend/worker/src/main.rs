//! The worker.
#[cfg(target_family = "wasm")]
fn main() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(async {
        let compute = mimeo_engine::Compute::choose(&mimeo_engine::DeviceChoice::Cpu).await;
        web_sys::js_sys::global();
        _ = compute;
    });
}

#[cfg(not(target_family = "wasm"))]
fn main() {}
