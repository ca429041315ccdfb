//! The routes: the workbench, the socket, pictures, LoRAs and files.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use futures_util::StreamExt as _;
use mimeo_protocol::{BaseId, BlobId, FileId, MAX_CLIENT_FRAME, PROTOCOL_VERSION};
use mimeo_service::rules::{MAX_BLOB_BYTES, MAX_LORA_BYTES};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::io::ReaderStream;

use super::blobs::BlobError;
use super::guard::{self, Guard};
use super::jobs::Jobs;
use super::loras::LoraError;
use super::{page, socket};

/// Connections at once; a user has a few tabs.
pub const MAX_SOCKETS: usize = 64;
/// Uploads at once: each may hold a picture in memory.
const MAX_UPLOADS: usize = 4;
/// LoRAs that are read at once, to see whether they are any: each takes memory of its size.
const MAX_LORA_UPLOADS: usize = 1;
/// Pictures beside models that are made small at once: each is in memory meanwhile.
const MAX_PREVIEWS: usize = 2;

/// What every request may use.
#[derive(Clone)]
pub struct Shared {
    /// The jobs.
    pub jobs: Jobs,
    /// Who may.
    pub guard: Guard,
    /// The secret of this start.
    pub token: Arc<str>,
    sockets: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    lora_uploads: Arc<Semaphore>,
    previews: Arc<Semaphore>,
}

/// All routes.
pub fn router(jobs: Jobs, guard: Guard, token: Arc<str>) -> Router {
    let shared = Shared {
        jobs,
        guard: guard.clone(),
        token,
        sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
        uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
        lora_uploads: Arc::new(Semaphore::new(MAX_LORA_UPLOADS)),
        previews: Arc::new(Semaphore::new(MAX_PREVIEWS)),
    };
    Router::new()
        .route("/health", get(health))
        .route("/token", get(token_for_page))
        .route("/ws", get(open_socket))
        .route("/blobs/{id}", put(put_blob).get(get_blob))
        .route("/loras/{id}", put(put_lora))
        .route("/files/{id}", get(get_file))
        .route("/previews/{id}", get(get_preview))
        .fallback(get(page::serve))
        .layer(DefaultBodyLimit::max(MAX_BLOB_BYTES))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(shared)
}

/// What `/health` says.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Health {
    /// Always "mimeo": who answers on this port.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The conversation it speaks.
    pub protocol: u32,
}

async fn health() -> Response {
    let health = Health {
        program: "mimeo".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
    };
    let json = serde_json::to_string(&health).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// The token, for the page that was served from here: other pages may send this request, but the
/// browser lets none of them read the answer, and the guard refuses them anyway.
async fn token_for_page(State(shared): State<Shared>) -> Response {
    if !shared.guard.hands_out_token {
        let why = "This companion is on the network, so its token is not handed out. Open the link that it printed.";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let headers = [(CONTENT_TYPE, "text/plain"), (CACHE_CONTROL, "no-store")];
    (headers, shared.token.to_string()).into_response()
}

async fn open_socket(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(permit) = Arc::clone(&shared.sockets).try_acquire_owned() else {
        let why = format!("{MAX_SOCKETS} pages are open already. Close some.");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    upgrade
        // Larger frames are answered by the socket itself; far larger ones end the connection.
        .max_message_size(4 * MAX_CLIENT_FRAME)
        .max_frame_size(4 * MAX_CLIENT_FRAME)
        // A slow reader is waited for, not written for.
        .max_write_buffer_size(1 << 20)
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            socket::serve(socket, shared.jobs, shared.guard).await;
            drop(permit);
        })
}

/// The id in a path that only who knows the token may ask for.
struct Wanted<T>(T);

impl<T: FromStr> FromRequestParts<Shared> for Wanted<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        if !shared.guard.lets_in(&parts.headers, &parts.uri) {
            return Err(unauthorized());
        }
        let path = Path::<String>::from_request_parts(parts, shared).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(not_found)
    }
}

async fn put_blob(
    State(shared): State<Shared>,
    Wanted(id): Wanted<BlobId>,
    body: Body,
) -> Response {
    let Ok(_permit) = shared.uploads.acquire().await else {
        return not_found();
    };
    let Some(bytes) = read_up_to(body, MAX_BLOB_BYTES).await else {
        let limit = MAX_BLOB_BYTES >> 20;
        let why = format!("A picture file has at most {limit} MiB. Make it smaller.");
        return (StatusCode::PAYLOAD_TOO_LARGE, why).into_response();
    };
    let taken =
        tokio::task::spawn_blocking(move || shared.jobs.server.host.blobs.take(id, &bytes)).await;
    match taken {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => {
            let status = match &error {
                BlobError::OtherBytes { .. } | BlobError::Image(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                BlobError::Full(_) | BlobError::Io(_) => StatusCode::INSUFFICIENT_STORAGE,
            };
            (status, error.to_string()).into_response()
        }
        Err(_panicked) => {
            let why = "This picture broke the decoder. Save it as PNG and try again.";
            (StatusCode::UNPROCESSABLE_ENTITY, why).into_response()
        }
    }
}

/// The whole of a body, or none if it is larger.
///
/// What is too much is still read, and forgotten, for a while: a client that is answered while it
/// sends sees a broken line instead of the answer.
async fn read_up_to(body: Body, limit: usize) -> Option<Vec<u8>> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.ok()?;
        length += part.len();
        if length <= limit {
            bytes.extend_from_slice(&part);
        } else if length > 4 * limit {
            return None;
        } else {
            bytes = Vec::new();
        }
    }
    (length <= limit).then_some(bytes)
}

async fn put_lora(
    State(shared): State<Shared>,
    Wanted(id): Wanted<BlobId>,
    body: Body,
) -> Response {
    match take_lora(&shared, id, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            let status = match &error {
                LoraError::OtherBytes { .. } | LoraError::Unreadable(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                LoraError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                LoraError::Full(_) | LoraError::Io(_) => StatusCode::INSUFFICIENT_STORAGE,
            };
            (status, error.to_string()).into_response()
        }
    }
}

/// Onto the disk part by part, since it may be larger than what memory is for.
async fn take_lora(shared: &Shared, id: BlobId, body: Body) -> Result<(), LoraError> {
    let mut upload = shared.jobs.server.host.loras.begin(id)?;
    let mut trouble = None;
    let (mut parts, mut length) = (body.into_data_stream(), 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(io::Error::other)?;
        length += part.len() as u64;
        // As for pictures, what is too much is read on for a while, so that the answer is heard.
        if length > 2 * MAX_LORA_BYTES {
            break;
        }
        if trouble.is_none() {
            trouble = block_in_place(|| upload.write(&part)).err();
        }
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let _permit = shared.lora_uploads.acquire().await;
    block_in_place(|| upload.finish())
}

async fn get_blob(State(shared): State<Shared>, Wanted(id): Wanted<BlobId>) -> Response {
    let Ok(bytes) = tokio::fs::read(shared.jobs.server.host.folder.blob(id)).await else {
        return not_found();
    };
    let headers = [
        (CONTENT_TYPE, picture_type(&bytes)),
        // Its name is its hash, so it never changes.
        (CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    (headers, bytes).into_response()
}

async fn get_file(State(shared): State<Shared>, Wanted(id): Wanted<FileId>) -> Response {
    let Ok(Some((file, path))) = shared.jobs.server.store.file(id).await else {
        return not_found();
    };
    let path: PathBuf = shared.jobs.server.host.folder.file(&path);
    let Ok(opened) = tokio::fs::File::open(path).await else {
        return not_found();
    };
    let name = percent_encoded(&file.name);
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, file.bytes.to_string()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename*=UTF-8''{name}"),
        ),
        (CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    (headers, Body::from_stream(ReaderStream::new(opened))).into_response()
}

/// The picture beside a base, in small.
async fn get_preview(State(shared): State<Shared>, Wanted(id): Wanted<BaseId>) -> Response {
    let Ok(_permit) = shared.previews.acquire().await else {
        return not_found();
    };
    let small = tokio::task::spawn_blocking(move || {
        let preview = shared.jobs.server.host.bases.preview(&id)?;
        preview.thumbnail().ok()
    });
    // What broke the decoder is no picture either.
    let Ok(Some(jpeg)) = small.await else {
        return not_found();
    };
    let headers = [
        (CONTENT_TYPE, "image/jpeg"),
        // Another picture has another version in its address.
        (CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    (headers, jpeg).into_response()
}

fn unauthorized() -> Response {
    let why = "The companion was started anew, or this link is not from it. Reload the page.";
    (StatusCode::UNAUTHORIZED, why).into_response()
}

/// There is no such thing.
pub fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing here (any more).").into_response()
}

/// What a picture is, by its first bytes: it was decoded before it was stored.
fn picture_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', ..] => "image/webp",
        _ => "application/octet-stream",
    }
}

/// RFC 8187: what is no plain letter or digit, as its UTF-8 bytes.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_travel_in_a_header() {
        assert_eq!(
            percent_encoded("眼 a\"\r\n.x"),
            "%E7%9C%BC%20a%22%0D%0A.x",
            "nothing ends the header"
        );
    }

    #[test]
    fn pictures_are_told_by_their_bytes() {
        assert_eq!(picture_type(b"\x89PNG\r\n"), "image/png");
        assert_eq!(
            picture_type(b"<script>"),
            "application/octet-stream",
            "never a page"
        );
    }
}
