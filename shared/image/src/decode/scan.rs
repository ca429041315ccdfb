//! Whether a JPEG's picture data is whole (ITU T.81).
//!
//! A JPEG has no checksum, and decoders draw grey or garbage where data is missing and report
//! success: such a picture would be trained on. But its data is Huffman codes for a known number of
//! blocks. What was cut off, overwritten or torn out of the middle makes them end too early or too
//! late, or say what no encoder says. So they are read here once, without computing a pixel.

use super::check_size;
use crate::error::ImageError;

/// As many as the decoder takes. Each may cost a look at every block, whatever its size in the file.
const MAX_SCANS: usize = 100;

/// Bytes between the last block and the end that are taken for an encoder's padding: some cameras and
/// webcams leave a few.
const MAX_LEFT_OVER: usize = 16;

/// What was found around the picture data.
#[derive(Debug, Default)]
pub(super) struct Scans {
    /// Where the picture ends in the file, behind its end marker; none where it was not followed to
    /// there, because the file has a form that only the decoder may know.
    pub(super) end: Option<usize>,
    /// Whether the header has a colour profile, readable or not.
    pub(super) has_profile: bool,
}

/// Reads a JPEG from its first marker to its last.
///
/// # Errors
/// [`ImageError::Corrupt`] when data is missing or damaged, [`ImageError::UnsupportedFormat`] for
/// codings that Mimeo does not read, [`ImageError::TooLarge`].
pub(super) fn check(bytes: &[u8]) -> Result<Scans, ImageError> {
    let mut file = File::new(bytes);
    match file.read() {
        Ok(()) => Ok(file.found),
        Err(Stop::Unknown) => Ok(Scans {
            end: None,
            ..file.found
        }),
        Err(Stop::Refused(error)) => Err(error),
        Err(Stop::Damaged(reason)) => Err(ImageError::Corrupt {
            format: "JPEG",
            reason,
        }),
    }
}

/// Why reading ends before the end.
enum Stop {
    /// The file has a form that the decoder is left to judge.
    Unknown,
    Refused(ImageError),
    /// In words that follow "damaged or cut off".
    Damaged(String),
}

impl Stop {
    fn damaged(reason: &str) -> Self {
        Self::Damaged(reason.to_owned())
    }

    fn end_is_missing() -> Self {
        Self::damaged("the end is missing")
    }

    fn unsupported(coding: &str) -> Self {
        Self::Refused(ImageError::UnsupportedFormat {
            found: format!("a JPEG with {coding}, which few programs read"),
            remedy: super::kind::CONVERT,
        })
    }
}

/// The codes of markers.
mod marker {
    pub(super) const BASELINE: u8 = 0xC0;
    pub(super) const EXTENDED: u8 = 0xC1;
    pub(super) const PROGRESSIVE: u8 = 0xC2;
    pub(super) const HUFFMAN_TABLES: u8 = 0xC4;
    pub(super) const RESTARTS: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;
    pub(super) const START: u8 = 0xD8;
    pub(super) const END: u8 = 0xD9;
    pub(super) const SCAN: u8 = 0xDA;
    pub(super) const QUANTISATION: u8 = 0xDB;
    pub(super) const RESTART_INTERVAL: u8 = 0xDD;
    pub(super) const PROFILE: u8 = 0xE2;
}

struct Marker {
    code: u8,
    /// Where its first byte stands.
    begins: usize,
    /// Behind its last byte.
    ends: usize,
}

/// The first marker at or behind `at`. Any number of 0xFF may pad it, and 0xFF 0x00 is none.
fn next_marker(bytes: &[u8], at: usize) -> Option<Marker> {
    let mut begins = at;
    loop {
        begins += bytes.get(begins..)?.iter().position(|&byte| byte == 0xFF)?;
        let padding = bytes[begins..].iter().position(|&byte| byte != 0xFF)?;
        let ends = begins + padding + 1;
        match bytes[ends - 1] {
            0 => begins = ends,
            code => {
                return Some(Marker { code, begins, ends });
            }
        }
    }
}

struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    found: Scans,
    frame: Option<Frame>,
    tables: Tables,
    scans: usize,
}

/// What the header says before and between scans.
#[derive(Default)]
struct Tables {
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// What the first coefficient of a block was divided by; 0: not said.
    dc_divisors: [u16; 4],
    /// In MCUs; 0: none.
    restart_interval: usize,
}

/// The picture's size and components.
struct Frame {
    is_progressive: bool,
    /// Across and down.
    mcus: (usize, usize),
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Blocks of one MCU, across and down.
    sampling: (usize, usize),
    /// Blocks that hold any of the picture, across and down.
    blocks: (usize, usize),
    /// Blocks from one row to the next: those of whole MCUs.
    stride: usize,
    quantisation: usize,
    /// One bit for every coefficient that is not 0 so far, for every block of a progressive
    /// picture: what a later scan holds depends on it.
    not_zero: Vec<u64>,
    has_dc: bool,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            // Behind the start marker, by which the file was recognised.
            at: 2,
            found: Scans::default(),
            frame: None,
            tables: Tables::default(),
            scans: 0,
        }
    }

    fn read(&mut self) -> Result<(), Stop> {
        loop {
            let marker = next_marker(self.bytes, self.at).ok_or_else(Stop::end_is_missing)?;
            self.at = marker.ends;
            match marker.code {
                marker::END => return self.end(),
                marker::SCAN => self.scan()?,
                marker::START => {
                    return Err(Stop::damaged("another picture begins before its end"));
                }
                // These two kinds stand alone.
                0x01 => {}
                code if marker::RESTARTS.contains(&code) => {}
                code => self.segment(code)?,
            }
        }
    }

    fn end(&mut self) -> Result<(), Stop> {
        let frame = self.frame.as_ref();
        let components = frame.map_or(&[][..], |frame| &frame.components);
        if components.is_empty() || components.iter().any(|component| !component.has_dc) {
            return Err(Stop::damaged("it ends before its picture"));
        }
        self.found.end = Some(self.at);
        Ok(())
    }

    /// The segment at `at` without its length, and moves behind it.
    fn payload(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.bytes.get(self.at..self.at + 2);
        let length = length.ok_or_else(Stop::end_is_missing)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let payload = self.bytes.get(self.at + 2..self.at + length.max(2));
        self.at += length.max(2);
        payload.ok_or_else(Stop::end_is_missing)
    }

    fn segment(&mut self, code: u8) -> Result<(), Stop> {
        let payload = self.payload()?;
        match code {
            marker::BASELINE | marker::EXTENDED | marker::PROGRESSIVE => {
                self.frame = Some(Frame::new(payload, code == marker::PROGRESSIVE)?);
            }
            marker::HUFFMAN_TABLES => self.tables.add_huffman(payload)?,
            marker::QUANTISATION => self.tables.add_quantisation(payload)?,
            marker::RESTART_INTERVAL => {
                let interval = payload.first_chunk().ok_or(Stop::Unknown)?;
                self.tables.restart_interval = u16::from_be_bytes(*interval).into();
            }
            marker::PROFILE => {
                self.found.has_profile |= payload.starts_with(b"ICC_PROFILE\0");
            }
            0xC3 | 0xC5..=0xC7 => return Err(Stop::unsupported("lossless or layered coding")),
            0xC9..=0xCF => return Err(Stop::unsupported("arithmetic coding")),
            _ => {}
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), Stop> {
        let header = self.payload()?;
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Stop::damaged("it has more scans than any picture needs"));
        }
        let frame = self.frame.as_mut().ok_or(Stop::Unknown)?;
        let scan = Scan::new(header, frame)?;
        let mut bits = Bits::new(self.bytes, self.at);
        let mut done = 0;
        let read = scan.read(&self.tables, frame, &mut bits, &mut done);
        let end = read.and_then(|()| bits.finish());
        self.at = match end {
            Ok(at) => at,
            Err(Fault::NoTable) => return Err(Stop::Unknown),
            Err(Fault::Ended) if done == scan.mcus(frame) => return Err(Stop::end_is_missing()),
            Err(fault) => {
                let percent = done * 100 / scan.mcus(frame).max(1);
                let place = match self.scans {
                    1 => format!("after {percent} % of the picture"),
                    number => format!("in its scan {number}"),
                };
                return Err(Stop::Damaged(match fault {
                    Fault::Garbled => format!("its data makes no sense {place}"),
                    Fault::LeftOver(count) => {
                        format!("{count} bytes are left over {place}")
                    }
                    Fault::Ended | Fault::NoTable => format!("its data ends {place}"),
                }));
            }
        };
        Ok(())
    }
}

impl Tables {
    fn add_huffman(&mut self, mut payload: &[u8]) -> Result<(), Stop> {
        while let Some((head, rest)) = payload.split_first_chunk::<17>() {
            let [place, counts @ ..] = head;
            let symbols: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let damaged = || Stop::damaged("its code tables make no sense");
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or_else(damaged)?;
            let table = Huffman::new(counts, symbols).ok_or_else(damaged)?;
            let tables = match place >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(damaged()),
            };
            *tables
                .get_mut(usize::from(place & 15))
                .ok_or_else(damaged)? = Some(table);
            payload = rest;
        }
        Ok(())
    }

    fn add_quantisation(&mut self, mut payload: &[u8]) -> Result<(), Stop> {
        while let Some((&head, rest)) = payload.split_first() {
            let divisor = self.dc_divisors.get_mut(usize::from(head & 15));
            let (divisor, is_wide) = (divisor.ok_or(Stop::Unknown)?, head >> 4 == 1);
            let values = rest.split_at_checked(if is_wide { 128 } else { 64 });
            let (values, rest) = values.ok_or(Stop::Unknown)?;
            *divisor = match is_wide {
                true => u16::from_be_bytes([values[0], values[1]]),
                false => values[0].into(),
            };
            payload = rest;
        }
        Ok(())
    }
}

impl Frame {
    fn new(payload: &[u8], is_progressive: bool) -> Result<Self, Stop> {
        let (head, components) = payload.split_first_chunk::<6>().ok_or(Stop::Unknown)?;
        let [precision, high, low, wide, narrow, _count] = *head;
        if precision != 8 {
            return Err(Stop::unsupported(&format!("{precision} bits a channel")));
        }
        let height = u16::from_be_bytes([high, low]);
        let width = u16::from_be_bytes([wide, narrow]);
        if width == 0 || height == 0 {
            return Err(Stop::Unknown);
        }
        check_size(width.into(), height.into()).map_err(Stop::Refused)?;
        let (width, height) = (usize::from(width), usize::from(height));
        let components = components.as_chunks::<3>().0;
        let sampling = |byte: u8| (usize::from(byte >> 4), usize::from(byte & 15));
        let all = components.iter().map(|[_, byte, _]| sampling(*byte));
        let most = all.clone().fold((1, 1), |most: (usize, usize), each| {
            (most.0.max(each.0), most.1.max(each.1))
        });
        if components.len() > 4
            || !all
                .clone()
                .all(|(x, y)| (1..5).contains(&x) && (1..5).contains(&y))
        {
            return Err(Stop::Unknown);
        }
        let mcus = (width.div_ceil(8 * most.0), height.div_ceil(8 * most.1));
        let components = components.iter().map(|&[id, byte, quantisation]| {
            let sampling = sampling(byte);
            let stride = mcus.0 * sampling.0;
            let coded = if is_progressive {
                stride * mcus.1 * sampling.1
            } else {
                0
            };
            Component {
                id,
                sampling,
                blocks: (
                    (width * sampling.0).div_ceil(8 * most.0),
                    (height * sampling.1).div_ceil(8 * most.1),
                ),
                stride,
                quantisation: quantisation.into(),
                not_zero: vec![0; coded],
                has_dc: false,
            }
        });
        Ok(Self {
            is_progressive,
            mcus,
            components: components.collect(),
        })
    }
}

/// Why a scan cannot be read to its end.
enum Fault {
    /// The data ends before the blocks.
    Ended,
    /// The blocks end so many bytes before the data.
    LeftOver(usize),
    /// No encoder writes this.
    Garbled,
    /// A table is not in the file; some decoders know it by heart.
    NoTable,
}

/// The header of a scan.
struct Scan {
    /// Indices into the frame's components, each with its tables for DC and AC.
    parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient, in zigzag order.
    band: (u8, u8),
    /// Whether it refines what an earlier scan said.
    is_refinement: bool,
    /// Bits that are left for later scans.
    low_bits: u32,
}

impl Scan {
    fn new(header: &[u8], frame: &mut Frame) -> Result<Self, Stop> {
        let (&count, rest) = header.split_first().ok_or(Stop::Unknown)?;
        let parts = rest.split_at_checked(usize::from(count) * 2);
        let (parts, rest) = parts.ok_or(Stop::Unknown)?;
        let &[first, last, bits] = rest.first_chunk().ok_or(Stop::Unknown)?;
        let holds_dc = first == 0 || !frame.is_progressive;
        let components = &mut frame.components;
        let parts = parts.as_chunks::<2>().0.iter().map(|&[id, tables]| {
            let found = components.iter().position(|component| component.id == id)?;
            components[found].has_dc |= holds_dc;
            Some((found, usize::from(tables >> 4), usize::from(tables & 15)))
        });
        let parts: Option<Vec<_>> = parts.collect();
        let parts = parts
            .filter(|parts| !parts.is_empty())
            .ok_or(Stop::Unknown)?;
        if !frame.is_progressive {
            return Ok(Self {
                parts,
                band: (0, 63),
                is_refinement: false,
                low_bits: 0,
            });
        }
        let is_legal = match first {
            0 => last == 0,
            _ => first <= last && last < 64 && parts.len() == 1,
        };
        if !is_legal || bits & 15 > 13 {
            return Err(Stop::damaged("the header of a scan makes no sense"));
        }
        Ok(Self {
            parts,
            band: (first, last),
            is_refinement: bits >> 4 != 0,
            low_bits: u32::from(bits & 15),
        })
    }

    /// How many MCUs it holds. Of one component alone, an MCU is one block, and those are left out
    /// that hold nothing of the picture (A.2.2).
    fn mcus(&self, frame: &Frame) -> usize {
        let (across, down) = match self.parts[..] {
            [(component, ..)] => frame.components[component].blocks,
            _ => frame.mcus,
        };
        across * down
    }

    /// Reads all blocks; `done` counts MCUs.
    fn read(
        &self,
        tables: &Tables,
        frame: &mut Frame,
        bits: &mut Bits<'_>,
        done: &mut usize,
    ) -> Result<(), Fault> {
        let total = self.mcus(frame);
        let is_alone = self.parts.len() == 1;
        let mut state = State::default();
        while *done < total {
            let interval = tables.restart_interval;
            if interval > 0 && *done > 0 && done.is_multiple_of(interval) {
                bits.restart()?;
                state = State::default();
            }
            for &(index, dc, ac) in &self.parts {
                let component = &mut frame.components[index];
                let coder = Coder {
                    dc: tables.dc.get(dc).and_then(Option::as_ref),
                    ac: tables.ac.get(ac).and_then(Option::as_ref),
                    divisor: tables.dc_divisors.get(component.quantisation).copied(),
                    scan: self,
                };
                let (across, down) = if is_alone { (1, 1) } else { component.sampling };
                let row = if is_alone {
                    component.blocks.0
                } else {
                    frame.mcus.0
                };
                let (left, top) = (*done % row * across, *done / row * down);
                for y in top..top + down {
                    for x in left..left + across {
                        let prediction = &mut state.predictions[index];
                        if !frame.is_progressive {
                            coder.dc(bits, prediction)?;
                            coder.ac(bits)?;
                            continue;
                        }
                        let place = y * component.stride + x;
                        let Some(not_zero) = component.not_zero.get_mut(place) else {
                            return Err(Fault::Garbled);
                        };
                        coder.progressive(bits, prediction, &mut state.empty_blocks, not_zero)?;
                    }
                }
            }
            *done += 1;
        }
        match state.empty_blocks {
            0 => Ok(()),
            _ => Err(Fault::Garbled),
        }
    }
}

/// What goes on from block to block.
#[derive(Default)]
struct State {
    /// The first coefficient of the last block, of each component.
    predictions: [i32; 4],
    /// How many blocks to come hold nothing (of this band).
    empty_blocks: u32,
}

/// Reads the blocks of one component in one scan.
struct Coder<'a> {
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
    divisor: Option<u16>,
    scan: &'a Scan,
}

impl Coder<'_> {
    /// The first coefficient (F.2.2.1).
    fn dc(&self, bits: &mut Bits<'_>, prediction: &mut i32) -> Result<(), Fault> {
        let size = bits.symbol(self.dc.ok_or(Fault::NoTable)?)?;
        // Of 8-bit pictures; encoders that leave nothing out come to 11.
        if size > 12 {
            return Err(Fault::Garbled);
        }
        let value = bits.value(size)? as i32;
        // A first bit of 0 means a negative number (table F.1).
        let is_negative = size > 0 && value >> (size - 1) == 0;
        let change = value - if is_negative { (1 << size) - 1 } else { 0 };
        *prediction = prediction.saturating_add(change);
        // It is eight times the block's mean, which lies in -128..=127, or at most 32 beyond where an
        // encoder makes white whiter to sharpen what borders on it; and that is rounded.
        let value = i64::from(*prediction) << self.scan.low_bits;
        let divisor = i64::from(self.divisor.unwrap_or(0));
        match (value * divisor).abs() > 8 * (128 + 32) + 2 * divisor {
            true => Err(Fault::Garbled),
            false => Ok(()),
        }
    }

    /// The other 63 coefficients (F.2.2.2).
    fn ac(&self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        let table = self.ac.ok_or(Fault::NoTable)?;
        let mut at = 1;
        while at < 64 {
            let symbol = bits.symbol(table)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            at += match (run, size) {
                (0..15, 0) => return Ok(()),
                (15, 0) => 16,
                _ => run + 1,
            };
            if at > 64 {
                return Err(Fault::Garbled);
            }
            bits.value(size)?;
        }
        Ok(())
    }

    /// What one scan of a progressive picture says of a block (annex G.1.2).
    fn progressive(
        &self,
        bits: &mut Bits<'_>,
        prediction: &mut i32,
        empty_blocks: &mut u32,
        not_zero: &mut u64,
    ) -> Result<(), Fault> {
        match (self.scan.band.0, self.scan.is_refinement) {
            (0, false) => self.dc(bits, prediction),
            (0, true) => bits.take(1).map(|_bit| ()),
            (_, false) => self.band(bits, empty_blocks, not_zero),
            (_, true) => self.refinement(bits, empty_blocks, not_zero),
        }
    }

    /// The first bits of some coefficients (G.1.2.2).
    fn band(
        &self,
        bits: &mut Bits<'_>,
        empty_blocks: &mut u32,
        not_zero: &mut u64,
    ) -> Result<(), Fault> {
        if *empty_blocks > 0 {
            *empty_blocks -= 1;
            return Ok(());
        }
        let table = self.ac.ok_or(Fault::NoTable)?;
        let (mut at, last) = self.scan.band;
        while at <= last {
            let symbol = bits.symbol(table)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (0..15, 0) => {
                    *empty_blocks = (1 << run) + bits.take(run.into())? - 1;
                    return Ok(());
                }
                (15, 0) => at += 16,
                _ => {
                    at += run;
                    if at > last {
                        return Err(Fault::Garbled);
                    }
                    bits.value(size)?;
                    *not_zero |= 1 << at;
                    at += 1;
                }
            }
        }
        match at > last + 1 {
            true => Err(Fault::Garbled),
            false => Ok(()),
        }
    }

    /// One more bit of some coefficients, and those that it makes differ from 0 (G.1.2.3).
    fn refinement(
        &self,
        bits: &mut Bits<'_>,
        empty_blocks: &mut u32,
        not_zero: &mut u64,
    ) -> Result<(), Fault> {
        let table = self.ac.ok_or(Fault::NoTable)?;
        let (mut at, last) = self.scan.band;
        while *empty_blocks == 0 && at <= last {
            let symbol = bits.symbol(table)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (0..15, 0) => {
                    *empty_blocks = (1 << run) + bits.take(run.into())?;
                    break;
                }
                (15, 0) => {}
                // Its sign; by one bit, it can become ±1 only.
                (_, 1) => _ = bits.value(1)?,
                _ => return Err(Fault::Garbled),
            }
            // Over so many that stay 0, with a bit for each that is not.
            while at <= last {
                if *not_zero >> at & 1 == 1 {
                    bits.take(1)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            if size == 1 {
                if at > last {
                    return Err(Fault::Garbled);
                }
                *not_zero |= 1 << at;
            }
            at += 1;
        }
        if *empty_blocks > 0 {
            *empty_blocks -= 1;
            let rest = (at..=last).filter(|at| *not_zero >> at & 1 == 1);
            for _coefficient in rest {
                bits.take(1)?;
            }
        }
        Ok(())
    }
}

/// A canonical Huffman code (annex C).
struct Huffman {
    /// For each 9 bits: the length of the code that they begin with, and its symbol; length 0 where
    /// it is longer.
    short: Box<[(u8, u8); 1 << SHORT_BITS]>,
    /// For each length, above all its codes: the first code that is longer, as 16 bits.
    limits: [u32; 17],
    /// For each length, what added to a code gives the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

const SHORT_BITS: usize = 9;

impl Huffman {
    /// None where there are more codes of a length than bits make.
    ///
    /// - `counts`: how many codes there are of 1 to 16 bits
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut short = Box::new([(0, 0); 1 << SHORT_BITS]);
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1..).zip(counts) {
            offsets[length] = place as i32 - code as i32;
            for &symbol in symbols.get(place..place + usize::from(count))? {
                if let Some(free) = SHORT_BITS.checked_sub(length) {
                    let begins = (code as usize) << free;
                    short
                        .get_mut(begins..begins + (1 << free))?
                        .fill((length as u8, symbol));
                }
                code += 1;
            }
            place += usize::from(count);
            limits[length] = code << (16 - length);
            if limits[length] > 1 << 16 {
                return None;
            }
            code <<= 1;
        }
        Some(Self {
            short,
            limits,
            offsets,
            symbols: symbols.to_vec(),
        })
    }

    /// Length and symbol of the code that 16 bits begin with.
    fn look_up(&self, bits: u32) -> Option<(u8, u8)> {
        let (length, symbol) = self.short[(bits >> (16 - SHORT_BITS)) as usize];
        if length > 0 {
            return Some((length, symbol));
        }
        let length = (SHORT_BITS + 1..=16).find(|&length| bits < self.limits[length])?;
        let code = (bits >> (16 - length)) as i32;
        let place = usize::try_from(code + self.offsets[length]).ok()?;
        Some((length as u8, *self.symbols.get(place)?))
    }
}

/// So many zeros in a row are a hole in the file, if they are to mean coefficients: each would have to
/// be the most frequent one and negative. (Blocks that hold nothing may be zeros and nothing else.)
const HOLE: u32 = 24;

/// The bits of a scan up to the next marker, and zeros behind them.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The last `count` bits are still to be read.
    held: u64,
    count: u32,
    /// How many of those do not come from the file.
    made_up: u32,
    /// How many bytes that were taken up last are 0: more than are held, when it is a [`HOLE`].
    zeros: u32,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
            made_up: 0,
            zeros: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= u64::BITS - 8 {
            let byte = match self.bytes.get(self.at..) {
                // A 0 is stuffed behind, so that it is no marker.
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    self.zeros = 0;
                    0xFF
                }
                Some([0xFF, ..]) | Some([]) | None => {
                    self.made_up += 8;
                    0
                }
                Some(&[byte, ..]) => {
                    self.at += 1;
                    self.zeros = if byte == 0 {
                        self.zeros.saturating_add(1)
                    } else {
                        0
                    };
                    byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// Moves over bits that are held.
    fn pass(&mut self, bits: u32) -> Result<(), Fault> {
        self.count -= bits;
        match self.count < self.made_up {
            true => Err(Fault::Ended),
            false => Ok(()),
        }
    }

    /// The next bits as a number, 16 at most.
    fn take(&mut self, bits: u32) -> Result<u32, Fault> {
        if self.count < bits {
            self.fill();
        }
        self.pass(bits)?;
        Ok((self.held >> self.count) as u32 & ((1 << bits) - 1))
    }

    /// The bits of a coefficient, which is not 0 if it has any.
    fn value(&mut self, size: u8) -> Result<u32, Fault> {
        if size > 0 && self.zeros >= HOLE {
            return Err(Fault::Garbled);
        }
        self.take(size.into())
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8, Fault> {
        if self.count < 16 {
            self.fill();
        }
        let next = (self.held >> (self.count - 16)) as u32 & 0xFFFF;
        let is_real = self.count - self.made_up >= 16;
        let fault = if is_real {
            Fault::Garbled
        } else {
            Fault::Ended
        };
        let (length, symbol) = table.look_up(next).ok_or(fault)?;
        self.pass(length.into())?;
        Ok(symbol)
    }

    /// Where the marker stands that ends these bits.
    fn finish(&self) -> Result<usize, Fault> {
        let held = self.count.saturating_sub(self.made_up) / 8;
        let marker = next_marker(self.bytes, self.at).ok_or(Fault::Ended)?;
        let left_over = held as usize + (marker.begins - self.at);
        let allowed = match marker.code {
            marker::END => MAX_LEFT_OVER,
            _ => 0,
        };
        match left_over > allowed {
            true => Err(Fault::LeftOver(left_over)),
            false => Ok(marker.begins),
        }
    }

    /// Goes on behind a restart marker.
    fn restart(&mut self) -> Result<(), Fault> {
        let begins = self.finish()?;
        let marker = next_marker(self.bytes, begins).ok_or(Fault::Ended)?;
        if !marker::RESTARTS.contains(&marker.code) {
            return Err(Fault::Ended);
        }
        *self = Self::new(self.bytes, marker.ends);
        Ok(())
    }
}
