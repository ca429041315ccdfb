//! Every command, with a sweep of what must be true after each.

mod pairs;

use mimeo_image::{Brush, Edit, Paint, StrokePoint};
use mimeo_protocol::fields::Field;
use mimeo_protocol::{BaseId, Method, ModelSize};
use proptest::prelude::*;

use super::examples::{SIDE, pair, picture, picture_of, square};
use super::*;
use crate::fields::FieldInRecipe as _;
use crate::frame::Sides;
use crate::plain::{Capacity, Effort};

/// Applies and sweeps.
fn apply(bench: &mut Workbench, command: Command) -> Change {
    let said = format!("{command:?}");
    let change = bench.apply(command);
    bench
        .check()
        .unwrap_or_else(|broken| panic!("after {said}: {broken}"));
    change.unwrap_or_else(|refusal| panic!("{said}: {refusal}"))
}

fn refuse(bench: &mut Workbench, command: Command) -> Refusal {
    let said = format!("{command:?}");
    let refusal = bench.apply(command);
    bench
        .check()
        .unwrap_or_else(|broken| panic!("after {said}: {broken}"));
    refusal.expect_err("it is refused")
}

fn point(x: f32, y: f32) -> StrokePoint {
    StrokePoint {
        x,
        y,
        pressure: 1.0,
    }
}

const BRUSH: Brush = Brush {
    diameter: 12.0,
    softness: 0.2,
};

fn begin(x: f32, y: f32) -> Command {
    Command::BeginStroke {
        brush: BRUSH,
        paint: Paint::Learn,
        at: point(x, y),
    }
}

fn paint(bench: &mut Workbench) {
    apply(bench, begin(20.0, 20.0));
    apply(bench, Command::ExtendStroke(point(60.0, 40.0)));
    apply(bench, Command::EndStroke);
}

#[test]
fn one_picture_fills_the_empty_well_and_the_next_the_other() {
    let mut bench = Workbench::default();
    for (name, slot) in [("a", Slot::Original), ("b", Slot::Target)] {
        let placed = picture(name, None);
        apply(
            &mut bench,
            Command::Place {
                slot: None,
                picture: placed.clone(),
            },
        );
        assert_eq!(bench.picture(slot), Some(&placed), "{name}");
    }
    let third = picture("c", Some([1, 2, 3]));
    apply(
        &mut bench,
        Command::Place {
            slot: None,
            picture: third.clone(),
        },
    );
    assert_eq!(
        bench.picture(Slot::Target),
        Some(&third),
        "B is tried again"
    );
}

#[test]
fn an_undone_stroke_leaves_no_trace() {
    let mut bench = pair();
    let before = bench.mask().cloned();
    paint(&mut bench);
    assert_ne!(bench.mask().cloned(), before, "it painted");
    apply(&mut bench, Command::Undo);
    assert_eq!(
        bench.mask().cloned(),
        before,
        "undo removes the whole stroke"
    );
    apply(&mut bench, Command::Redo);
    assert_ne!(bench.mask().cloned(), before, "and redo puts it back");
}

#[test]
fn a_cancelled_stroke_was_never_there() {
    let mut bench = pair();
    let (before, label) = (bench.mask().cloned(), bench.history().undo_label());
    apply(&mut bench, begin(20.0, 20.0));
    apply(&mut bench, Command::ExtendStroke(point(60.0, 60.0)));
    apply(&mut bench, Command::CancelStroke);
    assert_eq!(bench.mask().cloned(), before, "nothing painted");
    assert_eq!(bench.history().undo_label(), label, "nothing to undo");
}

#[test]
fn a_command_in_the_middle_of_a_stroke_ends_it_first() {
    let mut bench = pair();
    apply(&mut bench, begin(20.0, 20.0));
    apply(&mut bench, Command::Mask(MaskCommand::Invert));
    assert!(!bench.is_painting(), "it ended");
    apply(&mut bench, Command::Undo);
    assert_eq!(
        bench.history().undo_label(),
        Some("Paint"),
        "the stroke is a step"
    );
}

#[test]
fn fifty_strokes_are_undone_one_by_one() {
    let mut bench = pair();
    let mut masks = Vec::new();
    for at in 0..50 {
        masks.push(bench.mask().cloned());
        apply(&mut bench, begin((at * 2) as f32, (at * 2) as f32));
        apply(&mut bench, Command::EndStroke);
    }
    for mask in masks.into_iter().rev() {
        apply(&mut bench, Command::Undo);
        assert_eq!(bench.mask().cloned(), mask, "step by step");
    }
}

#[test]
fn the_suggested_mask_covers_what_changed() {
    let mut bench = pair();
    let change = apply(&mut bench, Command::Mask(MaskCommand::Suggest));
    assert!(change.mask.is_some(), "the canvas is told where");
    let (mask, square) = (bench.mask().unwrap(), square());
    for (x, y) in [(square.x + 1, square.y + 1), (SIDE / 2, SIDE / 2)] {
        assert!(mask.value(x, y).unwrap() > 128, "{x}, {y}");
    }
    assert_eq!(mask.value(2, 2), Some(0), "and not the corner");
}

#[test]
fn a_base_of_another_size_takes_the_mask_along() {
    let mut bench = pair();
    apply(&mut bench, Command::Mask(MaskCommand::Suggest));
    let covered = bench.mask().unwrap().coverage();
    let sides = Sides {
        long: 512,
        multiple: 64,
    };
    let id = BaseId::try_from("sd15".to_owned()).unwrap();
    let size = ModelSize::Sd1;
    let base = Setting::Base { id, size, sides };
    apply(&mut bench, Command::Set(base));
    assert_eq!(bench.mask().unwrap().width(), 512, "at the new size");
    let now = bench.mask().unwrap().coverage();
    assert!(
        (now - covered).abs() < 0.02,
        "the same part: {covered} {now}"
    );
    assert_eq!(
        bench.settings().recipe,
        mimeo_protocol::Recipe::preset(Method::Copier, size),
        "with the presets of its size"
    );
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.mask().unwrap().width(), SIDE, "and back");
}

#[test]
fn a_resolution_takes_pair_and_mask_along_and_keeps_their_proportions() {
    let mut bench = Workbench::default();
    let size = (300, 200);
    let pair = Command::PlacePair {
        original: picture_of("a.png", size, None),
        target: picture_of("b.png", size, Some([250, 20, 20])),
        mask: None,
    };
    apply(&mut bench, pair);
    apply(&mut bench, Command::Mask(MaskCommand::Suggest));
    let sides = |bench: &Workbench| {
        let (frame, mask) = (bench.frame().unwrap(), bench.mask().unwrap());
        let frame = (frame.width(), frame.height());
        assert_eq!(frame, (mask.width(), mask.height()), "one on the other");
        frame
    };
    assert_eq!(
        sides(&bench),
        (128, 96),
        "the longer side is the base's own"
    );
    let field = Field::at("/resolution").unwrap();
    let set = |text: &str| Command::Set(Setting::Field(field, field.parse(text)));
    apply(&mut bench, set("256"));
    assert_eq!(sides(&bench), (320, 192), "about as many as 256²");
    for (typed, words) in [
        ("9000", "between 32 and 2048"),
        ("wide", "must be a number"),
    ] {
        let refusal = refuse(&mut bench, set(typed));
        assert_eq!(refusal.place, Where::Field(field), "{typed}");
        assert!(refusal.sentence.contains(words), "{refusal}");
    }
    apply(&mut bench, Command::Undo);
    assert_eq!(sides(&bench), (128, 96), "and back");
}

#[test]
fn what_was_said_of_one_base_is_not_said_of_another() {
    let mut bench = pair();
    let field = Field::at("/prediction_type").unwrap();
    let said = Setting::Field(field, "v_prediction".into());
    apply(&mut bench, Command::Set(said));
    let vae = Some("anime".parse().unwrap());
    apply(&mut bench, Command::Set(Setting::Vae(vae.clone())));
    let (size, sides) = (bench.settings().size, bench.settings().sides);
    let base = |id: &str| {
        let id = id.parse().unwrap();
        Command::Set(Setting::Base { id, size, sides })
    };
    apply(&mut bench, base("bundled"));
    assert_eq!(bench.settings().vae, vae, "the same base again");
    apply(&mut bench, base("other"));
    assert_eq!(bench.settings().vae, None, "its own");
    assert!(bench.settings().recipe.said().is_nothing(), "as it is");
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.settings().vae, vae, "and back");
}

#[test]
fn swapping_twice_changes_nothing() {
    let mut bench = pair();
    let before = bench.picture(Slot::Original).cloned();
    apply(&mut bench, Command::Swap);
    assert_ne!(bench.picture(Slot::Original).cloned(), before, "swapped");
    apply(&mut bench, Command::Swap);
    assert_eq!(bench.picture(Slot::Original).cloned(), before, "and back");
}

#[test]
fn the_mask_stays_on_what_it_was_painted_on_while_the_crop_moves() {
    let mut bench = Workbench::default();
    let size = (256, 160);
    apply(
        &mut bench,
        Command::PlacePair {
            original: picture_of("a", size, None),
            target: picture_of("b", size, Some([9, 200, 9])),
            mask: None,
        },
    );
    let frame = bench.frame().unwrap();
    assert!(frame.is_cropped, "{} × {}", frame.width(), frame.height());
    apply(&mut bench, Command::Mask(MaskCommand::Threshold(8)));
    for x in [0.0, 1.0, 0.3] {
        apply(&mut bench, Command::MoveCrop { x, y: x });
        let frame = bench.frame().unwrap();
        let changed = frame.difference().unwrap().mask_above(8);
        let both = bench.mask().unwrap().values().iter().zip(changed.values());
        let differing = both.filter(|(mask, changed)| mask.abs_diff(**changed) > 128);
        let share = differing.count() as f64 / f64::from(frame.width() * frame.height());
        assert!(share < 0.02, "at {x}: {share} of the mask slipped");
    }
    apply(&mut bench, Command::Undo);
    assert_eq!(
        bench.pair().pictures.offset,
        Pictures::MIDDLE,
        "moving it on and on is one step"
    );
}

#[test]
fn b_can_be_made_from_a_inside_the_mask_only() {
    let mut bench = Workbench::default();
    apply(
        &mut bench,
        Command::Place {
            slot: Some(Slot::Original),
            picture: picture("a", None),
        },
    );
    let edit = Edit::Paint {
        colour: [255, 0, 0],
        opacity: 1.0,
    };
    let inside = Command::MakeTarget {
        edit,
        inside_mask: true,
    };
    let refusal = refuse(&mut bench, inside.clone());
    assert_eq!(refusal.place, Where::Mask, "{refusal}");
    apply(
        &mut bench,
        Command::Mask(MaskCommand::Box(square(), Paint::Learn)),
    );
    apply(&mut bench, inside);
    let (original, target) = bench.frame().unwrap().pair().unwrap();
    let middle = (SIDE / 2, SIDE / 2);
    assert_eq!(
        target.pixel(middle.0, middle.1),
        Some([255, 0, 0]),
        "painted"
    );
    assert_eq!(target.pixel(1, 1), original.pixel(1, 1), "the rest is A");
    assert_eq!(
        bench.mask().unwrap().value(middle.0, middle.1),
        Some(255),
        "still masked"
    );
}

#[test]
fn a_box_is_typed_and_what_is_no_number_is_refused_by_name() {
    let typed = |texts: [&str; 4]| {
        let command = MaskCommand::BoxTyped(texts.map(str::to_owned), Paint::Learn);
        Command::Mask(command)
    };
    let mut bench = pair();
    apply(&mut bench, typed(["1", " 2 ", "3", "9999"]));
    let mask = bench.mask().unwrap();
    let painted = mask.values().iter().filter(|&&value| value == 255).count();
    assert_eq!(painted as u32, 3 * (SIDE - 2), "cut off at the frame");
    assert_eq!(mask.value(1, 2), Some(255), "where it begins");
    let before = bench.mask().cloned();
    for (texts, words) in [
        (["", "0", "1", "1"], "Left must be a number between 0 and"),
        (["0", "1,5", "1", "1"], "Top must be a number between 0 and"),
        (["0", "0", "0", "1"], "Width must be between 1 and"),
        (
            ["0", "0", "1", "half"],
            "Height must be a number between 1 and",
        ),
        (["99999", "0", "1", "1"], "Left must be between 0 and"),
    ] {
        let refusal = refuse(&mut bench, typed(texts));
        assert_eq!(refusal.place, Where::Mask, "{refusal}");
        assert!(refusal.sentence.starts_with(words), "{refusal}");
    }
    assert_eq!(bench.mask(), before.as_ref(), "nothing was painted");
}

#[test]
fn a_is_put_back_outside_the_change() {
    let mut bench = pair();
    apply(&mut bench, Command::Mask(MaskCommand::Suggest));
    let mut pixels = bench
        .picture(Slot::Target)
        .unwrap()
        .pixels
        .clone()
        .into_pixels();
    // Noise in a corner, as JPEG leaves it.
    pixels[0] ^= 8;
    let noisy = mimeo_image::Rgb::new(SIDE, SIDE, pixels).unwrap();
    let noisy = Arc::new(Picture::made("noisy", noisy).unwrap());
    let slot = Some(Slot::Target);
    apply(
        &mut bench,
        Command::Place {
            slot,
            picture: noisy,
        },
    );
    apply(&mut bench, Command::Remedy(Remedy::Composite));
    let (original, target) = bench.frame().unwrap().pair().unwrap();
    assert_eq!(target.pixel(0, 0), original.pixel(0, 0), "as in A");
    assert_ne!(
        target.pixel(SIDE / 2, SIDE / 2),
        original.pixel(SIDE / 2, SIDE / 2),
        "the change stays"
    );
}

#[test]
fn remedies_and_masks_need_a_pair_and_say_so() {
    let mut bench = Workbench::default();
    for command in [
        Command::Remedy(Remedy::MatchColour),
        Command::Mask(MaskCommand::Suggest),
        Command::MakeTarget {
            edit: Edit::Greyscale,
            inside_mask: false,
        },
    ] {
        let refusal = refuse(&mut bench, command);
        assert!(refusal.sentence.contains("first"), "what to do: {refusal}");
    }
}

#[test]
fn a_mask_file_that_selects_nothing_is_refused_and_the_mask_stays() {
    let mut bench = pair();
    paint(&mut bench);
    let before = bench.mask().cloned();
    let black = Mask::empty(SIDE, SIDE);
    // One dot of values as faint as they get, where eight by eight px become one.
    let mut dot = vec![0; (8 * SIDE * 8 * SIDE) as usize];
    dot[0] = 1;
    let dot = Mask::new(8 * SIDE, 8 * SIDE, dot).unwrap();
    for (file, says) in [(black, "all black"), (dot, "nothing of it is left")] {
        let refusal = refuse(&mut bench, Command::Mask(MaskCommand::Import(file)));
        assert_eq!(refusal.place, Where::Mask, "{refusal}");
        assert!(refusal.sentence.contains(says), "{refusal}");
        assert_eq!(bench.mask().cloned(), before, "what was painted is there");
    }
}

#[test]
fn identical_pictures_have_no_suggestion() {
    let mut bench = pair();
    let original = bench.picture(Slot::Original).cloned().unwrap();
    let slot = Some(Slot::Target);
    apply(
        &mut bench,
        Command::Place {
            slot,
            picture: original,
        },
    );
    let refusal = refuse(&mut bench, Command::Mask(MaskCommand::Suggest));
    assert!(refusal.sentence.contains("do not differ"), "{refusal}");
}

#[test]
fn a_field_out_of_range_is_refused_at_its_place() {
    let mut bench = pair();
    let rank = Field::at("/pass/rank").unwrap();
    let refusal = refuse(&mut bench, Command::Set(Setting::Field(rank, 0.into())));
    assert_eq!(refusal.place, Where::Field(rank), "at the field");
    assert_eq!(
        bench.settings().recipe.pass.rank.get(),
        8,
        "nothing changed"
    );
}

#[test]
fn typing_in_one_field_is_one_step() {
    let mut bench = pair();
    let name = |text: &str| Command::Set(Setting::Name(text.to_owned()));
    for text in ["h", "ha", "hat"] {
        apply(&mut bench, name(text));
    }
    let seed = Field::at("/seed").unwrap();
    apply(&mut bench, Command::Set(Setting::Field(seed, 4.into())));
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.settings().name, "hat", "the seed was another step");
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.settings().name, "", "all letters at once");
    apply(&mut bench, Command::Redo);
    apply(&mut bench, name("hats"));
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.settings().name, "hat", "after undo a new step begins");
}

#[test]
fn choices_show_as_edited_fields_and_reset() {
    let mut bench = pair();
    apply(&mut bench, Command::Set(Setting::Effort(Effort::Thorough)));
    apply(&mut bench, Command::Set(Setting::Capacity(Capacity::Small)));
    let edited: Vec<_> = bench
        .settings()
        .edited()
        .iter()
        .map(|field| field.path)
        .collect();
    assert_eq!(
        edited,
        ["/pass/steps", "/pass/rank", "/pass/alpha"],
        "what differs"
    );
    apply(&mut bench, Command::Set(Setting::ResetAll));
    assert!(bench.settings().edited().is_empty(), "as preset");
}

#[test]
fn a_new_pair_can_be_taken_back() {
    let mut bench = pair();
    paint(&mut bench);
    let mask = bench.mask().cloned();
    apply(&mut bench, Command::NewPair);
    assert!(bench.frame().is_none(), "empty");
    apply(&mut bench, Command::Undo);
    assert_eq!(bench.mask().cloned(), mask, "with its strokes");
}

#[derive(Debug, Clone)]
enum Any {
    Stroke(f32, f32, bool),
    Mask(u8),
    Swap,
    Remove(bool),
    Place(bool, u8),
    Crop(f64),
    Add(u8),
    Choose(usize),
    RemovePair(usize),
    Move(usize, bool, usize),
    Method(u8),
    Undo,
    Redo,
}

fn any_command() -> impl Strategy<Value = Any> {
    prop_oneof![
        (0.0_f32..128.0, 0.0_f32..128.0, any::<bool>())
            .prop_map(|(x, y, end)| Any::Stroke(x, y, end)),
        (0_u8..7).prop_map(Any::Mask),
        Just(Any::Swap),
        any::<bool>().prop_map(Any::Remove),
        (any::<bool>(), 0_u8..3).prop_map(|(target, which)| Any::Place(target, which)),
        (0.0_f64..=1.0).prop_map(Any::Crop),
        (0_u8..3).prop_map(Any::Add),
        (0_usize..4).prop_map(Any::Choose),
        (0_usize..4).prop_map(Any::RemovePair),
        (0_usize..4, any::<bool>(), 0_usize..5)
            .prop_map(|(from, target, to)| Any::Move(from, target, to)),
        (0_u8..3).prop_map(Any::Method),
        Just(Any::Undo),
        Just(Any::Undo),
        Just(Any::Redo),
    ]
}

fn perform(bench: &mut Workbench, any: &Any) {
    let slot = |target: bool| if target { Slot::Target } else { Slot::Original };
    let commands = match any {
        Any::Stroke(x, y, true) => vec![begin(*x, *y), Command::EndStroke],
        Any::Stroke(x, y, false) => vec![begin(*x, *y)],
        Any::Mask(which) => vec![Command::Mask(match which {
            0 => MaskCommand::Suggest,
            1 => MaskCommand::Clear,
            2 => MaskCommand::Invert,
            3 => MaskCommand::Grow(3),
            4 => MaskCommand::Shrink(2),
            5 => MaskCommand::Feather(4),
            _ => MaskCommand::Box(square(), Paint::Learn),
        })],
        Any::Swap => vec![Command::Swap],
        Any::Remove(target) => vec![Command::Remove(slot(*target))],
        Any::Place(target, which) => vec![Command::Place {
            slot: Some(slot(*target)),
            picture: match which {
                0 => picture("plain", None),
                1 => picture_of("wide", (200, 120), Some([9, 9, 9])),
                _ => picture_of("large", (256, 256), Some([200, 9, 9])),
            },
        }],
        Any::Crop(x) => vec![Command::MoveCrop { x: *x, y: 1.0 - x }],
        Any::Add(0) => vec![Command::Pairs(PairsCommand::AddEmpty)],
        Any::Add(which) => {
            let new = NewPair {
                original: Some(picture("plain", None)),
                target: (*which > 1).then(|| picture("red", Some([200, 9, 9]))),
                ..NewPair::default()
            };
            vec![Command::Pairs(PairsCommand::Add(vec![new]))]
        }
        Any::Choose(at) => vec![Command::Pairs(PairsCommand::Choose(*at))],
        Any::RemovePair(at) => vec![Command::Pairs(PairsCommand::Remove(*at))],
        Any::Move(from, target, to) => vec![Command::Pairs(PairsCommand::Move {
            from: (*from, slot(*target)),
            to: (*to, slot(*target)),
        })],
        Any::Method(which) => {
            let method = Method::ALL[usize::from(*which)];
            vec![Command::Set(Setting::Method(method))]
        }
        Any::Undo => vec![Command::Undo],
        Any::Redo => vec![Command::Redo],
    };
    for command in commands {
        // What is refused must leave everything as it was, which the sweep sees.
        _ = bench.apply(command);
        bench
            .check()
            .unwrap_or_else(|broken| panic!("after {any:?}: {broken}"));
    }
}

/// What undo promises to bring back.
fn essence(bench: &Workbench) -> impl PartialEq + std::fmt::Debug + use<> {
    let pair = |pair: &Pair| {
        (
            Slot::ALL.map(|slot| pair.picture(slot).map(|picture| picture.id)),
            pair.mask().cloned(),
            pair.pictures.offset,
        )
    };
    let pairs = bench.set().pairs().iter();
    (
        pairs.map(pair).collect::<Vec<_>>(),
        bench.settings().clone(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_undone_to_the_beginning_and_redone_to_the_end(
        commands in proptest::collection::vec(any_command(), 1..24)
    ) {
        let mut bench = Workbench::default();
        let beginning = essence(&bench);
        perform(&mut bench, &Any::Place(false, 0));
        for any in &commands {
            perform(&mut bench, any);
        }
        bench.apply(Command::EndStroke).unwrap();
        let end = essence(&bench);
        let mut steps = 0;
        while bench.history().undo_label().is_some() {
            perform(&mut bench, &Any::Undo);
            steps += 1;
        }
        prop_assert_eq!(essence(&bench), beginning, "undone");
        for _ in 0..steps {
            perform(&mut bench, &Any::Redo);
        }
        prop_assert_eq!(essence(&bench), end, "redone");
    }
}
