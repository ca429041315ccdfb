//! As much of HTTP as a service on this computer needs to be asked for a file.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A service that says nothing for so long says nothing any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a service answered.
#[derive(Debug)]
pub struct Response {
    /// What kind of file it is.
    pub kind: String,
    /// The file.
    pub body: Vec<u8>,
}

/// Asks for a path; an error if it is not there.
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The old version, whose answers come in one piece and end with the connection.
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    read(&answer).with_context(|| format!("http://{address}/{path}"))
}

fn read(answer: &[u8]) -> Result<Response> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END);
    let end = end.context("what answers is no web server")?;
    let (head, body) = (
        String::from_utf8_lossy(&answer[..end]),
        &answer[end + END.len()..],
    );
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    if status != Some("200") {
        bail!("the answer is {}, not the file", status.unwrap_or("none"));
    }
    let header = |wanted: &str| {
        let mut named = lines.clone().filter_map(|line| line.split_once(':'));
        let found = named.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned())
    };
    if let Some(length) = header("content-length")
        && length.parse() != Ok(body.len())
    {
        bail!("{} of {length} bytes came", body.len());
    }
    Ok(Response {
        kind: header("content-type").unwrap_or_default(),
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_kind() {
        let answer =
            read(b"HTTP/1.0 200 OK\r\nContent-Type: text/css\r\ncontent-length: 2\r\n\r\na{")
                .unwrap();
        assert_eq!(answer.kind, "text/css", "from its header");
        assert_eq!(answer.body, b"a{", "what follows the headers");
    }

    #[test]
    fn what_is_missing_or_cut_off_is_an_error() {
        for bad in [
            &b"HTTP/1.0 404 Not Found\r\n\r\nno"[..],
            b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nno",
            b"SSH-2.0\r\n",
        ] {
            read(bad).unwrap_err();
        }
    }
}
