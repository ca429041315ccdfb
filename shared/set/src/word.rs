//! Words by which halves of pairs, masks, captions and levels are called, in lower case.

/// Which half of a pair a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What to start from.
    Original,
    /// What to become.
    Target,
}

/// Words that belong together: any of the first means A, any of the second B.
pub struct Family {
    original: &'static [&'static str],
    target: &'static [&'static str],
}

impl Family {
    /// Which half the word means here.
    pub fn side(&self, word: &str) -> Option<Side> {
        if self.original.contains(&word) {
            Some(Side::Original)
        } else if self.target.contains(&word) {
            Some(Side::Target)
        } else {
            None
        }
    }
}

/// From the plainest on: whoever writes `before` means it, `in` may be part of what is shown.
pub const FAMILIES: [Family; 7] = [
    // As people say it; the last kana also as macOS takes them apart.
    Family {
        original: &[
            "before",
            "前",
            "変更前",
            "加工前",
            "修正前",
            "编辑前",
            "修改前",
            "ビフォー",
            "ビフォア",
            "ヒ\u{3099}フォー",
            "ヒ\u{3099}フォア",
            "전",
            "vorher",
            "avant",
            "antes",
            "prima",
            "до",
        ],
        target: &[
            "after",
            "後",
            "后",
            "変更後",
            "加工後",
            "修正後",
            "编辑后",
            "修改后",
            "アフター",
            "후",
            "nachher",
            "après",
            "apres",
            "después",
            "despues",
            "depois",
            "dopo",
            "после",
        ],
    },
    // As programs say it.
    Family {
        original: &[
            "orig",
            "original",
            "originals",
            "source",
            "sources",
            "src",
            "input",
            "inputs",
            "control",
            "controls",
            "conditioning",
            "raw",
            "unedited",
            "元",
            "元画像",
        ],
        target: &[
            "targ",
            "target",
            "targets",
            "dst",
            "dest",
            "destination",
            "output",
            "outputs",
            "edited",
            "edit",
            "edits",
            "result",
            "results",
            "modified",
            "changed",
            "retouched",
            "先",
        ],
    },
    Family {
        original: &["neg", "negative", "minus"],
        target: &["pos", "positive", "plus"],
    },
    Family {
        original: &["old"],
        target: &["new"],
    },
    Family {
        original: &["low"],
        target: &["high"],
    },
    Family {
        original: &["pre", "without", "no", "off", "in", "from", "start", "not"],
        target: &["post", "with", "yes", "on", "out", "to", "end"],
    },
    // Last, because an `a` is part of many names.
    Family {
        original: &["a"],
        target: &["b"],
    },
];

/// What only the second of two names says.
pub const ADDED: Family = Family {
    original: &[],
    target: &[
        "diff",
        "difference",
        "copy",
        "コピー",
        "kopie",
        "copie",
        "copia",
    ],
};

/// That a picture is a mask.
pub const MASK: [&str; 9] = [
    "mask",
    "masks",
    "masklabel",
    "maske",
    "masque",
    "matte",
    "マスク",
    "蒙版",
    "遮罩",
];

/// That a text is a caption.
pub const CAPTION: [&str; 8] = [
    "caption", "captions", "prompt", "prompts", "tags", "txt", "text", "texts",
];

/// That the number which follows is a level.
pub const LEVEL: [&str; 7] = [
    "level",
    "levels",
    "lvl",
    "lv",
    "strength",
    "grade",
    "レベル",
];

/// That the level which follows is below 0.
pub const BELOW: [&str; 3] = ["minus", "neg", "negative"];

/// That the level which follows is above 0.
pub const ABOVE: [&str; 3] = ["plus", "pos", "positive"];

/// Words that are found also at the end of another one (`girlbefore`): those that end few others.
pub const JOINED: [&str; 7] = [
    "before", "after", "original", "target", "edited", "output", "mask",
];

/// Words of scripts that write no spaces, which are found at both ends of another one.
pub fn spaceless() -> impl Iterator<Item = &'static str> {
    let sides = FAMILIES.iter().flat_map(|family| {
        let words = family.original.iter().chain(family.target);
        words.copied()
    });
    let others = MASK.iter().chain(&CAPTION).chain(&LEVEL).copied();
    sides
        .chain(others)
        .filter(|word| word.chars().any(is_spaceless))
}

/// Whether it belongs to a script that writes no spaces.
pub fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..)
}
