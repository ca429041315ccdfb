//! What the name of a file says.

use std::cmp::Ordering;

use crate::word;

/// What a file is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be trained.
    Picture,
    /// A picture that says where.
    Mask,
    /// A text.
    Caption {
        /// Which of several counts: the lower.
        rank: u8,
    },
    /// A picture that is not read.
    ForeignPicture,
    /// Anything else.
    Foreign,
    /// Of a system or hidden: as if it were not there.
    Hidden,
    /// One of several with the same name.
    Twin,
}

impl Kind {
    /// Whether it may be half of a pair.
    pub fn is_picture(self) -> bool {
        // What is called a mask may be paired by hand.
        matches!(self, Self::Picture | Self::Mask)
    }

    /// Which of several captions of one picture counts: the lower.
    pub fn rank(self) -> u8 {
        match self {
            Self::Caption { rank } => rank,
            _ => 0,
        }
    }
}

/// A word or a number of a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// In lower case, without leading zeros; of a number with its sign.
    pub text: String,
    /// Its value, if it is a number.
    pub number: Option<f64>,
    /// Whether nobody counts so: it has a sign, or a fraction.
    pub is_level: bool,
    /// Whether it stands in brackets for itself, as browsers count downloads.
    pub is_counter: bool,
}

impl Token {
    /// The number, if one counts so.
    pub fn count(&self) -> Option<u64> {
        match self.is_level {
            true => None,
            false => self.text.parse().ok().filter(|_| self.number.is_some()),
        }
    }
}

/// The name of a file, taken apart.
#[derive(Debug, Clone)]
pub struct Name {
    /// As it was given.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// It without its extension, in lower case.
    pub stem: String,
    /// The words of each folder, and of the name without its extension as the last.
    pub parts: Vec<Vec<Token>>,
}

/// Formats that are read.
const PICTURES: [&str; 6] = ["png", "jpg", "jpeg", "jpe", "jfif", "webp"];

/// Formats that are not read, and hold pictures.
const FOREIGN_PICTURES: [&str; 17] = [
    "avif", "bmp", "dng", "exr", "gif", "heic", "heif", "ico", "jp2", "jxl", "psd", "qoi", "svg",
    "tga", "tif", "tiff", "xcf",
];

/// Formats of captions, the one that counts first.
const CAPTIONS: [&str; 2] = ["txt", "caption"];

/// What systems leave in folders of pictures.
const OF_SYSTEMS: [&str; 8] = [
    "__macosx",
    "$recycle.bin",
    "@eadir",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "thumbs.db",
    "ehthumbs_vista.db",
];

impl Name {
    /// Takes a name apart.
    pub fn read(path: &str) -> Self {
        let plain: String = path.chars().map(half_width).collect();
        let components: Vec<_> = plain.split('/').filter(|part| !part.is_empty()).collect();
        let (file, folders) = components
            .split_last()
            .map_or(("", &[][..]), |(f, r)| (*f, r));
        let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
        let extension = extension.to_lowercase();
        let is_hidden = |part: &&str| {
            part.starts_with('.') || OF_SYSTEMS.contains(&part.to_lowercase().as_str())
        };
        let mut stem = stem;
        let rank = CAPTIONS.iter().position(|known| *known == extension);
        let kind = if components.iter().any(is_hidden) {
            Kind::Hidden
        } else if PICTURES.contains(&extension.as_str()) {
            Kind::Picture
        } else if FOREIGN_PICTURES.contains(&extension.as_str()) {
            Kind::ForeignPicture
        } else if let Some(rank) = rank {
            // Some write `girl.png.txt`.
            if let Some((shorter, inner)) = stem.rsplit_once('.')
                && PICTURES.contains(&inner.to_lowercase().as_str())
            {
                stem = shorter;
            }
            Kind::Caption { rank: rank as u8 }
        } else {
            Kind::Foreign
        };
        let components = || folders.iter().copied().chain([stem]);
        let mut name = Self {
            path: path.to_owned(),
            kind,
            stem: components().collect::<Vec<_>>().join("/").to_lowercase(),
            parts: components().map(tokens).collect(),
        };
        let says_mask = |token: &Token| word::MASK.contains(&token.text.as_str());
        if kind == Kind::Picture && name.tokens().any(|(_, token)| says_mask(token)) {
            name.kind = Kind::Mask;
        }
        name
    }

    /// By what files are told apart: a picture's extension makes no difference.
    pub fn place(&self) -> (bool, String) {
        match self.kind.is_picture() {
            true => (true, self.stem.clone()),
            false => (false, self.path.to_lowercase()),
        }
    }

    /// Every token, with its place.
    pub fn tokens(&self) -> impl Iterator<Item = (Place, &Token)> {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(part, tokens)| {
            let place = move |token| Place { part, token };
            let tokens = tokens.iter().enumerate();
            tokens.map(move |(i, token)| (place(i), token))
        })
    }

    /// All that it says but for some tokens.
    pub fn key(&self, without: impl Fn(Place, &Token) -> bool) -> String {
        let mut key = String::new();
        for (part, tokens) in self.parts.iter().enumerate() {
            let start = key.len();
            for (i, token) in tokens.iter().enumerate() {
                if !without(Place { part, token: i }, token) {
                    key.push(if key.len() == start { '/' } else { ' ' });
                    key.push_str(&token.text);
                }
            }
        }
        key
    }

    /// All that it says.
    pub fn full_key(&self) -> String {
        self.key(|_, _| false)
    }

    /// As a person orders names: 2 before 10, case apart.
    pub fn order(&self, other: &Self) -> Ordering {
        let parts = self.parts.iter().zip(&other.parts);
        let by_part = parts.map(|(a, b)| order(a, b));
        let by_part = by_part.fold(Ordering::Equal, Ordering::then);
        let by_depth = self.parts.len().cmp(&other.parts.len());
        by_part
            .then(by_depth)
            .then_with(|| self.path.cmp(&other.path))
    }
}

/// Where in a name a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which folder, or the name itself, which is the last.
    pub part: usize,
    /// Which of its tokens.
    pub token: usize,
}

fn order(a: &[Token], b: &[Token]) -> Ordering {
    let by_token = a.iter().zip(b).map(|(a, b)| match (a.number, b.number) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.text.cmp(&b.text),
    });
    let by_token = by_token.fold(Ordering::Equal, Ordering::then);
    by_token.then(a.len().cmp(&b.len()))
}

/// Letters, digits and signs of Japanese keyboards as all others write them.
fn half_width(c: char) -> char {
    match c {
        // No folder begins after the slash among them.
        '\u{FF0F}' => ' ',
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '\u{3000}' => ' ',
        '\u{2212}' => '-',
        c => c,
    }
}

/// Where a token ends: what stands between words.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c.is_ascii() && !c.is_ascii_alphanumeric()
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{3001}'..='\u{301F}' | '\u{30FB}')
}

/// The words and numbers of one folder or file.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at..];
        if c.is_ascii_digit() || starts_signed(&chars, at) {
            let token = number(rest);
            let before = at.checked_sub(1).and_then(|i| chars.get(i));
            let after = chars.get(at + token.1);
            let is_counter = (before, after) == (Some(&'('), Some(&')'));
            at += token.1;
            tokens.push(Token {
                is_counter,
                ..token.0
            });
        } else if is_separator(c) {
            at += 1;
        } else {
            let length = word_length(rest);
            let word: String = rest[..length].iter().collect();
            push_words(&word.to_lowercase(), &mut tokens);
            at += length;
        }
    }
    tokens
}

/// Whether a number with a sign stands there: one that no word or number touches.
fn starts_signed(chars: &[char], at: usize) -> bool {
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let touches = |c: &char| c.is_alphanumeric() || *c == ')';
    let touched = at
        .checked_sub(1)
        .is_some_and(|before| touches(&chars[before]));
    match chars[at] {
        '+' => is_digit(at + 1),
        '-' => is_digit(at + 1) && !touched,
        _ => false,
    }
}

/// A number, and how many characters it takes.
fn number(chars: &[char]) -> (Token, usize) {
    let digits = |from: usize| {
        let rest = chars.get(from..).unwrap_or_default();
        rest.iter().take_while(|c| c.is_ascii_digit()).count()
    };
    let sign = usize::from(!chars[0].is_ascii_digit());
    let whole = sign + digits(sign);
    let fraction = match chars.get(whole) {
        Some('.') => digits(whole + 1),
        _ => 0,
    };
    let length = if fraction > 0 {
        whole + 1 + fraction
    } else {
        whole
    };
    let text: String = chars[..length].iter().collect();
    let is_level = sign > 0 || fraction > 0;
    let unsigned = text.trim_start_matches(['+', '-']).trim_start_matches('0');
    let unsigned = match unsigned.chars().next() {
        None | Some('.') => format!("0{unsigned}"),
        Some(_) => unsigned.to_owned(),
    };
    let sign = if text.starts_with('-') { "-" } else { "" };
    let token = Token {
        number: text.parse().ok(),
        text: format!("{sign}{unsigned}"),
        is_level,
        is_counter: false,
    };
    (token, length)
}

/// How long the word is that begins there: to a separator, a digit, a capital after a small letter
/// (`girlA`), or another script (`girl前`).
fn word_length(chars: &[char]) -> usize {
    let breaks = |pair: &[char]| {
        let (before, c) = (pair[0], pair[1]);
        is_separator(c)
            || c.is_ascii_digit()
            || before.is_lowercase() && c.is_uppercase()
            || word::is_spaceless(before) != word::is_spaceless(c)
    };
    chars
        .windows(2)
        .position(breaks)
        .map_or(chars.len(), |i| i + 1)
}

/// The word, or the words that it is made of: `girlbefore`, `写真前`.
fn push_words(text: &str, tokens: &mut Vec<Token>) {
    let ends = |word: &&str| text.len() > word.len() && text.ends_with(word);
    let starts = |word: &&str| text.len() > word.len() && text.starts_with(word);
    let is_word = word::JOINED.contains(&text) || word::spaceless().any(|word| word == text);
    let joined = word::JOINED.into_iter().chain(word::spaceless());
    let last = joined.filter(ends).max_by_key(|word| word.len());
    let first = word::spaceless()
        .filter(starts)
        .max_by_key(|word| word.len());
    let (one, two) = match (last, first) {
        _ if is_word => (text, ""),
        (Some(last), _) => text.split_at(text.len() - last.len()),
        (None, Some(first)) => text.split_at(first.len()),
        (None, None) => (text, ""),
    };
    let words = [one, two].into_iter().filter(|word| !word.is_empty());
    tokens.extend(words.map(|word| Token {
        text: word.to_owned(),
        number: None,
        is_level: false,
        is_counter: false,
    }));
}
