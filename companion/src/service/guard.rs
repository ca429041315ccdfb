//! Who may talk to the service.
//!
//! Any web page can send requests to localhost, and a name that an attacker controls can be made to
//! point there. So every request is checked for the name it asked for (`Host`: DNS rebinding), for
//! the page it comes from (`Origin`, `Sec-Fetch-Site`: cross-site requests and WebSockets), and,
//! beyond the page itself, for the token of this start, which only the served page can read.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

/// Scripts, styles and sockets from here only; nothing inline; WebAssembly may be compiled.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob: data:; connect-src 'self'; worker-src 'self' blob:; \
    font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// What is allowed.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Values of `Host` that mean this service.
    hosts: Arc<Vec<String>>,
    /// SHA-256 of the token: comparing digests tells nothing about the token by its time.
    token: [u8; 32],
    scheme: &'static str,
    /// Whether the page may ask for the token: only on loopback, where nobody else can ask.
    pub hands_out_token: bool,
}

impl Guard {
    /// The guard of a service on loopback.
    pub fn loopback(address: SocketAddr, token: &str) -> Self {
        let port = address.port();
        let names = ["127.0.0.1", "localhost", "[::1]"];
        Self {
            hosts: Arc::new(names.map(|name| format!("{name}:{port}")).to_vec()),
            token: digest(token),
            scheme: "http",
            hands_out_token: true,
        }
    }

    /// The guard of a service on the network, behind TLS.
    ///
    /// - `names`: what the service is called there, beside its address
    pub fn network(address: SocketAddr, names: &[String], token: &str) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string()];
        let local = ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned);
        for name in names.iter().chain(&local) {
            hosts.push(format!("{name}:{port}"));
            if port == 443 {
                hosts.push(name.clone());
            }
        }
        Self {
            hosts: Arc::new(hosts),
            token: digest(token),
            scheme: "https",
            hands_out_token: false,
        }
    }

    /// Whether this is the token of this start.
    pub fn knows(&self, token: &str) -> bool {
        digest(token) == self.token
    }

    /// Whether a request brings the token, in its header or, where a page cannot set one, in its
    /// query.
    pub fn lets_in(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let header = headers.get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let query = uri.query().unwrap_or_default().split('&');
        let mut query = query.filter_map(|pair| pair.strip_prefix("token="));
        header
            .or_else(|| query.next())
            .is_some_and(|token| self.knows(token))
    }

    /// Why a request is refused, whatever it wants.
    fn refusal(&self, request: &Request) -> Option<&'static str> {
        let headers = request.headers();
        let host = headers.get(HOST).and_then(|value| value.to_str().ok());
        let is_ours = |host: &str| {
            self.hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(host))
        };
        if !host.is_some_and(is_ours) {
            return Some("This address is not the companion's. Open the link that it printed.");
        }
        // Programs send no Origin; browsers do with every request that could do harm.
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let prefix = format!("{}://", self.scheme);
            if !origin.strip_prefix(&prefix).is_some_and(is_ours) {
                return Some(
                    "Another page may not use the companion. Open the link that it printed.",
                );
            }
        }
        let site = headers.get("sec-fetch-site");
        let site = site.and_then(|value| value.to_str().ok());
        // A link on another page may open the workbench, and nothing else.
        let navigates = headers
            .get("sec-fetch-mode")
            .is_some_and(|mode| mode == "navigate")
            && request.method() == Method::GET;
        match site {
            None | Some("same-origin" | "none") => None,
            Some(_) if navigates => None,
            Some(_) => {
                Some("Another page may not use the companion. Open the link that it printed.")
            }
        }
    }
}

/// Refuses strangers, and tells browsers how to treat the answers.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(&request) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        // With the line above: the page may share memory between its workers.
        ("cross-origin-embedder-policy", "require-corp"),
    ] {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refused(headers: &[(&str, &str)]) -> bool {
        let guard = Guard::loopback(([127, 0, 0, 1], 7878).into(), "secret");
        let mut request = Request::builder().uri("/ws");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        guard.refusal(&request).is_some()
    }

    #[test]
    fn only_its_own_name_its_own_page_and_programs_pass() {
        let own = ("host", "127.0.0.1:7878");
        for good in [
            vec![own],
            vec![("host", "LOCALHOST:7878")],
            vec![("host", "[::1]:7878")],
            vec![own, ("origin", "http://127.0.0.1:7878")],
            vec![own, ("sec-fetch-site", "same-origin")],
            vec![own, ("sec-fetch-site", "none")],
            vec![
                own,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ],
        ] {
            assert!(!refused(&good), "{good:?}");
        }
        for bad in [
            vec![],
            vec![("host", "evil.example:7878")],
            vec![("host", "127.0.0.1")],
            vec![("host", "127.0.0.1:7879")],
            vec![("host", "127.0.0.1:7878.evil.example")],
            vec![own, ("origin", "http://evil.example")],
            vec![own, ("origin", "null")],
            vec![own, ("origin", "https://127.0.0.1:7878")],
            vec![own, ("origin", "http://localhost:3000")],
            vec![own, ("sec-fetch-site", "cross-site")],
            vec![own, ("sec-fetch-site", "same-site")],
        ] {
            assert!(refused(&bad), "{bad:?}");
        }
    }

    #[test]
    fn the_token_comes_in_the_header_or_the_query() {
        let guard = Guard::loopback(([127, 0, 0, 1], 7878).into(), "secret");
        let lets_in = |header: Option<&'static str>, uri: &'static str| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            }
            guard.lets_in(&headers, &Uri::from_static(uri))
        };
        assert!(lets_in(Some("Bearer secret"), "/"), "the header");
        assert!(lets_in(None, "/files/1?x=1&token=secret"), "the query");
        assert!(!lets_in(None, "/files/1"), "none");
        assert!(!lets_in(Some("Bearer secre"), "/"), "a part of it");
        assert!(!lets_in(Some("secret"), "/"), "no Bearer");
        assert!(!lets_in(Some("Bearer "), "/?token="), "an empty one");
    }
}
