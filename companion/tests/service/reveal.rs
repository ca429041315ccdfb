//! Files are shown in their folder.

use mimeo_protocol::{ClientMessage, FileId, Rejection, ServerMessage};

use crate::client::Client;
use crate::companion::Companion;

async fn reveal(client: &mut Client, file: FileId) -> ServerMessage {
    let reveal = |request| ClientMessage::Reveal { request, file };
    client.ask(reveal).await
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_shown() {
    let companion = Companion::start("");
    let mut client = companion.client().await;
    let answer = reveal(&mut client, FileId(7)).await;
    let ServerMessage::Rejected { reason, .. } = answer else {
        panic!("refused: {answer:?}");
    };
    assert!(matches!(reason, Rejection::Missing { .. }), "{reason:?}");
}

/// With a file manager of our own, which notes what it was to open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_folder_of_a_file_is_opened_with_the_file_in_it() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use crate::companion::{command, put_micro, spawn};

    let folder = tempfile::tempdir().unwrap();
    let (data, programs) = (folder.path().join("data"), folder.path().join("programs"));
    std::fs::create_dir(&programs).unwrap();
    put_micro(&data);
    let (process, address) = spawn(command(&data, &[]).env("PATH", &programs));
    let companion = Companion::adopt(process, address, &data);
    let mut client = companion.client().await;
    let job = client.quick_job("眼鏡").await;
    let job = client.submit(job).await;
    client.until_over(job).await;
    let file = client.files(job)[0].id;

    let answer = reveal(&mut client, file).await;
    let ServerMessage::Rejected { reason, .. } = answer else {
        panic!("there is no file manager: {answer:?}");
    };
    assert!(
        reason.to_string().contains("眼鏡.safetensors"),
        "where it is: {reason}"
    );

    let (manager, noted) = (programs.join("xdg-open"), folder.path().join("noted"));
    let script = format!("#!/bin/sh\nprintf '%s' \"$1\" > '{}'\n", noted.display());
    std::fs::write(&manager, script).unwrap();
    std::fs::set_permissions(&manager, std::fs::Permissions::from_mode(0o755)).unwrap();
    let answer = reveal(&mut client, file).await;
    assert!(matches!(answer, ServerMessage::Done { .. }), "{answer:?}");
    let since = Instant::now();
    let opened = loop {
        let opened = std::fs::read_to_string(&noted).unwrap_or_default();
        if !opened.is_empty() || since.elapsed() > Duration::from_secs(10) {
            break opened;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let shown = std::path::Path::new(&opened).join("眼鏡.safetensors");
    assert!(shown.is_file(), "the LoRA by its name: {shown:?}");
}
