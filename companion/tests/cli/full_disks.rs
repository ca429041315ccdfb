//! Every disk is full, the one of the temporary folder too: the result waits.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use crate::desk::{Desk, QUICK, Ran, read_lora};

/// A training whose files may take 4 KiB, which stands for a disk that is full everywhere. The limit
/// can be lifted.
fn without_room(desk: &Desk, more: &str) -> Child {
    let program = desk.mimeo(&format!("train {QUICK} --out x.safetensors {more}"));
    Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f 8; exec "$0" "$@""#])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(desk.path(""))
        .env("TMPDIR", desk.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell")
}

#[test]
fn when_nothing_can_take_the_result_it_waits_and_is_written_when_there_is_room() {
    let desk = Desk::new();
    let before = desk.files();
    let mut child = without_room(&desk, "");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    let mut line = String::new();
    while !line.contains("it waits in memory") {
        line.clear();
        let read = stderr.read_line(&mut line).expect("UTF-8");
        assert!(read > 0, "the run ended instead of waiting");
    }
    assert!(
        line.contains("Free some space") && line.trim_end().ends_with(r#""x.safetensors""#),
        "what to do: {line}"
    );
    assert!(before == desk.files(), "nothing half-written stays");

    let pid = child.id().to_string();
    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited:", "--pid", &pid])
        .status();
    if !lifted.is_ok_and(|status| status.success()) {
        child.kill().expect("it waits still");
        child.wait().expect("it is gone");
        panic!("prlimit of util-linux lifts the limit");
    }
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.exit, Some(0), "{rest}");
    assert!(
        ran.stdout.contains(r#"Saved the LoRA to "x.safetensors""#),
        "{}",
        ran.stdout
    );
    read_lora(&desk.path("x.safetensors"));
    assert_eq!(desk.files().len(), before.len() + 1, "and nothing else");
}

#[test]
fn a_result_that_waits_is_told_to_machines_and_given_up_with_ctrl_c() {
    let desk = Desk::new();
    let before = desk.files();
    let mut child = without_room(&desk, "--json");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let waiting = stdout.find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        (event["event"] == "waiting").then_some(event)
    });
    let message = waiting.expect("it waits")["message"].to_string();
    assert!(message.contains("waits in memory"), "{message}");
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.is_ok_and(|status| status.success()), "Ctrl+C");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.exit, Some(130), "{}", ran.stderr);
    assert!(
        ran.error().contains("nothing more was saved"),
        "{}",
        ran.stderr
    );
    assert!(before == desk.files(), "nothing half-written stays");
}

/// Needs `script`, which gives the program a terminal, and a small file system of its own; says so
/// where there is none.
#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn whoever_sees_that_a_result_waits_can_name_another_place() {
    let own_disk = ["--map-root-user", "--mount"];
    let can_mount = Command::new("unshare").args(own_disk).arg("true").status();
    let can_type = Command::new("script").arg("--version").output();
    if !can_mount.is_ok_and(|status| status.success()) || can_type.is_err() {
        println!("SKIPPED: no terminal, or no small disk, can be given to a program here.");
        return;
    }
    let desk = Desk::new();
    fs::create_dir(desk.path("small")).expect("a folder");
    let program = desk.mimeo("").get_program().to_string_lossy().into_owned();
    let inside = format!(
        "mount -t tmpfs -o size=64k none small && TMPDIR=small exec {program} train {QUICK} --out small/x.safetensors"
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("unshare --map-root-user --mount sh -c '{inside}'"))
        .arg("/dev/null")
        .current_dir(desk.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a terminal");
    let mut typed = child.stdin.take().expect("stdin is a pipe");
    let mut screen = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut until = |words: &str| {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(words) {
            let mut byte = [0];
            let read = screen.read(&mut byte).expect("the screen");
            assert!(read > 0, "{words:?} in: {}", String::from_utf8_lossy(&seen));
            seen.extend(byte);
        }
    };
    until("type another name and press Enter");
    // What is there already is not given up for it, and neither is the ending.
    for (name, answer) in [
        ("a.png\n", "ends in .safetensors"),
        ("nowhere/x.safetensors\n", "no such folder"),
        (
            "kept.safetensors\n",
            r#"Saved the LoRA to "kept.safetensors""#,
        ),
    ] {
        typed.write_all(name.as_bytes()).expect("a keyboard");
        until(answer);
    }
    drop(typed);
    let ended = child.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
    read_lora(&desk.path("kept.safetensors"));
}
