//! What the browser has to compute with.

use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Promise, Reflect};
use leptos::prelude::*;
use mimeo_workbench::backend::{Adapter, AdapterInfo, WebGpu};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

/// A browser that does not say in this time has none, ms.
const WITHIN: u32 = 5_000;

/// Asks for it.
pub async fn probe() -> WebGpu {
    match select(Box::pin(ask()), TimeoutFuture::new(WITHIN)).await {
        Either::Left((gpu, _)) => gpu.unwrap_or(WebGpu::NoAdapter),
        Either::Right(_) => WebGpu::NoAdapter,
    }
}

/// None where the browser offers nothing.
async fn ask() -> Option<WebGpu> {
    let window = window();
    let Some(gpu) = field(&window.navigator(), "gpu") else {
        let is_secure = is(&window, "isSecureContext");
        return Some(if is_secure {
            WebGpu::Missing
        } else {
            WebGpu::Insecure
        });
    };
    let request: Function = field(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let options = js_sys::Object::new();
    let fast = JsValue::from("high-performance");
    Reflect::set(&options, &"powerPreference".into(), &fast).ok()?;
    let asked: Promise = request.call1(&gpu, &options).ok()?.dyn_into().ok()?;
    let adapter = JsFuture::from(asked).await.ok()?;
    if adapter.is_null() || adapter.is_undefined() {
        return None;
    }
    let info = field(&adapter, "info").unwrap_or(JsValue::UNDEFINED);
    let text = |name: &str| field(&info, name).and_then(|text| text.as_string());
    let info = AdapterInfo {
        vendor: text("vendor").unwrap_or_default(),
        architecture: text("architecture").unwrap_or_default(),
        description: text("description").unwrap_or_default(),
        // Where it stands depends on the browser's age.
        is_fallback: is(&info, "isFallbackAdapter") || is(&adapter, "isFallbackAdapter"),
    };
    let limit = |name: &str| {
        let limits = field(&adapter, "limits");
        let limit = limits.and_then(|limits| field(&limits, name)?.as_f64());
        limit.unwrap_or(0.0) as u64
    };
    let adapter = Adapter {
        name: info.name(),
        max_buffer_bytes: limit("maxBufferSize"),
        max_binding_bytes: limit("maxStorageBufferBindingSize"),
        has_f16: has_feature(&adapter, "shader-f16").unwrap_or(false),
    };
    Some(WebGpu::offered(&info, adapter))
}

fn has_feature(adapter: &JsValue, name: &str) -> Option<bool> {
    let features = field(adapter, "features")?;
    let has: Function = field(&features, "has")?.dyn_into().ok()?;
    has.call1(&features, &name.into()).ok()?.as_bool()
}

fn field(of: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(of, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

fn is(of: &JsValue, name: &str) -> bool {
    field(of, name).is_some_and(|value| value.is_truthy())
}
