//! The line to the companion: a WebSocket, let in by a token.

use std::future::ready;

use futures_util::{SinkExt as _, StreamExt as _};
use gloo_net::websocket::Message;
use gloo_net::websocket::futures::WebSocket;
use leptos::prelude::*;
use mimeo_workbench::backend::{Companion, Origin, is_token};
use mimeo_workbench::link::End;

use super::connection::Connection;
use super::http;

/// A companion that does not answer the hello in this time is tried again, ms.
const HELLO_WITHIN: u32 = 8_000;

/// What can be told of the companion before anything is asked.
pub fn first_guess() -> Companion {
    match with_origin(|origin| origin.may_be_companion()) {
        true => Companion::Unknown,
        false => Companion::Unreachable,
    }
}

/// Opens the line.
///
/// - `token`: from [`token`]
pub fn open(token: String) -> Result<Connection, End> {
    let socket = WebSocket::open("ws").map_err(|_refused| End::Lost)?;
    let (sink, frames) = socket.split();
    let frames = frames.map(|message| match message {
        Ok(Message::Bytes(frame)) => Some(frame),
        _ => None,
    });
    let frames = frames.take_while(|frame| ready(frame.is_some()));
    let sink = sink.sink_map_err(drop);
    Ok(Connection {
        token,
        frames: Box::pin(frames.filter_map(ready)),
        sink: Box::pin(sink.with(|frame| ready(Ok(Message::Bytes(frame))))),
        hello_within: HELLO_WITHIN,
        end: std::rc::Rc::default(),
    })
}

/// The token of the companion's start: in the link that it opened, or from itself.
pub async fn token() -> Option<String> {
    if let Some(token) = with_origin(|origin| origin.token().map(str::to_owned)) {
        return Some(token);
    }
    let token = String::from_utf8(http::get("token").await.ok()?).ok()?;
    is_token(&token).then_some(token)
}

fn with_origin<T>(look: impl FnOnce(Origin<'_>) -> T) -> T {
    let (window, location) = (window(), window().location());
    let flag = |name: &str| {
        let value = js_sys::Reflect::get(&window, &name.into());
        value.is_ok_and(|value| value.is_truthy())
    };
    look(Origin {
        fragment: &location.hash().unwrap_or_default(),
        host: &location.hostname().unwrap_or_default(),
        is_isolated: flag("crossOriginIsolated"),
        is_secure: flag("isSecureContext"),
    })
}
