//! Who may talk to the companion: the rows of the README's table, on the real thing.

use std::process::Command;

use mimeo_protocol::ServerMessage;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::client::{blob_id, frame, hello, receive};
use crate::companion::Companion;
#[cfg(feature = "tls")]
use crate::companion::spawn;
use crate::http;

/// The status that a WebSocket request with these headers is answered with.
async fn upgrade_status(companion: &Companion, headers: &[(&'static str, String)]) -> u16 {
    let mut request = format!("{}/ws", companion.ws())
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    match connect_async(request).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn other_pages_and_other_names_are_refused() {
    let companion = Companion::start("");
    let own = format!("http://{}", companion.address);
    let port = companion.address.rsplit(':').next().unwrap();
    for (headers, status) in [
        (vec![], 101),
        (vec![("origin", own.clone())], 101),
        (vec![("origin", "http://evil.example".to_owned())], 403),
        (vec![("origin", "null".to_owned())], 403),
        (vec![("origin", format!("http://evil.example:{port}"))], 403),
        (vec![("host", format!("evil.example:{port}"))], 403),
        (vec![("host", format!("localhost:{port}"))], 101),
        (vec![("sec-fetch-site", "cross-site".to_owned())], 403),
    ] {
        assert_eq!(
            upgrade_status(&companion, &headers).await,
            status,
            "{headers:?}"
        );
    }
    // Every route, not only the socket.
    for path in ["/", "/token", "/health", "/files/1", "/previews/bundled"] {
        for (name, value) in [
            ("host", format!("evil.example:{port}")),
            ("origin", "http://evil.example".to_owned()),
            ("sec-fetch-site", "cross-site".to_owned()),
        ] {
            let answer = http::get(&companion.http(path), &[(name, value)]).await;
            assert_eq!(answer.status, 403, "{path} with another {name}");
        }
    }
}

#[tokio::test]
async fn pictures_and_files_need_the_token() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_job("secret").await;
    let original = job.original;
    let id = client.submit(job).await;
    client.until_over(id).await;
    let file = client.files(id)[0].id;
    let picture = mimeo_base::pairs()[0].original_png;
    for path in [format!("/files/{file}"), format!("/blobs/{original}")] {
        let url = companion.http(&path);
        assert_eq!(http::get(&url, &[]).await.status, 401, "{path}");
        let wrong = http::get(&url, &[http::bearer("wrong")]).await;
        assert_eq!(wrong.status, 401, "{path}");
        let token = companion.token().await;
        let query = http::get(&format!("{url}?token={token}"), &[]).await;
        assert_eq!(query.status, 200, "{path} as a link of the page");
    }
    let url = companion.http(&format!("/blobs/{}", blob_id(picture)));
    let put = http::put(&url, &[], picture).await;
    assert_eq!(put.status, 401, "no upload without it");
}

#[tokio::test]
async fn a_token_is_that_of_one_start() {
    let mut companion = Companion::start("");
    let old = companion.token().await;
    companion.kill_and_restart();
    assert_ne!(companion.token().await, old, "another start");
    let (mut socket, _) = connect_async(format!("{}/ws", companion.ws()))
        .await
        .unwrap();
    futures_util::SinkExt::send(&mut socket, frame(&hello(&old)))
        .await
        .unwrap();
    let answer = receive(&mut socket).await;
    assert!(
        matches!(answer, Some(ServerMessage::Rejected { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn answers_forbid_scripts_from_elsewhere_and_framing() {
    let companion = Companion::start("");
    let answer = http::get(&companion.http("/"), &[]).await;
    assert_eq!(answer.status, 200, "the page");
    let policy = answer.headers["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(
        !policy.contains("'unsafe-inline'"),
        "nothing inline: {policy}"
    );
    assert!(
        !answer.headers.contains_key("access-control-allow-origin"),
        "nobody else reads it"
    );
    assert_eq!(
        answer.headers["cross-origin-resource-policy"], "same-origin",
        "nobody else embeds it"
    );
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let companion = Companion::start("");
    let token = companion.token().await;
    for path in [
        "/files/..%2f..%2fmimeo.db",
        "/files/../mimeo.db",
        "/files/1/../../mimeo.db",
        "/files/-1",
        "/blobs/..%2fmimeo.db",
        "/blobs/%2e%2e",
        "/blobs/..",
        "/../Cargo.toml",
        "/..%2fCargo.toml",
        "/%2e%2e/Cargo.toml",
        "//etc/passwd",
        "/etc/passwd",
    ] {
        // By hand, because clients tidy such paths up before they send them.
        let mut raw = TcpStream::connect(&companion.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            companion.address
        );
        raw.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        raw.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404", "{path}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn on_the_network_everything_is_behind_tls_and_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    for (name, bytes) in [
        ("a.png", mimeo_base::pairs()[0].original_png),
        ("b.png", mimeo_base::pairs()[0].target_png),
    ] {
        std::fs::write(path(name), bytes).unwrap();
    }
    let (mut companion, address) = spawn(
        Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args("serve --json --no-open --device cpu --listen 127.0.0.1:0".split(' '))
            .args([
                "--token",
                SECRET,
                "--tls-cert",
                "cert.pem",
                "--tls-key",
                "key.pem",
            ])
            .args(["--host-name", "localhost", "--data", "data"])
            .current_dir(folder.path()),
    );
    let port = address.rsplit(':').next().unwrap();
    let train = |token: &str| {
        Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args("train --original a.png --target b.png --method addift --steps 2".split(' '))
            .args(["--no-score", "--no-calibrate", "--out", "x.safetensors"])
            .args([
                "--remote",
                &format!("wss://localhost:{port}"),
                "--token",
                token,
            ])
            // A certificate that nobody signed, trusted for this call.
            .env("SSL_CERT_FILE", path("cert.pem"))
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let wrong = train("fedcba9876543210");
    assert_eq!(wrong.status.code(), Some(2), "another token");
    let ran = train(SECRET);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let plain = Command::new(env!("CARGO_BIN_EXE_mimeo"))
        .args("train --original a.png --target b.png --out y.safetensors --remote".split(' '))
        .args([&format!("ws://localhost:{port}"), "--token", SECRET])
        .current_dir(folder.path())
        .output()
        .unwrap();
    companion.kill().unwrap();
    companion.wait().unwrap();
    assert!(ran.status.success(), "trained over TLS: {said}");
    assert!(path("x.safetensors").is_file(), "and downloaded");
    assert_eq!(plain.status.code(), Some(2), "nothing without TLS");
}

#[cfg(feature = "tls")]
const SECRET: &str = "0123456789abcdef";

#[cfg(feature = "tls")]
#[test]
fn beyond_this_computer_only_with_token_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |more: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args(["serve", "--no-open", "--data"])
            .arg(folder.path())
            .args(more)
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{more:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    let said = serve(&["--listen", "0.0.0.0:0"]);
    assert!(said.contains("--token"), "what is missing: {said}");
    let said = serve(&["--listen", "0.0.0.0:0", "--token", "0123456789abcdef"]);
    assert!(said.contains("--tls-cert"), "what is missing: {said}");
    let tls = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
    let short = [&["--listen", "127.0.0.1:0", "--token", "short"], &tls[..]].concat();
    assert!(
        serve(&short).contains("16 characters"),
        "a token that can be guessed"
    );
    assert!(
        serve(&["--token", "0123456789abcdef"]).contains("--listen"),
        "only with it"
    );
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_nothing_leaves_this_computer() {
    let folder = tempfile::tempdir().unwrap();
    let pair = &mimeo_base::pairs()[0];
    std::fs::write(folder.path().join("a.png"), pair.original_png).unwrap();
    std::fs::write(folder.path().join("b.png"), pair.target_png).unwrap();
    for command in [
        "serve --no-open --data data --listen 0.0.0.0:0",
        "serve --no-open --data data --listen 127.0.0.1:0 --token 0123456789abcdef \
         --tls-cert c.pem --tls-key k.pem",
        "train --original a.png --target b.png --out x.safetensors --remote wss://localhost:1",
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_mimeo"))
            .args(command.split_whitespace())
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{command}");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        for part in [
            "without TLS",
            "cargo xtask run",
            "cargo build --features tls",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
