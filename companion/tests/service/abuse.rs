//! Frames that are no messages, and clients that do not behave.

use std::time::Duration;

use futures_util::SinkExt as _;
use mimeo_protocol::{
    ClientMessage, JobControl, JobEventKind, MAX_CLIENT_FRAME, PROTOCOL_VERSION, Rejection,
    RequestId, ServerMessage, codec,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{frame, hello, receive};
use crate::companion::Companion;

/// Sends a first message and answers why the client is not let in.
async fn rejected(companion: &Companion, first: Message) -> Rejection {
    let (mut socket, _) = connect_async(format!("{}/ws", companion.ws()))
        .await
        .unwrap();
    socket.send(first).await.unwrap();
    let answer = receive(&mut socket).await;
    let Some(ServerMessage::Rejected { reason, .. }) = answer else {
        panic!("rejected: {answer:?}");
    };
    assert_eq!(receive(&mut socket).await, None, "and closed");
    reason
}

#[tokio::test]
async fn only_a_fitting_hello_is_let_in() {
    let companion = Companion::start("");
    let token = companion.token().await;
    let newer = ClientMessage::Hello {
        protocol: PROTOCOL_VERSION + 1,
        app: "page 9".to_owned(),
        token: token.clone(),
    };
    let reason = rejected(&companion, frame(&newer)).await;
    let said = reason.to_string();
    assert!(
        said.contains("page 9") && said.contains("Update the older"),
        "both versions and what to do: {said}"
    );
    let reason = rejected(&companion, frame(&hello("wrong"))).await;
    assert_eq!(reason, Rejection::Token, "another token");
    let other = ClientMessage::Devices {
        request: RequestId(1),
    };
    let reason = rejected(&companion, frame(&other)).await;
    assert!(matches!(reason, Rejection::NoHello { .. }), "{reason:?}");
    let reason = rejected(&companion, Message::Binary(vec![0xc1].into())).await;
    assert!(
        matches!(reason, Rejection::Undecodable { .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let companion = Companion::start("");
    let (mut socket, _) = connect_async(format!("{}/ws", companion.ws()))
        .await
        .unwrap();
    let answer = receive(&mut socket).await;
    assert!(
        matches!(
            answer,
            Some(ServerMessage::Rejected {
                reason: Rejection::NoHello { .. },
                ..
            })
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_connection_lives_on() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let whole = codec::encode(&ClientMessage::Devices {
        request: RequestId(3),
    });
    let bad = [
        Message::Binary(Vec::new().into()),
        Message::Binary(vec![0xff; 100].into()),
        Message::Binary(whole[..whole.len() / 2].to_vec().into()),
        Message::Binary(vec![0xdd, 0xff, 0xff, 0xff, 0xff].into()),
        // A message that a later protocol may have.
        Message::Binary(codec::encode(&serde_json::json!({"dance": {"request": 1}})).into()),
        // Nested so deeply that a careless decoder overflows its stack.
        Message::Binary(vec![0x91; 100_000].into()),
        Message::Text("hello".into()),
        Message::Binary(vec![0; MAX_CLIENT_FRAME + 1].into()),
    ];
    for message in bad {
        let shown = format!("{:.60}", format!("{message:?}"));
        client.socket.send(message).await.unwrap();
        let answer = receive(&mut client.socket).await;
        let Some(ServerMessage::Rejected {
            request: None,
            reason: Rejection::Undecodable { .. } | Rejection::TooLarge { .. },
        }) = answer
        else {
            panic!("{shown} is answered: {answer:?}");
        };
    }
    let devices = client
        .ask(|request| ClientMessage::Devices { request })
        .await;
    assert!(
        matches!(devices, ServerMessage::Devices { .. }),
        "{devices:?}"
    );
}

#[tokio::test]
async fn an_enormous_or_torn_frame_ends_only_its_own_connection() {
    let companion = Companion::start("");
    let mut other = companion.client().await;
    let mut client = companion.client().await;
    // The server may close before all of it is sent.
    _ = client
        .socket
        .send(Message::Binary(vec![0; 64 << 20].into()))
        .await;
    assert_eq!(receive(&mut client.socket).await, None, "closed");

    // Half of a WebSocket frame, then nothing, then the line is cut.
    let token = companion.token().await;
    let mut raw = TcpStream::connect(&companion.address).await.unwrap();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        companion.address
    );
    raw.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    raw.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101", "upgraded");
    let payload = codec::encode(&hello(&token));
    raw.write_all(&[0x82, 0x80 | 126]).await.unwrap();
    raw.write_all(&(payload.len() as u16).to_be_bytes())
        .await
        .unwrap();
    raw.write_all(&[0; 4]).await.unwrap();
    raw.write_all(&payload[..payload.len() / 2]).await.unwrap();
    drop(raw);

    let devices = other
        .ask(|request| ClientMessage::Devices { request })
        .await;
    assert!(
        matches!(devices, ServerMessage::Devices { .. }),
        "{devices:?}"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_nothing_and_holds_up_nobody() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let job = client.quick_job("before").await;
    let id = client.submit(job.clone()).await;
    client.until_over(id).await;
    // Twenty that are let in, ask for the history again and again, and read none of it.
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut silent = companion.client().await;
        for number in 0..200 {
            let again = ClientMessage::Resync {
                request: RequestId(1000 + number),
                job: id,
                after: 0,
            };
            // Once the server waits for the client, this waits for the server.
            let sent = silent.socket.send(frame(&again));
            if tokio::time::timeout(Duration::from_millis(50), sent)
                .await
                .is_err()
            {
                break;
            }
        }
        deaf.push(silent);
    }
    let before = companion.memory();
    let long = client.long_job("long").await;
    let long = client.submit(long).await;
    client
        .until(long, |kind| matches!(kind, JobEventKind::Losses { .. }))
        .await;
    for _ in 0..100 {
        client.next().await;
    }
    let grown = companion.memory().saturating_sub(before);
    assert!(
        grown < 400 << 20,
        "training itself takes some 300 MiB: {} MiB",
        grown >> 20
    );
    let settled = companion.memory();
    for _ in 0..100 {
        client.next().await;
    }
    let grown = companion.memory().saturating_sub(settled);
    assert!(
        grown < 16 << 20,
        "a second hundred events took {} MiB",
        grown >> 20
    );
    client.control(long, JobControl::Discard).await;
    client.until_over(long).await;
    drop(deaf);
}
