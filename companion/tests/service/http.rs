//! Requests by hand: any headers, any body, and the answer as it came.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Name and value.
pub type Header = (&'static str, String);

pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub async fn get(url: &str, headers: &[Header]) -> Response {
    send(Method::GET, url, headers, Body::empty()).await
}

pub async fn put(url: &str, headers: &[Header], bytes: &[u8]) -> Response {
    send(Method::PUT, url, headers, bytes.to_vec().into()).await
}

/// The header that brings a token.
pub fn bearer(token: &str) -> Header {
    ("authorization", format!("Bearer {token}"))
}

async fn send(method: Method, url: &str, headers: &[Header], body: Body) -> Response {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Response {
        status: parts.status,
        headers: parts.headers,
        body: body.to_vec(),
    }
}
