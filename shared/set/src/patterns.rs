//! Names that people and programs give to the two halves of a pair, one test each.

use proptest::prelude::*;

use super::*;

/// What becomes of files, one line each.
fn told(paths: &[&str], pairing: &Pairing) -> Vec<String> {
    let beside = |word, file: Option<usize>| {
        file.map_or(String::new(), |file| format!(" {word} {}", paths[file]))
    };
    let pairs = pairing.pairs.iter().map(|pair| {
        let level = match pair.level.get() {
            1.0 => String::new(),
            level => format!(" at {level}"),
        };
        let order = match pair.evidence {
            Evidence::Names => "",
            Evidence::Order => " by order",
            Evidence::Likeness => " by likeness",
        };
        format!(
            "{} > {}{level}{order}{}{}",
            paths[pair.original],
            paths[pair.target],
            beside("mask", pair.mask),
            beside("caption", pair.caption)
        )
    });
    let alone = pairing.alone.iter().map(|alone| {
        format!(
            "{} alone{}",
            paths[alone.picture],
            beside("caption", alone.caption)
        )
    });
    let left = pairing.left.iter().map(|left| {
        let why = format!("{:?}", left.why);
        let why = why.split([' ', '{']).next().unwrap_or_default();
        format!("{} left {why}", paths[left.file])
    });
    pairs.chain(alone).chain(left).collect()
}

/// That these files become that, in whatever order they come.
fn check(paths: &[&str], expected: &[&str]) {
    for turn in 0..paths.len().max(1) {
        let mut turned = paths.to_vec();
        turned.rotate_left(turn);
        for _ in 0..2 {
            assert_eq!(
                told(&turned, &pair_by_name(&turned)),
                expected,
                "{turned:?}"
            );
            turned.reverse();
        }
    }
}

macro_rules! patterns {
    ($($name:ident: [$($path:literal),* $(,)?] => [$($line:literal),* $(,)?];)*) => {$(
        #[test]
        fn $name() {
            check(&[$($path),*], &[$($line),*]);
        }
    )*};
}

// Halves that say which they are.
patterns! {
    a_and_b_after_an_underscore: ["girl_a.png", "girl_b.png"] => ["girl_a.png > girl_b.png"];
    capitals_after_a_hyphen: ["girl-A.png", "girl-B.png"] => ["girl-A.png > girl-B.png"];
    letters_in_brackets: ["girl (a).png", "girl (b).png"] => ["girl (a).png > girl (b).png"];
    letters_in_square_brackets: ["girl[A].jpg", "girl[B].jpg"] => ["girl[A].jpg > girl[B].jpg"];
    letters_as_the_whole_name: ["A.png", "B.png"] => ["A.png > B.png"];
    letters_first: ["a_01.png", "a_02.png", "b_01.png", "b_02.png"]
        => ["a_01.png > b_01.png", "a_02.png > b_02.png"];
    letters_last_among_other_letters: ["a_girl_a.png", "a_girl_b.png"] => ["a_girl_a.png > a_girl_b.png"];
    a_capital_is_a_word: ["girlA.png", "girlB.png"] => ["girlA.png > girlB.png"];
    a_letter_after_a_number: ["01a.png", "01b.png", "02a.png", "02b.png"]
        => ["01a.png > 01b.png", "02a.png > 02b.png"];
    bundled_pairs_with_their_masks: [
        "00_A.png", "00_B.png", "00_mask.png", "01_A.png", "01_B.png", "01_mask.png", "00.json",
    ] => [
        "00_A.png > 00_B.png mask 00_mask.png",
        "01_A.png > 01_B.png mask 01_mask.png",
        "00.json left NeitherPictureNorCaption",
    ];
    before_and_after: ["before.jpg", "after.jpg"] => ["before.jpg > after.jpg"];
    before_and_after_at_the_end: ["kitchen_before.jpg", "kitchen_after.jpg"]
        => ["kitchen_before.jpg > kitchen_after.jpg"];
    before_and_after_without_a_separator: ["kitchenBefore.jpg", "kitchenAfter.jpg", "hallbefore.jpg", "hallafter.jpg"]
        => ["hallbefore.jpg > hallafter.jpg", "kitchenBefore.jpg > kitchenAfter.jpg"];
    before_and_after_in_the_middle: ["01-before-x.png", "01-after-x.png"] => ["01-before-x.png > 01-after-x.png"];
    orig_and_targ: ["orig.png", "targ.png"] => ["orig.png > targ.png"];
    original_and_target: ["1_original.png", "1_target.png"] => ["1_original.png > 1_target.png"];
    source_and_target: ["source_7.webp", "target_7.webp"] => ["source_7.webp > target_7.webp"];
    src_and_dst: ["x.src.png", "x.dst.png"] => ["x.src.png > x.dst.png"];
    input_and_output: ["input1.png", "output1.png", "input2.png", "output2.png"]
        => ["input1.png > output1.png", "input2.png > output2.png"];
    original_and_edited: ["IMG_1234 original.JPG", "IMG_1234 edited.JPG"]
        => ["IMG_1234 original.JPG > IMG_1234 edited.JPG"];
    old_and_new: ["old logo.png", "new logo.png"] => ["old logo.png > new logo.png"];
    neg_and_pos: ["age_neg.png", "age_pos.png"] => ["age_neg.png > age_pos.png"];
    neg_and_pos_with_the_number_of_the_pair: ["neg_1.png", "neg_2.png", "pos_1.png", "pos_2.png"]
        => ["neg_1.png > pos_1.png", "neg_2.png > pos_2.png"];
    without_and_with: ["man_without_hat.png", "man_with_hat.png"] => ["man_without_hat.png > man_with_hat.png"];
    off_and_on: ["lamp-off.png", "lamp-on.png"] => ["lamp-off.png > lamp-on.png"];
    pre_and_post: ["pre_op_3.png", "post_op_3.png"] => ["pre_op_3.png > post_op_3.png"];
    in_german: ["Haus vorher.jpg", "Haus nachher.jpg"] => ["Haus vorher.jpg > Haus nachher.jpg"];
    in_french: ["salon_avant.jpg", "salon_après.jpg"] => ["salon_avant.jpg > salon_après.jpg"];
    in_spanish: ["casa antes.jpg", "casa después.jpg"] => ["casa antes.jpg > casa después.jpg"];
    in_russian: ["дом_до.jpg", "дом_после.jpg"] => ["дом_до.jpg > дом_после.jpg"];
    in_japanese: ["写真前.png", "写真後.png"] => ["写真前.png > 写真後.png"];
    in_japanese_with_a_number: ["1_前.png", "1_後.png", "2_前.png", "2_後.png"]
        => ["1_前.png > 1_後.png", "2_前.png > 2_後.png"];
    in_katakana: ["髪ビフォー.png", "髪アフター.png"] => ["髪ビフォー.png > 髪アフター.png"];
    in_katakana_as_macos_takes_it_apart: ["ヒ\u{3099}フォー1.png", "アフター1.png"]
        => ["ヒ\u{3099}フォー1.png > アフター1.png"];
    in_chinese: ["图片_修改前.png", "图片_修改后.png"] => ["图片_修改前.png > 图片_修改后.png"];
    in_wide_letters: ["絵＿Ａ.png", "絵＿Ｂ.png"] => ["絵＿Ａ.png > 絵＿Ｂ.png"];
    case_and_separators_mixed: ["Girl 01-A.PNG", "girl_01_b.png"] => ["Girl 01-A.PNG > girl_01_b.png"];
    leading_zeros_in_one_of_them: ["girl_1_a.png", "girl_01_b.png"] => ["girl_1_a.png > girl_01_b.png"];
    words_within_words_say_nothing: ["masked_1.png", "masked_2.png", "resource_a.png", "resource_b.png"]
        => ["masked_1.png > masked_2.png", "resource_a.png > resource_b.png"];
    another_extension: ["x_before.jpeg", "x_after.webp"] => ["x_before.jpeg > x_after.webp"];
    words_count_before_letters: ["a_before.png", "a_after.png", "b_before.png", "b_after.png"]
        => ["a_before.png > a_after.png", "b_before.png > b_after.png"];
}

// One half that says nothing.
patterns! {
    traintrain_diff_target_name: ["01.png", "01_diff.png", "02.png", "02_diff.png"]
        => ["01.png > 01_diff.png", "02.png > 02_diff.png"];
    only_the_target_is_called_so: ["girl.png", "girl_target.png"] => ["girl.png > girl_target.png"];
    only_the_original_is_called_so: ["girl.png", "girl_original.png"] => ["girl_original.png > girl.png"];
    an_edited_one_beside: ["IMG_7.jpg", "IMG_7-edited.jpg", "IMG_8.jpg"]
        => ["IMG_7.jpg > IMG_7-edited.jpg", "IMG_8.jpg alone"];
    a_b_beside: ["girl.png", "girl_b.png"] => ["girl.png > girl_b.png"];
    a_copy_of_windows: ["girl.png", "girl - Copy.png"] => ["girl.png > girl - Copy.png"];
    what_it_becomes_in_a_folder: ["x.png", "y.png", "edited/x.png", "edited/y.png"]
        => ["x.png > edited/x.png", "y.png > edited/y.png"];
}

// Folders.
patterns! {
    folders_a_and_b: ["A/1.png", "A/2.png", "B/1.png", "B/2.png"]
        => ["A/1.png > B/1.png", "A/2.png > B/2.png"];
    folders_before_and_after: ["set/before/x.png", "set/after/x.jpg"] => ["set/before/x.png > set/after/x.jpg"];
    folders_low_and_high: ["low/1.png", "high/1.png"] => ["low/1.png > high/1.png"];
    folders_control_and_target: ["control/c.png", "target/c.png"] => ["control/c.png > target/c.png"];
    folder_and_name_both_say_it: ["before/x_before.png", "after/x_after.png"]
        => ["before/x_before.png > after/x_after.png"];
    only_the_folder_and_one_name: ["before/x.png", "after/x_after.png"] => ["before/x.png > after/x_after.png"];
    any_two_folders: ["old woman/1.png", "young woman/1.png", "old woman/2.png", "young woman/2.png"]
        => ["old woman/1.png > young woman/1.png by order", "old woman/2.png > young woman/2.png by order"];
    folders_0_and_1: ["0/girl.png", "1/girl.png"] => ["0/girl.png > 1/girl.png by order"];
    a_folder_for_each_pair: ["1/before.png", "1/after.png", "2/before.png", "2/after.png"]
        => ["1/before.png > 1/after.png", "2/before.png > 2/after.png"];
    folders_in_japanese: ["前/1.png", "後/1.png"] => ["前/1.png > 後/1.png"];
    what_is_only_in_one_folder: ["A/1.png", "A/2.png", "A/3.png", "B/1.png"]
        => ["A/1.png > B/1.png", "A/2.png alone", "A/3.png alone"];
}

// Numbers.
patterns! {
    numbered_one_and_two: ["girl_1.png", "girl_2.png"] => ["girl_1.png > girl_2.png"];
    numbered_from_zero: ["girl_0.png", "girl_1.png"] => ["girl_0.png > girl_1.png"];
    numbered_in_pairs: ["pair1_1.png", "pair1_2.png", "pair2_1.png", "pair2_2.png"]
        => ["pair1_1.png > pair1_2.png", "pair2_1.png > pair2_2.png"];
    numbered_in_a_row: ["001.png", "002.png", "003.png", "004.png"]
        => ["001.png > 002.png by order", "003.png > 004.png by order"];
    numbered_beyond_nine: ["8.png", "9.png", "10.png", "11.png"]
        => ["8.png > 9.png by order", "10.png > 11.png by order"];
    numbered_by_windows: ["girl (1).png", "girl (2).png"] => ["girl (1).png > girl (2).png"];
    numbered_from_the_second: ["girl.png", "girl2.png"] => ["girl.png > girl2.png"];
    downloaded_twice: ["image.png", "image (1).png"] => ["image.png > image (1).png"];
    one_half_downloaded_twice: ["girl_a.png", "girl_b (1).png"] => ["girl_a.png > girl_b (1).png"];
    a_gap_between_pairs: ["3.png", "4.png", "7.png", "8.png", "12.png"]
        => ["3.png > 4.png by order", "7.png > 8.png by order", "12.png alone"];
    an_odd_row_is_no_pairs: ["1.png", "2.png", "3.png"]
        => ["1.png left OddRun", "2.png left OddRun", "3.png left OddRun"];
    two_afters_are_no_pair: ["before.png", "after1.png", "after2.png"]
        => ["after1.png alone", "after2.png alone", "before.png alone"];
}

// Levels.
patterns! {
    levels_with_signs: ["head_-2.png", "head_-1.png", "head_0.png", "head_1.png", "head_2.png"] => [
        "head_0.png > head_-2.png at -2", "head_0.png > head_-1.png at -1", "head_0.png > head_1.png",
        "head_0.png > head_2.png at 2",
    ];
    levels_with_fractions: ["age 0.png", "age 0.5.png", "age 1.png", "age 1.5.png"] => [
        "age 0.png > age 0.5.png at 0.5", "age 0.png > age 1.png", "age 0.png > age 1.5.png at 1.5",
    ];
    levels_in_words: ["head_minus2.png", "head_0.png", "head_plus2.png"]
        => ["head_0.png > head_minus2.png at -2", "head_0.png > head_plus2.png at 2"];
    levels_called_so: ["level0.png", "level1.png", "level2.png"]
        => ["level0.png > level1.png", "level0.png > level2.png at 2"];
    levels_as_folders: ["-1/x.png", "0/x.png", "1/x.png", "-1/y.png", "0/y.png", "1/y.png"] => [
        "0/x.png > -1/x.png at -1", "0/x.png > 1/x.png", "0/y.png > -1/y.png at -1", "0/y.png > 1/y.png",
    ];
    levels_first: ["-1.5_tom.png", "0_tom.png", "+1.5_tom.png"]
        => ["0_tom.png > -1.5_tom.png at -1.5", "0_tom.png > +1.5_tom.png at 1.5"];
    the_original_has_no_level: ["head.png", "head_-1.png", "head_+1.png"]
        => ["head.png > head_-1.png at -1", "head.png > head_+1.png"];
    levels_share_what_lies_beside: ["head_-1.png", "head_0.png", "head_1.png", "head_mask.png", "head.txt"] => [
        "head_0.png > head_-1.png at -1 mask head_mask.png caption head.txt",
        "head_0.png > head_1.png mask head_mask.png caption head.txt",
    ];
    levels_without_the_original: ["head_-1.png", "head_-2.png"]
        => ["head_-2.png left NoOriginal", "head_-1.png left NoOriginal"];
    a_level_twice: ["head_-1.png", "head_0.png", "head-0.png"]
        => ["head_-1.png left Several", "head-0.png left Several", "head_0.png left Several"];
    a_level_too_far: ["head_-20.png", "head_0.png", "head_2.png"]
        => ["head_0.png > head_2.png at 2", "head_-20.png left LevelTooFar"];
    a_hyphen_is_no_sign: ["head-1.png", "head-2.png"] => ["head-1.png > head-2.png"];
}

// What lies beside.
patterns! {
    a_mask_of_the_pair: ["x_A.png", "x_B.png", "x-mask.png"] => ["x_A.png > x_B.png mask x-mask.png"];
    a_mask_of_one_half: ["x_A.png", "x_B.png", "x_A_mask.png"] => ["x_A.png > x_B.png mask x_A_mask.png"];
    a_mask_of_onetrainer: ["x.png", "x_diff.png", "x-masklabel.png"]
        => ["x.png > x_diff.png mask x-masklabel.png"];
    a_folder_of_masks: ["before/1.png", "after/1.png", "mask/1.png", "before/2.png", "after/2.png", "mask/2.png"] => [
        "before/1.png > after/1.png mask mask/1.png",
        "before/2.png > after/2.png mask mask/2.png",
    ];
    a_mask_in_japanese: ["絵_前.png", "絵_後.png", "絵_マスク.png"] => ["絵_前.png > 絵_後.png mask 絵_マスク.png"];
    two_masks_of_a_pair: ["x_A.png", "x_B.png", "x_mask.png", "x_B_mask.png"]
        => ["x_A.png > x_B.png mask x_mask.png", "x_B_mask.png left SecondMask"];
    a_mask_of_nothing: ["x_A.png", "x_B.png", "y_mask.png"] => ["x_A.png > x_B.png", "y_mask.png left MaskOfNone"];
    a_caption_of_the_original: ["x_A.png", "x_B.png", "x_A.txt"] => ["x_A.png > x_B.png caption x_A.txt"];
    a_caption_of_the_target: ["x_A.png", "x_B.png", "x_B.txt"] => ["x_A.png > x_B.png caption x_B.txt"];
    a_caption_of_both: ["x_A.png", "x_B.png", "x.caption"] => ["x_A.png > x_B.png caption x.caption"];
    a_caption_of_each: ["x_A.png", "x_A.txt", "x_B.png", "x_B.txt"]
        => ["x_A.png > x_B.png caption x_A.txt", "x_B.txt left SecondCaption"];
    captions_of_two_programs: ["x_A.png", "x_B.png", "x_A.caption", "x_A.txt"]
        => ["x_A.png > x_B.png caption x_A.txt", "x_A.caption left SecondCaption"];
    a_caption_after_the_extension: ["x_A.png", "x_B.png", "x_A.png.txt"]
        => ["x_A.png > x_B.png caption x_A.png.txt"];
    a_caption_of_a_picture_alone: ["oak.png", "oak.txt", "elm.jpg"] => ["elm.jpg alone", "oak.png alone caption oak.txt"];
    a_caption_in_each_folder: ["A/1.png", "A/1.txt", "B/1.png", "B/1.txt"]
        => ["A/1.png > B/1.png caption A/1.txt", "B/1.txt left SecondCaption"];
    a_folder_of_captions: ["A/1.png", "B/1.png", "captions/1.txt"] => ["A/1.png > B/1.png caption captions/1.txt"];
    a_text_that_is_no_caption: ["x_A.png", "x_B.png", "readme.txt"]
        => ["x_A.png > x_B.png", "readme.txt left CaptionOfNone"];
}

// What is not trained.
patterns! {
    files_of_systems_are_not_told: [
        "x_a.png", "x_b.png", "Thumbs.db", ".DS_Store", "__MACOSX/._x_a.png", "._x_a.png", "desktop.ini",
        ".hidden/y_a.png", "@eaDir/x_a.png",
    ] => ["x_a.png > x_b.png"];
    pictures_that_are_not_read: ["x_a.heic", "x_b.heic"]
        => ["x_a.heic left FormatOfPicture", "x_b.heic left FormatOfPicture"];
    other_files: ["x_a.png", "x_b.png", "x.psd", "notes", "set.json"] => [
        "x_a.png > x_b.png", "notes left NeitherPictureNorCaption",
        "set.json left NeitherPictureNorCaption", "x.psd left FormatOfPicture",
    ];
    nothing: [] => [];
}

// What could be several things.
patterns! {
    letters_that_go_on_are_a_count: ["x_a.png", "x_b.png", "x_c.png"]
        => ["x_a.png left Several", "x_b.png left Several", "x_c.png left Several"];
    a_grid_of_letters: ["a_a.png", "a_b.png", "b_a.png", "b_b.png"]
        => ["a_a.png left Several", "a_b.png left Several", "b_a.png left Several", "b_b.png left Several"];
    two_targets_of_one: ["girl.png", "girl_after.png", "girl_edited.png"]
        => ["girl.png left Several", "girl_after.png left Several", "girl_edited.png left Several"];
    three_folders: ["oak/1.png", "elm/1.png", "fir/1.png"]
        => ["elm/1.png left Several", "fir/1.png left Several", "oak/1.png left Several"];
    the_same_name_but_for_extension: ["x_a.png", "x_a.jpg", "x_b.png"]
        => ["x_b.png alone", "x_a.jpg left SameName", "x_a.png left SameName"];
    the_same_name_twice: ["x.png", "x.png"] => ["x.png left SameName", "x.png left SameName"];
    names_that_say_nothing: ["oak.png", "elm.png"] => ["elm.png alone", "oak.png alone"];
    a_half_without_the_other: ["oak_before.png", "elm_after.png"] => ["elm_after.png alone", "oak_before.png alone"];
    a_caption_of_what_is_left: ["1.png", "2.png", "3.png", "3.txt"] => [
        "1.png left OddRun", "2.png left OddRun", "3.png left OddRun", "3.txt left CaptionOfUnused",
    ];
}

#[test]
fn pictures_are_taken_for_themselves_whatever_their_names_say() {
    let paths = ["x_a.png", "x_b.png", "x_a.txt", "x_b.caption", "x_mask.png"];
    assert_eq!(
        told(&paths, &alone_by_name(&paths)),
        [
            "x_a.png alone caption x_a.txt",
            "x_b.png alone caption x_b.caption",
            "x_mask.png left MaskOfNone"
        ],
        "with their captions"
    );
}

#[test]
fn thousands_of_files_are_paired() {
    let pair = |i: usize| ["a.png", "b.png", "mask.png", "a.txt"].map(|what| format!("{i}_{what}"));
    let paths: Vec<_> = (0..2000).flat_map(pair).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let pairing = pair_by_name(&paths);
    let whole = |(i, pair): (usize, &Paired)| {
        let beside = (pair.mask, pair.caption);
        (pair.original, pair.target, beside)
            == (4 * i, 4 * i + 1, (Some(4 * i + 2), Some(4 * i + 3)))
    };
    assert!(
        pairing.pairs.iter().enumerate().all(whole),
        "each as it is called"
    );
    assert_eq!(
        (pairing.pairs.len(), pairing.left.len()),
        (2000, 0),
        "all of them"
    );
}

#[test]
fn pairs_made_by_hand_have_what_lies_beside() {
    let paths = ["oak.png", "elm.png", "elm_mask.png", "oak.txt", "fir.png"];
    let pairing = arrange(&paths, &[Link::new(0, 1)]);
    assert_eq!(
        told(&paths, &pairing),
        [
            "oak.png > elm.png mask elm_mask.png caption oak.txt",
            "fir.png alone"
        ],
        "as if names had said it"
    );
    assert_eq!(arrange(&paths, &pairing.links()), pairing, "and again");
}

#[test]
fn links_that_cannot_be_are_passed_over() {
    let paths = ["oak.png", "elm.png", "fir.png", "oak.txt"];
    for [original, target] in [[0, 0], [0, 3], [0, 9], [9, 0]] {
        let pairing = arrange(&paths, &[Link::new(original, target)]);
        assert_eq!(pairing.pairs, [], "{original} {target}");
    }
    let twice = [
        Link::new(0, 1),
        Link::new(2, 1),
        Link::new(1, 2),
        Link::new(0, 2),
    ];
    let pairing = arrange(&paths, &twice);
    let pairs: Vec<_> = pairing
        .pairs
        .iter()
        .map(|pair| (pair.original, pair.target))
        .collect();
    assert_eq!(pairs, [(0, 1), (0, 2)], "an original may have several");
}

#[test]
fn every_reason_is_one_sentence_with_the_remedy() {
    let used = || "x.png".to_owned();
    let others = ["a.png", "b.png", "c.png", "d.png", "e.png"].map(str::to_owned);
    for why in [
        Why::FormatOfPicture,
        Why::NeitherPictureNorCaption,
        Why::SameName,
        Why::Several {
            others: others.to_vec(),
        },
        Why::OddRun { count: 3 },
        Why::NoOriginal,
        Why::LevelTooFar,
        Why::MaskOfNone,
        Why::SecondMask { used: used() },
        Why::CaptionOfNone,
        Why::CaptionOfUnused,
        Why::SecondCaption { used: used() },
    ] {
        let sentence = why.to_string();
        assert!(
            sentence.ends_with('.') && !sentence.contains(". "),
            "{sentence}"
        );
    }
    let why = Why::Several {
        others: others.to_vec(),
    };
    assert!(
        why.to_string()
            .contains(r#""a.png", "b.png", "c.png" or 2 more"#),
        "{why}"
    );
    let why = Why::Several {
        others: others[..2].to_vec(),
    };
    assert!(why.to_string().contains(r#""a.png" or "b.png""#), "{why}");
}

/// Names made of words that mean something and of some that do not.
fn any_path() -> impl Strategy<Value = String> {
    const WORDS: [&str; 26] = [
        "a", "b", "c", "A", "before", "after", "orig", "diff", "mask", "0", "1", "2", "03", "-1",
        "+2", "1.5", "level", "minus", "girl", "oak", "前", "後", "(1)", "captions", "copy", ".x",
    ];
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 1..4);
    let parts = prop::collection::vec((words, "[_ -]?"), 1..3);
    let extension = prop::sample::select(vec!["png", "png", "png", "jpg", "txt", "caption", "db"]);
    (parts, extension).prop_map(|(parts, extension)| {
        let parts: Vec<_> = parts.iter().map(|(words, by)| words.join(by)).collect();
        format!("{}.{extension}", parts.join("/"))
    })
}

/// How often a file is told, as what can be shared and as what cannot.
fn uses(pairing: &Pairing, file: usize) -> (usize, usize) {
    let mut shared = 0;
    let mut own = 0;
    for pair in &pairing.pairs {
        let beside = [Some(pair.original), pair.mask, pair.caption];
        shared += beside.iter().filter(|place| **place == Some(file)).count();
        own += usize::from(pair.target == file);
    }
    for alone in &pairing.alone {
        let places = [Some(alone.picture), alone.caption];
        own += places.iter().filter(|place| **place == Some(file)).count();
    }
    own += pairing.left.iter().filter(|left| left.file == file).count();
    (shared, own)
}

proptest! {
    #[test]
    fn the_order_of_files_makes_no_difference(
        paths in prop::collection::vec(any_path(), 0..14), turn in 0..14usize,
    ) {
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let mut turned = paths.clone();
        turned.rotate_left(turn.min(paths.len()));
        for _ in 0..2 {
            prop_assert_eq!(
                told(&turned, &pair_by_name(&turned)),
                told(&paths, &pair_by_name(&paths)),
            );
            turned.reverse();
        }
    }

    #[test]
    fn every_file_is_told_once(paths in prop::collection::vec(any_path(), 0..14)) {
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        for pairing in [pair_by_name(&paths), alone_by_name(&paths)] {
            for (file, path) in paths.iter().enumerate() {
                let is_hidden = path.split('/').any(|part| part.starts_with('.'));
                let (shared, own) = uses(&pairing, file);
                match is_hidden {
                    true => prop_assert_eq!((shared, own), (0, 0), "{} is hidden", path),
                    false => prop_assert_eq!(shared.min(1) + own, 1, "{}: {:?}", path, pairing),
                }
            }
            for pair in &pairing.pairs {
                let shares = |other: &&Paired| {
                    other.mask == pair.mask && pair.mask.is_some()
                        || other.caption == pair.caption && pair.caption.is_some()
                };
                let mut sharing = pairing.pairs.iter().filter(shares);
                prop_assert!(
                    sharing.all(|other| other.original == pair.original),
                    "only a graded set shares: {:?}", pairing
                );
            }
            let again = arrange(&paths, &pairing.links());
            prop_assert_eq!(&again.pairs, &pairing.pairs, "by hand as by name");
        }
    }
}
