//! The client of a running companion: what the page does, for the command line.

#![expect(
    clippy::disallowed_methods,
    reason = "it connects to the companion that its user names"
)]

mod http;

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{SinkExt as _, StreamExt as _};
use mimeo_protocol::{
    BlobId, ClientMessage, FileId, JobEvent, JobId, MAX_SERVER_FRAME, PROTOCOL_VERSION, Rejection,
    RequestId, ServerMessage, Snapshot, codec,
};
use mimeo_service::blob::id_of;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

pub use http::Http;

use crate::exit::BadInput;
use crate::tls;

const APP: &str = concat!("Mimeo ", env!("CARGO_PKG_VERSION"), " (command line)");
/// A companion that is started again takes about this long.
const RECONNECT_FOR: Duration = Duration::from_secs(60);
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// A companion, connected.
pub struct Remote {
    place: Address,
    token: String,
    http: Http,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    requests: u32,
    /// Messages that came while an answer was waited for.
    waiting: VecDeque<ServerMessage>,
}

/// Where a companion is.
#[derive(Debug, Clone)]
struct Address {
    socket: String,
    http: String,
}

impl Remote {
    /// Connects and is let in.
    ///
    /// - `url`: `ws://HOST:PORT` or `wss://HOST:PORT`
    /// - `token`: none on the same computer, where the companion hands it out
    ///
    /// # Errors
    /// One sentence: nobody is there, or does not let us in.
    pub async fn connect(url: &str, token: Option<&str>) -> anyhow::Result<(Self, Snapshot)> {
        let place = Address::new(url)?;
        let http = Http::new()?;
        let token = match token {
            Some(token) => token.to_owned(),
            None => place.token(&http).await?,
        };
        let (socket, snapshot) = open(&place, &token).await?;
        let remote = Self {
            place,
            token,
            http,
            socket,
            requests: 0,
            waiting: VecDeque::new(),
        };
        Ok((remote, snapshot))
    }

    /// Uploads a picture.
    ///
    /// # Errors
    /// What the companion says about it.
    pub async fn upload(&self, bytes: Vec<u8>) -> anyhow::Result<BlobId> {
        self.put("blobs", bytes).await
    }

    /// Uploads a LoRA.
    ///
    /// # Errors
    /// Likewise.
    pub async fn upload_lora(&self, bytes: Vec<u8>) -> anyhow::Result<BlobId> {
        self.put("loras", bytes).await
    }

    async fn put(&self, place: &str, bytes: Vec<u8>) -> anyhow::Result<BlobId> {
        let id = id_of(&bytes);
        let url = format!("{}/{place}/{id}", self.place.http);
        let answer = self.http.put(&url, &self.token, bytes).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(id);
        }
        Err(BadInput(answer.text().await?).into())
    }

    /// Downloads a file.
    ///
    /// # Errors
    /// When it is gone or the connection breaks.
    pub async fn download(&self, file: FileId) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/files/{file}", self.place.http);
        let answer = self.http.get(&url, Some(&self.token)).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer.bytes().await?.to_vec());
        }
        Err(BadInput(answer.text().await?).into())
    }

    /// Sends a request and waits for its answer; events that come meanwhile are kept for
    /// [`Self::next`].
    ///
    /// # Errors
    /// When it is rejected, in the companion's words.
    pub async fn ask(
        &mut self,
        message: impl FnOnce(RequestId) -> ClientMessage,
    ) -> anyhow::Result<ServerMessage> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.send(&message(request)).await?;
        loop {
            let answer = self.read().await?;
            if answer.request() == Some(request) {
                return match answer {
                    ServerMessage::Rejected { reason, .. } => {
                        Err(BadInput(reason.to_string()).into())
                    }
                    answer => Ok(answer),
                };
            }
            self.waiting.push_back(answer);
        }
    }

    /// The next message that answers nothing.
    ///
    /// # Errors
    /// When the connection is lost; [`Self::reconnect`] then.
    pub async fn next(&mut self) -> anyhow::Result<ServerMessage> {
        match self.waiting.pop_front() {
            Some(message) => Ok(message),
            None => self.read().await,
        }
    }

    /// Connects again, and asks for what was missed of a job.
    ///
    /// # Errors
    /// When nobody is there for a minute.
    pub async fn reconnect(&mut self, job: JobId, after: u64) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + RECONNECT_FOR;
        loop {
            tokio::time::sleep(RECONNECT_EVERY).await;
            match self.reopen().await {
                Ok(()) => break,
                Err(error) if tokio::time::Instant::now() > until => return Err(error),
                Err(_) => {}
            }
        }
        self.waiting.clear();
        let resync = |request| ClientMessage::Resync {
            request,
            job,
            after,
        };
        self.ask(resync).await.map(drop)
    }

    async fn reopen(&mut self) -> anyhow::Result<()> {
        // A companion that was started again has another token; one with a token of the user's own
        // hands none out.
        if let Ok(token) = self.place.token(&self.http).await {
            self.token = token;
        }
        (self.socket, _) = open(&self.place, &self.token).await?;
        Ok(())
    }

    async fn send(&mut self, message: &ClientMessage) -> anyhow::Result<()> {
        let frame = codec::encode(message);
        Ok(self.socket.send(Message::Binary(frame.into())).await?)
    }

    async fn read(&mut self) -> anyhow::Result<ServerMessage> {
        read(&mut self.socket).await
    }
}

/// An event of this job that was not seen yet.
pub fn new_event(message: &ServerMessage, job: JobId, seen: u64) -> Option<&JobEvent> {
    match message {
        ServerMessage::Event(event) if event.job == job && event.seq > seen => Some(event),
        _ => None,
    }
}

impl Address {
    fn new(url: &str) -> Result<Self, BadInput> {
        let url = url.trim_end_matches('/').trim_end_matches("/ws");
        let http = match url.split_once("://") {
            Some(("ws", host)) if !host.is_empty() => format!("http://{host}"),
            Some(("wss", host)) if !host.is_empty() => {
                tls::needed_for("wss://")?;
                format!("https://{host}")
            }
            _ => {
                return Err(BadInput(format!(
                    "{url:?} is no companion's address. Use ws://127.0.0.1:7878, or wss:// for one on the network."
                )));
            }
        };
        let socket = format!("{url}/ws");
        Ok(Self { socket, http })
    }

    async fn token(&self, http: &Http) -> anyhow::Result<String> {
        let answer = http.get(&format!("{}/token", self.http), None).await;
        let answer = answer.map_err(|_unreachable| {
            BadInput(format!(
                "no companion answers at {}. Start one with `mimeo serve`.",
                self.http
            ))
        })?;
        if answer.status != StatusCode::OK {
            return Err(BadInput(format!(
                "the companion at {} wants a token. Give it with --token.",
                self.http
            ))
            .into());
        }
        answer.text().await
    }
}

async fn open(
    place: &Address,
    token: &str,
) -> anyhow::Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Snapshot)> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_SERVER_FRAME))
        .max_frame_size(Some(MAX_SERVER_FRAME));
    let connected = connect_async_with_config(&place.socket, Some(config), true).await;
    let (mut socket, _) = connected.map_err(|error| {
        BadInput(format!(
            "no companion answers at {} ({error}). Start one with `mimeo serve`.",
            place.socket
        ))
    })?;
    let hello = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: APP.to_owned(),
        token: token.to_owned(),
    };
    let hello = Message::Binary(codec::encode(&hello).into());
    socket.send(hello).await?;
    match read(&mut socket).await? {
        ServerMessage::Welcome { protocol, app, .. } if protocol != PROTOCOL_VERSION => {
            let why = Rejection::Version {
                client: APP.to_owned(),
                client_protocol: PROTOCOL_VERSION,
                server: app,
                server_protocol: protocol,
            };
            Err(BadInput(why.to_string()).into())
        }
        ServerMessage::Welcome { snapshot, .. } => Ok((socket, snapshot)),
        ServerMessage::Rejected { reason, .. } => Err(BadInput(reason.to_string()).into()),
        _ => Err(
            BadInput("the companion does not speak Mimeo's protocol. Update it.".to_owned()).into(),
        ),
    }
}

async fn read(
    socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
) -> anyhow::Result<ServerMessage> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(frame))) => {
                return Ok(codec::decode(&frame, MAX_SERVER_FRAME)?);
            }
            Some(Ok(Message::Close(_))) | None => {
                anyhow::bail!("the companion ended the connection.")
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => anyhow::bail!("the connection to the companion broke ({error})."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_to_get_there() {
        for (url, http) in [
            ("ws://127.0.0.1:7878", "http://127.0.0.1:7878"),
            ("ws://127.0.0.1:7878/ws", "http://127.0.0.1:7878"),
            #[cfg(feature = "tls")]
            ("wss://studio.example:443/", "https://studio.example:443"),
        ] {
            assert_eq!(Address::new(url).unwrap().http, http, "{url}");
        }
        for bad in ["127.0.0.1:7878", "http://127.0.0.1:7878", "ws://", ""] {
            assert!(Address::new(bad).is_err(), "{bad:?}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_its_addresses_are_refused_with_what_to_do() {
        let refused = Address::new("wss://studio.example:443/").unwrap_err();
        let said = refused.to_string();
        for part in ["without TLS", "wss://", "cargo build --features tls"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
