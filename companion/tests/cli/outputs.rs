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

#[test]
fn a_folder_is_no_file_to_write() {
    let desk = Desk::new();
    fs::create_dir(desk.path("results")).expect("a folder");
    for (command, place) in [
        (format!("train {QUICK}"), "results"),
        (format!("train {QUICK} --overwrite"), "results"),
        (format!("train {QUICK}"), "results/"),
        ("sample --prompt p".to_owned(), "results"),
    ] {
        let sentence = desk.refused(&format!("{command} --out {place}"), 2);
        assert!(
            sentence.contains("a folder; put a file's name behind it"),
            "{place}: {sentence}"
        );
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

#[test]
fn an_input_is_never_an_output_whatever_it_is_called() {
    let desk = Desk::new();
    let weights = "base/unet/diffusion_pytorch_model.safetensors";
    for (path, bytes) in mimeo_base::files() {
        desk.put(&format!("base/{path}"), bytes);
    }
    desk.put("lora.safetensors", trained());
    fs::hard_link(desk.path("lora.safetensors"), desk.path("hard.safetensors")).expect("a link");
    desk.put("recipe.safetensors", trained());
    fs::create_dir(desk.path("in")).expect("a folder");
    let quick = |more: &str| format!("train {QUICK} --overwrite {more}");
    let mut commands = vec![
        (quick("--out a.png"), "--original"),
        (quick("--out in/../b.png"), "--target"),
        (quick("--out mask.png"), "--mask"),
        (
            quick("--recipe recipe.safetensors --out recipe.safetensors"),
            "--recipe",
        ),
        (
            quick("--recipe lora.safetensors --out ./hard.safetensors"),
            "--recipe",
        ),
        (
            quick("--method copier --copier lora.safetensors --out lora.safetensors"),
            "--copier",
        ),
        (
            quick("--method copier --out x.safetensors --save-copier a.png"),
            "--original",
        ),
        (quick(&format!("--base base --out {weights}")), "--base"),
        (
            "grid --lora lora.safetensors --out lora.safetensors --overwrite".to_owned(),
            "--lora",
        ),
        (
            "sample --prompt p --lora lora.safetensors:0.5 --out hard.safetensors --overwrite"
                .to_owned(),
            "--lora",
        ),
    ];
    #[cfg(unix)]
    {
        let link = desk.path("link.png");
        std::os::unix::fs::symlink(desk.path("a.png"), link).expect("a link");
        commands.push((quick("--out link.png"), "--original"));
    }
    for (command, flag) in commands {
        let sentence = desk.refused(&command, 2);
        assert!(
            sentence.contains(&format!("{flag} reads this")) && sentence.contains("another name"),
            "{command}: {sentence}"
        );
    }
    // A companion is sent the same files.
    let remote = quick("--remote ws://127.0.0.1:1 --out a.png");
    let sentence = desk.refused(&remote, 2);
    assert!(sentence.contains("--original reads this"), "{sentence}");
}

#[test]
fn a_result_has_the_ending_that_other_programs_look_for() {
    let desk = Desk::new();
    desk.put("lora.safetensors", trained());
    let long = "x".repeat(300);
    for (command, words) in [
        (format!("train {QUICK} --out noext"), "ends in .safetensors"),
        (
            format!("train {QUICK} --out x.ckpt"),
            "ends in .safetensors",
        ),
        (format!("train {QUICK} --out x.png"), "ends in .safetensors"),
        (
            format!("train {QUICK} --out x.safetensors/"),
            "this names a folder",
        ),
        (
            format!("train {QUICK} --out {long}.safetensors"),
            "this name cannot be used",
        ),
        (
            format!("train {QUICK} --method copier --out x.safetensors --save-copier c.bin"),
            "ends in .safetensors",
        ),
        ("sample --prompt p --out x.jpg".to_owned(), "ends in .png"),
        (
            "grid --lora lora.safetensors --out sheet".to_owned(),
            "ends in .png",
        ),
    ] {
        let sentence = desk.refused(&command, 2);
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
}

#[test]
fn two_results_never_share_a_file() {
    let desk = Desk::new();
    for copier in ["x.safetensors", "./x.safetensors", "X.safetensors"] {
        let sentence = desk.refused(
            &format!(
                "train {QUICK} --method copier --overwrite --out x.safetensors --save-copier {copier}"
            ),
            2,
        );
        assert!(sentence.contains("two results"), "{sentence}");
    }
    let sentence = desk.refused(
        "sample --prompt p --count 2 --seed 18446744073709551615 --out x.png",
        2,
    );
    assert!(sentence.contains("Lower --seed or --count"), "{sentence}");
}

#[test]
fn a_run_that_explodes_at_once_leaves_the_old_file_and_says_so() {
    let desk = Desk::new();
    desk.put("good.safetensors", trained());
    let sentence = desk.refused(
        "train --method addift --overwrite --steps 20 --lr 1 --clip off --schedule constant \
         --device cpu --original a.png --target b.png --out good.safetensors",
        1,
    );
    for words in [
        "exploded",
        "nothing was trained that is worth keeping",
        "Lower the learning rate",
    ] {
        assert!(sentence.contains(words), "{words:?} in: {sentence}");
    }
}

#[test]
fn a_run_that_learns_nothing_writes_nothing_and_says_so() {
    let desk = Desk::new();
    desk.put("good.safetensors", trained());
    // The first step of a warm-up has a learning rate of 0.
    let sentence = desk.refused(
        &format!("train {QUICK} --steps 1 --warmup 1 --overwrite --out good.safetensors"),
        1,
    );
    assert!(
        sentence.contains("still changes nothing") && sentence.contains("shorten the warm-up"),
        "{sentence}"
    );
}

#[test]
fn what_a_run_kept_that_broke_down_replaces_nothing() {
    let desk = Desk::new();
    desk.put("good.safetensors", trained());
    let exploding = |out: &str| desk.train(&format!("{EXPLODES_LATE} --overwrite --out {out}"));
    let ran = exploding("good.safetensors");
    assert_eq!(ran.exit, Some(1), "{}", ran.stderr);
    assert!(
        ran.error().contains("the weights of step"),
        "{}",
        ran.stderr
    );
    let kept = desk.path("good_broken_down.safetensors");
    assert!(
        ran.stdout.contains("good_broken_down.safetensors"),
        "where it is: {}",
        ran.stdout
    );
    let good = fs::read(desk.path("good.safetensors")).expect("the old file");
    assert!(good == trained(), "it is as it was");

    let step: u32 = read_lora(&kept).metadata["ss_steps"]
        .parse()
        .expect("a step");
    assert!(
        step > 0
            && ran
                .error()
                .contains(&format!("the weights of step {step} are kept")),
        "the file says which step it is of, {step}: {}",
        ran.stderr
    );
    let first = exploding("free.safetensors");
    assert_eq!(first.exit, Some(1), "{}", first.stderr);
    let free = read_lora(&desk.path("free.safetensors"));
    assert!(
        free.modules == read_lora(&kept).modules,
        "where nothing was, it has its place"
    );
}

/// A learning rate that rises so slowly that some good weights are kept before it is too high.
const EXPLODES_LATE: &str = "--steps 300 --lr 1 --warmup 1000";

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
