//! HTTP for the client of a companion: the same one library that the companion serves with. It asks
//! nobody but the companion, so no proxy, and goes nowhere else, so no redirection.

use axum::body::{Body, Bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::tls;

/// A client.
pub struct Http(Client<tls::Connector, Body>);

/// What came back, its body not read yet.
pub struct Response {
    /// What it says at once.
    pub status: StatusCode,
    body: Body,
}

impl Http {
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new() -> anyhow::Result<Self> {
        let builder = Client::builder(TokioExecutor::new());
        Ok(Self(builder.build(tls::connector()?)))
    }

    /// Asks for something.
    ///
    /// - `token`: none where everybody may
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn get(&self, url: &str, token: Option<&str>) -> anyhow::Result<Response> {
        self.send(Method::GET, url, token, Body::empty()).await
    }

    /// Brings something.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn put(&self, url: &str, token: &str, bytes: Vec<u8>) -> anyhow::Result<Response> {
        self.send(Method::PUT, url, Some(token), bytes.into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Body,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.0.request(request.body(body)?).await?;
        Ok(Response {
            status: answer.status(),
            body: Body::new(answer.into_body()),
        })
    }
}

impl Response {
    /// The whole body.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn bytes(self) -> anyhow::Result<Bytes> {
        Ok(axum::body::to_bytes(self.body, usize::MAX).await?)
    }

    /// The whole body, a text.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn text(self) -> anyhow::Result<String> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
