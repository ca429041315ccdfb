//! Tokens in as many chunks as they need.
//!
//! CLIP's text encoder reads 77 tokens: a start, 75 of the prompt, an end. What is longer is read 75
//! at a time, each time as if it were all, and what comes of it is laid end to end, because the UNet's
//! attention takes any number of tokens.

use mimeo_protocol::PromptSyntax;

use crate::Piece;

/// Tokens of a chunk, without start and end.
pub const CHUNK: usize = 75;
/// A1111 breaks at a comma if one is among so many last tokens ("comma padding backtrack").
const BACKTRACK: usize = 20;
/// A piece of so many tokens is broken anywhere by ComfyUI; shorter ones are kept in one chunk.
const LARGE: usize = 8;

/// The tokens that are read at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// At most [`CHUNK`], without start, end and what fills up.
    pub ids: Vec<u32>,
    /// One for each.
    pub weights: Vec<f32>,
}

impl Chunk {
    fn push(&mut self, id: u32, weight: f32) {
        self.ids.push(id);
        self.weights.push(weight);
    }

    const fn len(&self) -> usize {
        self.ids.len()
    }

    const fn is_full(&self) -> bool {
        self.len() == CHUNK
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self {
            ids: self.ids.split_off(at),
            weights: self.weights.split_off(at),
        }
    }
}

/// The chunks of a prompt, at least one.
///
/// - `pieces`: its tokens
/// - `comma`: the token of a comma, if the vocabulary has one
#[must_use]
pub fn chunks(
    pieces: impl IntoIterator<Item = Piece<Vec<u32>>>,
    syntax: PromptSyntax,
    comma: Option<u32>,
) -> Vec<Chunk> {
    match syntax {
        PromptSyntax::A1111 | PromptSyntax::Plain => at_commas(pieces, comma),
        PromptSyntax::Comfy => between_pieces(pieces),
        PromptSyntax::Cut => {
            let mut chunks = at_commas(pieces, None);
            chunks.truncate(1);
            chunks
        }
    }
}

/// As A1111 does: a full chunk ends after a comma, if one is near.
fn at_commas(pieces: impl IntoIterator<Item = Piece<Vec<u32>>>, comma: Option<u32>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut open = Chunk::default();
    let mut last_comma: Option<usize> = None;
    for piece in pieces {
        let Piece::Words { words, weight } = piece else {
            chunks.push(std::mem::take(&mut open));
            last_comma = None;
            continue;
        };
        for id in words {
            let is_comma = Some(id) == comma;
            if open.is_full() {
                // A comma itself goes on in the next chunk.
                let near = last_comma.filter(|at| !is_comma && CHUNK - at <= BACKTRACK);
                let moved = open.split_off(near.map_or(CHUNK, |at| at + 1));
                chunks.push(std::mem::replace(&mut open, moved));
                last_comma = None;
            }
            if is_comma {
                last_comma = Some(open.len());
            }
            open.push(id, weight);
        }
    }
    if open.len() > 0 || chunks.is_empty() {
        chunks.push(open);
    }
    chunks
}

/// As ComfyUI does: short pieces stay together.
fn between_pieces(pieces: impl IntoIterator<Item = Piece<Vec<u32>>>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut open = Chunk::default();
    for piece in pieces {
        let Piece::Words { words, weight } = piece else {
            chunks.push(std::mem::take(&mut open));
            continue;
        };
        let is_large = words.len() >= LARGE;
        if !is_large && open.len() + words.len() > CHUNK {
            chunks.push(std::mem::take(&mut open));
        }
        for id in words {
            if open.is_full() {
                chunks.push(std::mem::take(&mut open));
            }
            open.push(id, weight);
        }
    }
    chunks.push(open);
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMA: u32 = 9;

    fn words(ids: Vec<u32>, weight: f32) -> Piece<Vec<u32>> {
        Piece::Words { words: ids, weight }
    }

    fn lengths(chunks: &[Chunk]) -> Vec<usize> {
        chunks.iter().map(Chunk::len).collect()
    }

    /// Tokens that are no commas but at these places.
    fn with_commas(count: u32, commas: &[u32]) -> Vec<u32> {
        let id = |at| {
            if commas.contains(&at) {
                COMMA
            } else {
                100 + at
            }
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn a_full_chunk_ends_after_a_near_comma() {
        for (tokens, expected) in [
            (with_commas(75, &[]), vec![75]),
            (with_commas(76, &[]), vec![75, 1]),
            (with_commas(151, &[]), vec![75, 75, 1]),
            (with_commas(76, &[60]), vec![61, 15]),
            // 20 tokens from the end at most, as A1111 counts.
            (with_commas(76, &[55]), vec![56, 20]),
            (with_commas(76, &[54]), vec![75, 1]),
            (with_commas(76, &[74]), vec![75, 1]),
            // The comma itself is the 76th.
            (with_commas(76, &[60, 75]), vec![75, 1]),
            (with_commas(75, &[60]), vec![75]),
            (with_commas(140, &[60, 130]), vec![61, 70, 9]),
            (vec![], vec![0]),
        ] {
            for syntax in [PromptSyntax::A1111, PromptSyntax::Plain] {
                let chunks = chunks([words(tokens.clone(), 1.0)], syntax, Some(COMMA));
                assert_eq!(lengths(&chunks), expected, "{} tokens", tokens.len());
                let ids: Vec<u32> = chunks.into_iter().flat_map(|chunk| chunk.ids).collect();
                assert_eq!(ids, tokens, "none is lost, none twice");
            }
        }
    }

    #[test]
    fn a_break_ends_a_chunk_and_nothing_follows_the_last_words() {
        let word = |id| words(vec![id], 1.0);
        for (pieces, expected) in [
            (vec![word(1), Piece::Break, word(2)], vec![1, 1]),
            (vec![word(1), Piece::Break], vec![1]),
            (vec![Piece::Break, word(1)], vec![0, 1]),
            (
                vec![word(1), Piece::Break, Piece::Break, word(2)],
                vec![1, 0, 1],
            ),
        ] {
            let chunks = chunks(pieces.clone(), PromptSyntax::A1111, Some(COMMA));
            assert_eq!(lengths(&chunks), expected, "{pieces:?}");
        }
    }

    #[test]
    fn comfy_keeps_short_pieces_together() {
        for (of_pieces, expected) in [
            (vec![70, 5], vec![75]),
            (vec![70, 7], vec![70, 7]),
            (vec![70, 8], vec![75, 3]),
            (vec![100], vec![75, 25]),
            (vec![75], vec![75]),
            (vec![], vec![0]),
        ] {
            let pieces = of_pieces.iter();
            let pieces = pieces.map(|length| words(with_commas(*length, &[]), 1.0));
            let chunks = chunks(pieces, PromptSyntax::Comfy, Some(COMMA));
            assert_eq!(lengths(&chunks), expected, "{of_pieces:?}");
        }
    }

    #[test]
    fn an_old_recipe_reads_the_first_75() {
        let tokens = with_commas(200, &[60]);
        let chunks = chunks([words(tokens.clone(), 1.0)], PromptSyntax::Cut, Some(COMMA));
        let [chunk] = &chunks[..] else {
            panic!("one chunk");
        };
        assert_eq!(chunk.ids, tokens[..CHUNK], "commas or not");
    }

    proptest! {
        #[test]
        fn every_token_keeps_its_weight(
            pieces in proptest::collection::vec((0_usize..40, -2.0_f32..2.0), 0..12),
            comfy in proptest::bool::ANY,
        ) {
            let mut next = 0;
            let pieces = pieces.into_iter().map(|(count, weight)| {
                let ids = (next..next + count as u32).collect();
                next += count as u32;
                (ids, weight)
            });
            let pieces: Vec<(Vec<u32>, f32)> = pieces.collect();
            let weighted: Vec<(u32, f32)> = pieces
                .iter()
                .flat_map(|(ids, weight)| ids.iter().map(|id| (*id, *weight)))
                .collect();
            let pieces = pieces.into_iter().map(|(ids, weight)| words(ids, weight));
            let syntax = if comfy { PromptSyntax::Comfy } else { PromptSyntax::A1111 };
            let chunks = chunks(pieces, syntax, Some(COMMA));
            let read: Vec<(u32, f32)> = chunks
                .iter()
                .flat_map(|chunk| chunk.ids.iter().copied().zip(chunk.weights.iter().copied()))
                .collect();
            prop_assert_eq!(read, weighted);
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK));
        }
    }
}
