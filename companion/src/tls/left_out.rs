//! No TLS: what would need it is refused.

use axum::Router;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::service::Network;

/// What opens the connections of a client.
pub type Connector = HttpConnector;

/// Connections without TLS.
///
/// # Errors
/// None here.
pub fn connector() -> anyhow::Result<Connector> {
    Ok(super::tcp())
}

/// Serves nobody.
///
/// # Errors
/// Always.
pub async fn serve(
    _listener: std::net::TcpListener,
    _network: Network,
    _router: Router,
    _end: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    Ok(super::needed_for("--listen")?)
}
