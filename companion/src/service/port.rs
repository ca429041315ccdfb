//! Getting the port, or saying who has it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::http::Health;
use crate::exit::BadInput;
use crate::remote::Http;

/// Whoever has the port answers within this, or is no Mimeo.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Listens at an address.
///
/// # Errors
/// When it is taken, by whom; or cannot be used.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, BadInput> {
    let error = match bind(address) {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Err(BadInput(format!(
            "{address} cannot be listened at ({error}). Choose another port with --port."
        )));
    }
    if let Some(version) = mimeo_at(address).await {
        return Err(BadInput(format!(
            "Mimeo {version} is running at this port already. Open http://{address}/, or choose another port with --port (0 for any)."
        )));
    }
    let by = owner(address.port()).map_or(String::new(), |owner| format!(" by {owner}"));
    Err(BadInput(format!(
        "port {} is taken{by}. End that program, or choose another port with --port (0 for any).",
        address.port()
    )))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The version of the Mimeo that has the port, if it is one.
#[expect(clippy::disallowed_methods, reason = "it asks a port of this computer")]
async fn mimeo_at(address: SocketAddr) -> Option<String> {
    let http = Http::new().ok()?;
    let text = async {
        let health = format!("http://{address}/health");
        http.get(&health, None).await?.text().await
    };
    let text = tokio::time::timeout(ANSWER_WITHIN, text).await.ok()?.ok()?;
    let health: Health = serde_json::from_str(&text).ok()?;
    (health.program == "mimeo").then_some(health.version)
}

/// Name and number of the process that listens, where the system tells.
#[cfg(target_os = "linux")]
fn owner(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    let is_socket = |link: &std::path::Path| {
        let link = link.to_string_lossy();
        let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?;
        inodes.iter().find(|known| *known == inode).map(drop)
    };
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let mut links = files
            .flatten()
            .flat_map(|file| std::fs::read_link(file.path()));
        if links.any(|link| is_socket(&link).is_some()) {
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            let number = process.file_name();
            return Some(format!(
                "{} (process {})",
                name.trim(),
                number.to_string_lossy()
            ));
        }
    }
    None
}

/// Elsewhere the system's own tools tell.
#[cfg(not(target_os = "linux"))]
fn owner(_port: u16) -> Option<String> {
    None
}

/// Inodes of the sockets that listen at a port, from Linux' table of sockets.
#[cfg(any(target_os = "linux", test))]
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let lines = table.lines().skip(1);
    let inodes = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else {
            return None;
        };
        let (_, hex) = local.rsplit_once(':')?;
        let is_it = state == LISTEN && u16::from_str_radix(hex, 16) == Ok(port);
        is_it.then(|| inode.to_owned())
    });
    inodes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1EC6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            1: 0100007F:1EC6 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
        assert_eq!(
            listening_inodes(table, 7878),
            ["4711"],
            "not the connected one"
        );
        assert!(listening_inodes(table, 80).is_empty(), "another port");
    }
}
