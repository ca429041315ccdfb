//! Where results go: never over something else, never half, never lost.

use std::fs;

use crate::desk::{Desk, QUICK, Ran, read_lora, trained};

#[test]
fn an_existing_file_is_never_overwritten_silently() {
    let desk = Desk::new();
    desk.put("x.safetensors", "precious");
    desk.put("x.png", "precious");
    desk.put("lora.safetensors", trained());
    for command in [
        format!("train {QUICK} --out x.safetensors"),
        format!("train {QUICK} --method copier --out y.safetensors --save-copier x.safetensors"),
        "sample --prompt p --out x.png".to_owned(),
        "grid --lora lora.safetensors --out x.png".to_owned(),
    ] {
        let sentence = desk.refused(&command, 2);
        assert!(sentence.contains("--overwrite"), "what to do: {sentence}");
    }
}

#[test]
fn overwrite_replaces_the_file_once_the_new_one_is_complete() {
    let desk = Desk::new();
    desk.put("x.safetensors", "old");
    desk.train("--out x.safetensors --overwrite").done();
    read_lora(&desk.path("x.safetensors"));
    let names: Vec<_> = desk.files().into_keys().collect();
    assert_eq!(names.len(), 4, "no temporary file is left: {names:?}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_training() {
    let desk = Desk::new();
    let mut places = vec!["nowhere/x.safetensors", "a.png/x.safetensors", "."];
    if cfg!(target_os = "linux") {
        // Even root cannot create files there.
        places.push("/proc/x.safetensors");
    }
    for place in places {
        let sentence = desk.refused(&format!("train {QUICK} --out {place}"), 2);
        assert!(!sentence.contains("Device"), "before any work: {sentence}");
    }
}

#[cfg(unix)]
#[test]
fn a_device_is_not_replaced_by_a_file() {
    let desk = Desk::new();
    let sentence = desk.refused(&format!("train {QUICK} --out /dev/null --overwrite"), 2);
    assert!(
        sentence.contains("something else than a file"),
        "{sentence}"
    );
}

/// The limit on the size of files stands for a disk that is full everywhere.
#[cfg(unix)]
#[test]
fn when_nothing_can_take_the_result_one_sentence_says_so_and_nothing_is_left() {
    let desk = Desk::new();
    let before = desk.files();
    let program = desk.mimeo(&format!("train {QUICK} --out x.safetensors"));
    let limited = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(desk.path(""))
        .env("TMPDIR", desk.path(""))
        .output();
    let ran = Ran::from(limited.expect("a shell"));
    assert_eq!(ran.exit, Some(1), "{}", ran.stderr);
    let sentence = ran.error();
    assert!(
        sentence.contains("make room and run this again"),
        "what to do: {sentence}"
    );
    assert!(before == desk.files(), "nothing half-written stays");
}

/// Needs the right to mount a small file system; says so where it has not.
#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn when_the_disk_is_full_the_result_is_kept_elsewhere() {
    let desk = Desk::new();
    let small = desk.path("small");
    fs::create_dir(&small).expect("a folder");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&small)
        .output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("SKIPPED: a small file system cannot be mounted here, so no disk can be full.");
        return;
    }
    let kept = desk.path("kept");
    fs::create_dir(&kept).expect("a folder");
    let output = desk
        .mimeo(&format!("train {QUICK} --out small/x.safetensors"))
        .env("TMPDIR", &kept)
        .output();
    let left = fs::read_dir(&small).expect("the small disk").count();
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(
        unmounted.is_ok_and(|status| status.success()),
        "the small disk goes away"
    );

    let ran = Ran::from(output.expect("the program starts"));
    assert_eq!(ran.exit, Some(1), "{}", ran.stderr);
    assert!(ran.error().contains("the disk is full"), "{}", ran.stderr);
    assert_eq!(left, 0, "nothing half-written stays");
    let rescued = fs::read_dir(&kept).expect("the other disk").next();
    read_lora(
        &rescued
            .expect("the result is kept")
            .expect("an entry")
            .path(),
    );
}
