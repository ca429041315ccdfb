//! Pictures and files go over HTTP: messages hold their names only.

use gloo_net::http::{Request, Response};
use js_sys::Uint8Array;

const GONE: &str = "The companion cannot be reached. Wait until it is back, then try again.";

/// Sends a file.
pub async fn put(address: &str, file: &[u8]) -> Result<(), String> {
    let request = Request::put(address)
        .body(Uint8Array::from(file))
        .map_err(|error| error.to_string())?;
    answered(request.send().await).await.map(drop)
}

/// Fetches a file.
pub async fn get(address: &str) -> Result<Vec<u8>, String> {
    let response = answered(Request::get(address).send().await).await?;
    let bytes = response.binary().await;
    bytes.map_err(|_broken_off| GONE.to_owned())
}

/// The answer, or the sentence in it.
async fn answered(answer: Result<Response, gloo_net::Error>) -> Result<Response, String> {
    let response = answer.map_err(|_unreachable| GONE.to_owned())?;
    if response.ok() {
        return Ok(response);
    }
    let said = response.text().await.unwrap_or_default();
    let nothing = || format!("The companion answered {}. Try again.", response.status());
    Err(if said.is_empty() { nothing() } else { said })
}
