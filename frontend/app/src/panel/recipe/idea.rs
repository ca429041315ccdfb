//! The idea of each method as one small picture.

use leptos::prelude::*;
use mimeo_protocol::Method;

/// A drawing; what it shows is said in words beside it.
pub fn picture(method: Method) -> AnyView {
    match method {
        Method::Copier => copier().into_any(),
        Method::Addift => addift().into_any(),
        Method::Plain => plain().into_any(),
        Method::Slider => slider().into_any(),
    }
}

/// B's sheet lies on A's; what both share is struck out, what is left is the LoRA.
fn copier() -> impl IntoView {
    view! {
        <svg class="idea" viewBox="0 0 120 44" aria-hidden="true">
            <g class="sheet">
                <rect x="4" y="8" width="26" height="30" rx="3"></rect>
                <circle cx="17" cy="21" r="6"></circle>
            </g>
            <text x="17" y="36">"A"</text>
            <text x="38" y="26" class="sign">"+"</text>
            <g class="sheet">
                <rect x="46" y="8" width="26" height="30" rx="3"></rect>
                <circle cx="59" cy="21" r="6"></circle>
                <path class="change" d="M53 20h12M55 20v3M63 20v3"></path>
            </g>
            <text x="59" y="36">"B"</text>
            <text x="80" y="26" class="sign">"="</text>
            <g class="rest">
                <rect x="88" y="8" width="26" height="30" rx="3"></rect>
                <path class="change" d="M95 20h12M97 20v3M105 20v3"></path>
            </g>
        </svg>
    }
}

/// An arrow from A to B.
fn addift() -> impl IntoView {
    view! {
        <svg class="idea" viewBox="0 0 120 44" aria-hidden="true">
            <g class="sheet">
                <rect x="8" y="8" width="26" height="30" rx="3"></rect>
                <circle cx="21" cy="21" r="6"></circle>
            </g>
            <text x="21" y="36">"A"</text>
            <path class="arrow" d="M40 23h36m-7-6l7 6-7 6"></path>
            <path class="change" d="M52 14h12M54 14v3M62 14v3"></path>
            <g class="sheet">
                <rect x="84" y="8" width="26" height="30" rx="3"></rect>
                <circle cx="97" cy="21" r="6"></circle>
                <path class="change" d="M91 20h12M93 20v3M101 20v3"></path>
            </g>
            <text x="97" y="36">"B"</text>
        </svg>
    }
}

/// All of B, and nothing to compare it with.
fn plain() -> impl IntoView {
    view! {
        <svg class="idea" viewBox="0 0 120 44" aria-hidden="true">
            <g class="sheet whole">
                <rect x="47" y="8" width="26" height="30" rx="3"></rect>
                <circle cx="60" cy="21" r="6"></circle>
                <path class="change" d="M54 20h12M56 20v3M64 20v3"></path>
            </g>
            <text x="60" y="36">"B"</text>
        </svg>
    }
}

/// A dial between two words.
fn slider() -> impl IntoView {
    view! {
        <svg class="idea" viewBox="0 0 120 44" aria-hidden="true">
            <text x="18" y="18">"abc"</text>
            <text x="102" y="18">"xyz"</text>
            <path class="arrow" d="M10 30h100"></path>
            <g class="sheet">
                <circle cx="76" cy="30" r="7"></circle>
            </g>
        </svg>
    }
}
