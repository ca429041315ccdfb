//! Pictures in other colours than sRGB, beside LittleCMS.
//!
//! Six by four patches each, of which the middle is compared.

use mimeo_image::{Note, decode};

use crate::support::close::{Tolerance, assert_values_close};
use crate::support::fixture::{Fixture, bytes};
use crate::support::test;

/// Both round to 8 bits.
const ROUNDED: Tolerance = Tolerance::abs(1.0);

/// Through a table, values between its nodes are interpolated: by LittleCMS in tetrahedra, by moxcms
/// linearly, of four inks after making a finer table of the file's. And both round.
const INTERPOLATED: Tolerance = Tolerance::abs(3.0);

/// Decoders round the cosine transform and interpolate colours each in their way.
const DECODED: Tolerance = Tolerance::abs(4.0);

/// One after the other; 4 were measured.
const DECODED_AND_INTERPOLATED: Tolerance = Tolerance::abs(7.0);

const SIDE: u32 = 16;

/// Compares a file's patches, and gives what is told of it.
fn compare(name: &str, tolerance: Tolerance) -> Vec<Note> {
    let decoded = decode(&bytes(&format!("pictures/{name}"))).unwrap();
    let picture = decoded.picture;
    assert_eq!(
        (picture.width(), picture.height()),
        (6 * SIDE, 4 * SIDE),
        "size of {name}"
    );
    let middle = |at: u32| at * SIDE + SIDE / 2;
    let patches = (0..4).flat_map(|y| (0..6).map(move |x| (middle(x), middle(y))));
    let ours = patches.flat_map(|(x, y)| picture.pixel(x, y).unwrap().map(f32::from));
    let ours: Vec<f32> = ours.collect();
    let fixture = Fixture::read("pictures.safetensors");
    assert_values_close(name, &ours, fixture.floats(name), tolerance);
    decoded.notes
}

fn assert_converted(name: &str, from: &str, tolerance: Tolerance) {
    let notes = compare(name, tolerance);
    let from = from.to_owned();
    assert_eq!(notes, [Note::Converted { from }], "what is told of {name}");
}

#[test]
fn profiles_of_screens_are_applied_as_littlecms_does() {
    for name in ["adobe_rgb.png", "adobe_rgb.webp"] {
        assert_converted(name, "Adobe RGB of the tests", ROUNDED);
    }
    for name in ["display_p3.jpg", "display_p3_16.png"] {
        assert_converted(name, "Display P3 of the tests", ROUNDED);
    }
}

#[test]
fn what_a_png_says_without_a_profile_is_applied_too() {
    assert_converted("code_points.png", "Display P3", ROUNDED);
    let from = "the gamma and primaries that it names";
    assert_converted("primaries.png", from, ROUNDED);
}

#[test]
fn grey_pictures_are_converted_by_their_profile_or_one_for_colours() {
    assert_converted("grey.jpg", "Dot gain of the tests", ROUNDED);
    assert_converted("grey_in_rgb.png", "Adobe RGB of the tests", ROUNDED);
    let from = "Grey 1.8 of the tests".to_owned();
    assert_eq!(
        compare("grey.png", ROUNDED),
        [Note::Converted { from }, Note::Transparent],
        "its columns at the right are cut out"
    );
}

#[test]
fn tables_of_scanners_and_presses_are_applied() {
    assert_converted("scanner.png", "Scanner of the tests", INTERPOLATED);
    assert_converted("press.jpg", "Press of the tests", INTERPOLATED);
    let tolerance = DECODED_AND_INTERPOLATED;
    assert_converted("press_ycck.jpg", "Press of the tests", tolerance);
}

#[test]
fn a_profile_that_describes_srgb_changes_nothing_and_nothing_is_told() {
    assert_eq!(
        compare("srgb.jpg", ROUNDED),
        [],
        "most files of phones are such"
    );
}

#[test]
fn pictures_in_scans_and_with_restart_markers_are_whole() {
    for name in ["progressive.jpg", "restarts.jpg"] {
        assert_eq!(compare(name, DECODED), [], "nothing to tell of {name}");
    }
}

#[test]
fn a_hole_a_cut_or_a_second_start_in_any_kind_of_jpeg_is_found() {
    for name in ["progressive.jpg", "restarts.jpg"] {
        let whole = bytes(&format!("pictures/{name}"));
        let begins = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]);
        let begins = begins.unwrap() + 16;
        let data = whole.len() - begins;
        for share in 1..10 {
            let at = begins + data * share / 10;
            // As a phone's gallery leaves it behind, which puts a gain map after every picture.
            let cut = [&whole[..at], &whole].concat();
            assert_damaged(
                &cut,
                &format!("{name}, cut at {at} and followed by another"),
            );
            let ended = [&whole[..at], &[0xFF, 0xD9]].concat();
            assert_damaged(&ended, &format!("{name}, cut at {at} and ended"));
            let mut hole = whole.clone();
            let end = (at + 400).min(whole.len() - 2);
            hole[at..end].fill(0);
            assert_damaged(&hole, &format!("{name}, {at} to {end} overwritten"));
            let torn = [&whole[..at], &whole[end..]].concat();
            assert_damaged(&torn, &format!("{name} without {at} to {end}"));
        }
    }
}

fn assert_damaged(file: &[u8], what: &str) {
    match decode(file) {
        Ok(_) => panic!("{what}: decoded as if nothing were wrong"),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("damaged or cut off"), "{what}: {error}");
        }
    }
}
