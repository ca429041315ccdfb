//! rustls, with the system's certificates.

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::exit::BadInput;
use crate::service::Network;

/// What opens the connections of a client.
pub type Connector = HttpsConnector<HttpConnector>;

/// Connections with TLS for `https://`, without it for `http://`.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn connector() -> anyhow::Result<Connector> {
    // What the socket's own TLS asks for.
    install();
    let mut tcp = super::tcp();
    tcp.enforce_http(false);
    let cryptography = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(cryptography)?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

/// Serves until `end` resolves and the connections are done.
///
/// # Errors
/// When the certificate cannot be used or the listener fails.
pub async fn serve(
    listener: std::net::TcpListener,
    network: Network,
    router: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    install();
    let loaded = RustlsConfig::from_pem_file(&network.certificate, &network.key).await;
    let config = loaded.map_err(|error| {
        let why = format!(
            "this certificate and its key cannot be used ({error}); both must be PEM files"
        );
        BadInput::file(why, &network.certificate)
    })?;
    let handle = Handle::new();
    let ended = handle.clone();
    tokio::spawn(async move {
        end.await;
        ended.graceful_shutdown(None);
    });
    // Small messages would otherwise wait for the answer to the one before, some 40 ms.
    let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
    let server = axum_server::from_tcp(listener)?.acceptor(acceptor);
    let service = router.into_make_service();
    Ok(server.handle(handle).serve(service).await?)
}

/// Chooses the cryptography under TLS: of the two that rustls offers, the one that is built with a C
/// compiler alone.
fn install() {
    // An error means that it is installed already.
    _ = rustls::crypto::ring::default_provider().install_default();
}
