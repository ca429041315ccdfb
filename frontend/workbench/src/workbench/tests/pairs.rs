//! The set of pairs: what it holds, what moves, and that one pair is as it was.

use mimeo_protocol::{Level, Weight};

use super::*;
use crate::workbench::{NewPair, Pair, PairsCommand};

fn new_pair(name: &str, colour: [u8; 3]) -> NewPair {
    NewPair {
        original: Some(picture(&format!("{name}-a"), None)),
        target: Some(picture(&format!("{name}-b"), Some(colour))),
        ..NewPair::default()
    }
}

/// A bench with three pairs, the first of them on the stage.
fn three() -> Workbench {
    let mut bench = Workbench::default();
    let pairs = ["1", "2", "3"].iter().zip([60, 120, 180]);
    let pairs = pairs.map(|(name, red)| new_pair(name, [red, 9, 9]));
    apply(
        &mut bench,
        Command::Pairs(PairsCommand::Add(pairs.collect())),
    );
    bench
}

fn pairs(bench: &mut Workbench, command: PairsCommand) -> Change {
    apply(bench, Command::Pairs(command))
}

/// Names of the pictures, row by row; "·" for none.
fn names(bench: &Workbench) -> Vec<String> {
    let name = |pair: &Pair, slot| {
        let picture = pair.picture(slot);
        picture.map_or("·".to_owned(), |picture| picture.name.clone())
    };
    let rows = bench.set().pairs().iter();
    rows.map(|pair| Slot::ALL.map(|slot| name(pair, slot)).join(" "))
        .collect()
}

#[test]
fn pairs_that_are_added_take_the_place_of_an_empty_bench_and_go_in_one_step() {
    let mut bench = three();
    assert_eq!(
        names(&bench),
        ["1-a 1-b", "2-a 2-b", "3-a 3-b"],
        "in their order"
    );
    assert_eq!(bench.set().chosen(), 0, "the first is looked at first");
    pairs(
        &mut bench,
        PairsCommand::Add(vec![new_pair("4", [1, 2, 3])]),
    );
    assert_eq!(names(&bench)[3], "4-a 4-b", "behind them");
    assert_eq!(bench.set().chosen(), 3, "and it is on the stage");
    apply(&mut bench, Command::Undo);
    apply(&mut bench, Command::Undo);
    assert_eq!(names(&bench), ["· ·"], "as empty as before");
    apply(&mut bench, Command::Redo);
    assert_eq!(names(&bench).len(), 3, "and back");
}

#[test]
fn a_mask_is_painted_on_the_pair_on_the_stage_and_undo_leads_back_to_it() {
    let mut bench = three();
    pairs(&mut bench, PairsCommand::Choose(1));
    paint(&mut bench);
    let painted = bench.mask().cloned();
    pairs(&mut bench, PairsCommand::Choose(2));
    assert!(
        bench.pair().painted().is_none(),
        "another pair, another mask"
    );
    let change = apply(&mut bench, Command::Undo);
    assert!(change.set && change.whole_mask, "{change:?}");
    assert_eq!(bench.set().chosen(), 1, "one sees what is undone");
    assert!(bench.pair().painted().is_none(), "the stroke is gone");
    pairs(&mut bench, PairsCommand::Choose(0));
    apply(&mut bench, Command::Redo);
    assert_eq!(bench.mask().cloned(), painted, "and back, where it was");
}

#[test]
fn a_picture_changes_places_with_the_one_of_another_pair() {
    let mut bench = three();
    let to_next = PairsCommand::Move {
        from: (0, Slot::Target),
        to: (1, Slot::Target),
    };
    pairs(&mut bench, to_next);
    assert_eq!(names(&bench), ["1-a 2-b", "2-a 1-b", "3-a 3-b"], "swapped");
    assert_eq!(bench.set().chosen(), 1, "one sees where it went");
    apply(&mut bench, Command::Undo);
    assert_eq!(names(&bench), ["1-a 1-b", "2-a 2-b", "3-a 3-b"], "and back");
    let across = PairsCommand::Move {
        from: (2, Slot::Original),
        to: (2, Slot::Target),
    };
    pairs(&mut bench, across);
    assert_eq!(names(&bench)[2], "3-b 3-a", "A and B of one pair");
}

#[test]
fn behind_the_last_pair_a_picture_gets_its_own_and_an_empty_pair_goes() {
    let mut bench = three();
    let out = PairsCommand::Move {
        from: (2, Slot::Target),
        to: (3, Slot::Target),
    };
    pairs(&mut bench, out.clone());
    let apart = ["1-a 1-b", "2-a 2-b", "3-a ·", "· 3-b"];
    assert_eq!(names(&bench), apart, "a pair of its own");
    let again = PairsCommand::Move {
        from: (3, Slot::Target),
        to: (9, Slot::Target),
    };
    assert!(pairs(&mut bench, again).is_nothing(), "it has one already");
    let together = PairsCommand::Move {
        from: (3, Slot::Target),
        to: (2, Slot::Target),
    };
    pairs(&mut bench, together);
    assert_eq!(
        names(&bench),
        ["1-a 1-b", "2-a 2-b", "3-a 3-b"],
        "nothing is left over"
    );
    apply(&mut bench, Command::Undo);
    assert_eq!(names(&bench), apart, "as before");
}

#[test]
fn pairs_are_removed_and_the_last_one_is_emptied() {
    let mut bench = three();
    pairs(&mut bench, PairsCommand::Choose(2));
    pairs(&mut bench, PairsCommand::Remove(0));
    assert_eq!(names(&bench), ["2-a 2-b", "3-a 3-b"], "without it");
    assert_eq!(bench.set().chosen(), 1, "the same one is on the stage");
    pairs(&mut bench, PairsCommand::Remove(1));
    pairs(&mut bench, PairsCommand::Remove(0));
    assert_eq!(names(&bench), ["· ·"], "an empty bench");
    for _ in 0..3 {
        apply(&mut bench, Command::Undo);
    }
    assert_eq!(names(&bench), ["1-a 1-b", "2-a 2-b", "3-a 3-b"], "all back");
    apply(&mut bench, Command::NewPair);
    assert_eq!(names(&bench), ["· ·"], "start over");
    apply(&mut bench, Command::Undo);
    assert_eq!(names(&bench).len(), 3, "and back at once");
}

#[test]
fn what_is_said_of_a_pair_is_a_step_and_what_is_no_number_is_refused() {
    let mut bench = three();
    pairs(&mut bench, PairsCommand::Caption(1, " a hat ".to_owned()));
    pairs(&mut bench, PairsCommand::WeightTyped(1, "0.5".to_owned()));
    pairs(&mut bench, PairsCommand::LevelTyped(1, "-2".to_owned()));
    let pair = &bench.set().pairs()[1];
    assert_eq!(pair.caption, "a hat", "without what nobody sees");
    let numbers = (pair.weight, pair.level);
    let expected = (Weight::constant(0.5), Level::constant(-2.0));
    assert_eq!(numbers, expected, "as typed");
    let wrong = Command::Pairs(PairsCommand::LevelTyped(1, "much".to_owned()));
    let refusal = refuse(&mut bench, wrong);
    assert_eq!(refusal.place, Where::Set, "{refusal}");
    assert!(
        refusal.sentence.starts_with("Level must be a number"),
        "{refusal}"
    );
    let same = PairsCommand::Caption(1, "a hat".to_owned());
    assert!(pairs(&mut bench, same).is_nothing(), "nothing new, no step");
    for _ in 0..3 {
        apply(&mut bench, Command::Undo);
    }
    assert!(!bench.set().pairs()[1].is_told_of(), "as usual again");
}

#[test]
fn captions_that_come_after_their_pictures_find_them() {
    let mut bench = Workbench::default();
    let alone = NewPair {
        original: Some(picture("alone.png", None)),
        ..NewPair::default()
    };
    let pair = NewPair {
        original: Some(picture("set/x_a.png", None)),
        target: Some(picture("set/x_b.png", Some([9, 9, 60]))),
        ..NewPair::default()
    };
    pairs(&mut bench, PairsCommand::Add(vec![pair, alone]));
    let files = |names: &[&str]| {
        let files = names.iter();
        let files = files.map(|name| ((*name).to_owned(), format!("of {name}")));
        PairsCommand::CaptionFiles(files.collect())
    };
    let captions = |bench: &Workbench| {
        let pairs = bench.set().pairs().iter();
        pairs.map(|pair| pair.caption.clone()).collect::<Vec<_>>()
    };
    pairs(
        &mut bench,
        files(&["set/x.txt", "alone.caption", "other.txt"]),
    );
    let expected = ["of set/x.txt", "of alone.caption"];
    assert_eq!(captions(&bench), expected, "beside a pair, and a picture");
    apply(&mut bench, Command::Undo);
    assert_eq!(captions(&bench), ["", ""], "in one step");
    let refusal = refuse(&mut bench, Command::Pairs(files(&["other.txt"])));
    assert_eq!(refusal.place, Where::Set, "{refusal}");
    assert!(refusal.sentence.contains("a.txt for a.png"), "{refusal}");
}

#[test]
fn a_caption_reaches_every_pair_of_its_picture() {
    let mut bench = Workbench::default();
    let level = |name: &str, red| NewPair {
        original: Some(picture("head_0.png", None)),
        target: Some(picture(name, Some([red, 9, 60]))),
        ..NewPair::default()
    };
    let again = NewPair {
        original: Some(picture("hat.png", Some([3, 3, 3]))),
        ..level("head_2.png", 90)
    };
    let levels = vec![level("head_-1.png", 9), level("head_2.png", 90), again];
    pairs(&mut bench, PairsCommand::Add(levels));
    let files = |names: &[&str]| {
        let files = names.iter();
        let files = files.map(|name| ((*name).to_owned(), format!("of {name}")));
        PairsCommand::CaptionFiles(files.collect())
    };
    let captions = |bench: &Workbench| {
        let pairs = bench.set().pairs().iter();
        pairs.map(|pair| pair.caption.clone()).collect::<Vec<_>>()
    };
    pairs(&mut bench, files(&["head_0.txt"]));
    let of_original = ["of head_0.txt", "of head_0.txt", ""];
    assert_eq!(captions(&bench), of_original, "of each level");
    pairs(&mut bench, files(&["head_2.txt", "hat.txt"]));
    let of_level = ["of head_0.txt", "of head_2.txt", "of hat.txt"];
    assert_eq!(captions(&bench), of_level, "of one level, and of another A");
}

#[test]
fn a_tag_is_given_to_all_and_taken_from_all() {
    let mut bench = three();
    let captions = |bench: &Workbench| {
        let pairs = bench.set().pairs().iter();
        pairs.map(|pair| pair.caption.clone()).collect::<Vec<_>>()
    };
    pairs(&mut bench, PairsCommand::Caption(0, "hat, sky".to_owned()));
    pairs(&mut bench, PairsCommand::Tag("hat".to_owned()));
    assert_eq!(captions(&bench), ["hat, sky", "hat", "hat"], "all have it");
    pairs(&mut bench, PairsCommand::Tag("hat".to_owned()));
    assert_eq!(captions(&bench), ["sky", "", ""], "none has it");
    apply(&mut bench, Command::Undo);
    assert_eq!(captions(&bench), ["hat, sky", "hat", "hat"], "one step");
}

#[test]
fn masks_are_suggested_where_nothing_is_painted() {
    let mut bench = three();
    pairs(
        &mut bench,
        PairsCommand::Add(vec![new_pair("4", [1, 2, 3])]),
    );
    pairs(&mut bench, PairsCommand::Choose(0));
    paint(&mut bench);
    let painted = bench.mask().cloned();
    pairs(&mut bench, PairsCommand::Suggest);
    let masked = bench
        .set()
        .pairs()
        .iter()
        .filter(|pair| pair.painted().is_some());
    assert_eq!(masked.count(), 4, "all have one");
    assert_eq!(bench.mask().cloned(), painted, "what was painted stays");
    apply(&mut bench, Command::Undo);
    assert!(bench.set().pairs()[2].painted().is_none(), "one step");
    assert_eq!(bench.set().chosen(), 0, "nobody is led elsewhere");
}

#[test]
fn another_size_takes_every_pair_along() {
    let mut bench = three();
    pairs(&mut bench, PairsCommand::Choose(1));
    let field = Field::at("/resolution").unwrap();
    let set = Setting::Field(field, field.parse("256"));
    apply(&mut bench, Command::Set(set));
    let widths = |bench: &Workbench| {
        let pairs = bench.set().pairs().iter();
        pairs
            .map(|pair| pair.frame().unwrap().width())
            .collect::<Vec<_>>()
    };
    assert_eq!(widths(&bench), [256; 3], "all of them");
    apply(&mut bench, Command::Undo);
    assert_eq!(widths(&bench), [SIDE; 3], "and back");
    assert_eq!(bench.set().chosen(), 1, "nobody is led elsewhere");
}

#[test]
fn pictures_that_do_not_fit_together_are_two_pairs_with_the_reason() {
    let mut bench = Workbench::default();
    let apart = NewPair {
        original: Some(picture_of("wide", (300, 100), None)),
        target: Some(picture_of("tall", (100, 300), None)),
        ..NewPair::default()
    };
    pairs(&mut bench, PairsCommand::Add(vec![apart]));
    assert_eq!(names(&bench), ["wide ·", "· tall"], "none is lost");
    for pair in bench.set().pairs() {
        assert!(pair.note.is_some(), "{:?} says why", pair.pictures);
    }
}

#[test]
fn a_picture_that_no_frame_takes_in_is_refused_with_the_reason() {
    let mut bench = Workbench::default();
    let narrow = NewPair {
        original: Some(picture_of("narrow", (2000, 20), None)),
        ..NewPair::default()
    };
    let refusal = refuse(&mut bench, Command::Pairs(PairsCommand::Add(vec![narrow])));
    assert_eq!(refusal.place, Where::Set, "{refusal}");
    assert!(refusal.sentence.starts_with("narrow: "), "{refusal}");
    assert_eq!(names(&bench), ["· ·"], "nothing is there");
}

#[test]
fn a_picture_that_moves_costs_undo_nothing() {
    let mut bench = three();
    let before = bench.history().bytes();
    for _ in 0..10 {
        let to_next = PairsCommand::Move {
            from: (0, Slot::Target),
            to: (1, Slot::Target),
        };
        pairs(&mut bench, to_next);
    }
    let masks = 20 * (SIDE * SIDE) as usize;
    // Frames that only undo holds: two of each step.
    let frames = masks * 8;
    let pictures = bench.set().bytes();
    let grown = bench.history().bytes() - before;
    assert!(
        grown <= masks + frames + pictures,
        "{grown} for {masks}, {frames} and {pictures} once"
    );
}
