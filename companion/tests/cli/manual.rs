//! What shells and `man` are told.

use crate::desk::Desk;

#[test]
fn every_shell_is_told_the_commands_and_their_flags() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = desk.run(&format!("completions {shell}")).done();
        for word in ["train", "--original", "copier", "bench"] {
            // Shells differ in how they write the dashes.
            let word = word.trim_start_matches('-');
            assert!(ran.stdout.contains(word), "{word} for {shell}");
        }
        assert_eq!(ran.stderr, "", "{shell}");
    }
}

#[test]
fn the_manual_has_a_page_for_the_program_and_one_for_every_command() {
    let desk = Desk::new();
    let main = desk.run("man").done().stdout;
    assert!(main.contains(".TH mimeo 1"), "a page for man:\n{main}");
    assert!(main.contains(r"mimeo\-train(1)"), "it names the others");
    let page = desk.run("man train").done().stdout;
    assert!(
        page.contains(r"\-\-original"),
        "the flags of train:\n{page}"
    );
    desk.run("man bench-methods").done();
    let page = desk.run("man copier").done().stdout;
    for words in [
        r"\-\-kind",
        "Kinds of copiers",
        "draws anything in that style",
    ] {
        assert!(page.contains(words), "{words} in:\n{page}");
    }
}

#[test]
fn a_page_that_is_not_there_is_refused_with_those_that_are() {
    let sentence = Desk::new().refused("man paint", 2);
    assert!(sentence.contains("train"), "{sentence}");
}

#[test]
fn what_is_for_shells_does_not_stand_in_the_help() {
    let help = Desk::new().run("--help").done().stdout;
    assert!(!help.contains("completions"), "{help}");
}
