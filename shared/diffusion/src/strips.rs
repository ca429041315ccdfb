//! Large pictures in strips, so that what an operation takes beside its input and its answer is that of a strip.
//!
//! A convolution makes a row of three, and a group norm takes of the other rows two moments a group. So a strip with
//! a few rows more on either side, and with the moments of the whole picture, becomes what it becomes in the whole
//! picture. On the CPU it is the same bit for bit, but for convolutions of stride 2 (the encoder's): those are Burn's,
//! which sum in an order that depends on the size. On GPUs all is the same but for the order of sums. Tiles that each
//! are normed by themselves and blended (diffusers' `tiled_decode`) would be another picture, and would have to hide
//! their seams.
//!
//! A strip is let go of when the next operation has read it, so the input shrinks while the answer grows.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use crate::ops::group_moments;

/// Rows beside its own that a strip is given on either side.
///
/// One would do for kernels of 3×3. Two keep strips begin where the whole picture has pixels that are made at once, two
/// by two (`ops/cpu/winograd.rs`), or of every second row (stride 2).
const HALO: usize = 2;

/// A picture `[batch, channels, height, width]`, from its top to its bottom.
#[derive(Debug, Clone)]
pub(crate) struct Strips {
    /// Each `[batch, channels, rows, width]`.
    strips: VecDeque<Tensor<4>>,
    /// Rows above the first, which were let go of.
    gone: usize,
    /// Numbers that a strip has at most.
    most: usize,
}

/// How high and wide an operation's answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// As the input.
    Same,
    /// Twice the input.
    Double,
    /// Half the input, rounded down.
    Half,
}

impl Size {
    const fn of(self, rows: usize) -> usize {
        match self {
            Self::Same => rows,
            Self::Double => 2 * rows,
            Self::Half => rows / 2,
        }
    }
}

/// Some rows of a picture, and up to [`HALO`] more on either side.
#[derive(Debug)]
pub(crate) struct Strip {
    /// `[batch, channels, rows with those beside, width]`
    pub values: Tensor<4>,
    /// Its first own row in the picture.
    top: usize,
    /// Its own rows.
    rows: usize,
    /// Rows above them.
    above: usize,
    /// Of the answer.
    size: Size,
}

impl Strip {
    /// Of what an operation answers to all rows, that which it answers to the strip's own.
    ///
    /// - `answer`: `[batch, channels, rows with those beside, width]`, of the answer's size
    pub fn own(&self, answer: Tensor<4>) -> Tensor<4> {
        let first = self.size.of(self.above);
        narrow(answer, first, self.size.of(self.above + self.rows) - first)
    }
}

impl Strips {
    /// A picture in one strip, which the first operation cuts.
    ///
    /// - `most`: numbers that a strip has at most, unless a few rows have more
    pub fn of(picture: Tensor<4>, most: usize) -> Self {
        Self {
            strips: VecDeque::from([picture]),
            gone: 0,
            most,
        }
    }

    /// No strip of a picture that is beside this one.
    pub const fn beside(&self) -> Self {
        Self {
            strips: VecDeque::new(),
            gone: 0,
            most: self.most,
        }
    }

    /// Adds rows at the bottom.
    pub fn push(&mut self, strip: Tensor<4>) {
        self.strips.push_back(strip);
    }

    /// Takes the rows that are a strip's own in a picture of the same size.
    pub fn take(&mut self, Strip { top, rows, .. }: &Strip) -> Tensor<4> {
        let bottom = top + rows;
        let taken = self.read(*top, bottom);
        self.let_go(bottom);
        taken
    }

    /// The picture.
    pub fn whole(self) -> Tensor<4> {
        let [.., height, _] = self.dims();
        self.read(0, height)
    }

    /// What an operation on the whole picture makes of it.
    pub fn through(self, operation: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Self {
        let most = self.most;
        Self::of(operation(self.whole()), most)
    }

    /// What an operation makes of it, strip by strip. A picture that is small enough is one strip.
    ///
    /// - `channels`, `size`: of the answer
    /// - `operation`: answers to a strip's [own](Strip::own) rows
    pub fn map(
        mut self,
        channels: usize,
        size: Size,
        mut operation: impl FnMut(&Strip) -> Tensor<4>,
    ) -> Self {
        let mut answer = self.beside();
        let [.., height, _] = self.dims();
        let rows = self.rows_at_once(channels, size);
        let mut top = 0;
        while top < height {
            // No strip of a single row, which halved were none.
            let is_last = top + rows + 1 >= height;
            let bottom = if is_last { height } else { top + rows };
            let above = top.min(HALO);
            let strip = Strip {
                values: self.read(top - above, height.min(bottom + HALO)),
                top,
                rows: bottom - top,
                above,
                size,
            };
            answer.push(operation(&strip));
            self.let_go(bottom.saturating_sub(HALO));
            top = bottom;
        }
        answer
    }

    /// Mean and 1/deviation of each group of channels, `[batch, groups, 2]`; none where an operation that keeps the
    /// size is given all rows at once, whose norm finds them by itself.
    ///
    /// - `answer`: channels that the operation answers
    pub fn moments(&self, answer: usize, groups: usize, eps: f64) -> Option<Tensor<3>> {
        let [batch, channels, height, width] = self.dims();
        if self.rows_at_once(answer, Size::Same) == height {
            return None;
        }
        // A group whole: parts of it would be other sums.
        let group = channels / groups;
        let at_once = (self.most / (batch * group * height * width)).clamp(1, groups);
        let moments = (0..groups).step_by(at_once).map(|first| {
            let count = at_once.min(groups - first);
            let of_strip =
                |strip: &Tensor<4>| strip.clone().narrow(1, first * group, count * group);
            let whole = Tensor::cat(self.strips.iter().map(of_strip).collect(), 2);
            group_moments(whole, count, eps)
        });
        Some(Tensor::cat(moments.collect(), 1))
    }

    /// Of the rows that are there.
    fn dims(&self) -> [usize; 4] {
        let [batch, channels, _, width] = self.strips[0].dims();
        let rows = self.strips.iter().map(|strip| strip.dims()[2]);
        [batch, channels, rows.sum(), width]
    }

    /// Rows of a strip for an operation, an even number; all, where they are one strip.
    fn rows_at_once(&self, channels: usize, size: Size) -> usize {
        let [batch, input, height, width] = self.dims();
        let answer = match size {
            Size::Same | Size::Half => channels * width,
            Size::Double => 4 * channels * width,
        };
        let rows = self.most / (batch * answer.max(input * width));
        if rows >= height {
            return height;
        }
        (rows.saturating_sub(2 * HALO) / 2 * 2).max(2)
    }

    /// The rows from `top` to above `bottom`.
    fn read(&self, top: usize, bottom: usize) -> Tensor<4> {
        let mut parts = Vec::new();
        let mut first = self.gone;
        for strip in &self.strips {
            let next = first + strip.dims()[2];
            let (from, to) = (top.max(first), bottom.min(next));
            if from < to {
                parts.push(narrow(strip.clone(), from - first, to - from));
            }
            first = next;
        }
        match parts.pop() {
            Some(part) if parts.is_empty() => part,
            last => {
                parts.extend(last);
                Tensor::cat(parts, 2)
            }
        }
    }

    /// Lets go of the strips that lie above a row.
    fn let_go(&mut self, row: usize) {
        while let Some(first) = self.strips.front() {
            let next = self.gone + first.dims()[2];
            if next > row {
                break;
            }
            self.strips.pop_front();
            self.gone = next;
        }
    }
}

/// Some rows of a tensor `[batch, channels, height, width]`; itself where they are all.
fn narrow(tensor: Tensor<4>, first: usize, rows: usize) -> Tensor<4> {
    if rows == tensor.dims()[2] {
        return tensor;
    }
    tensor.narrow(2, first, rows)
}
