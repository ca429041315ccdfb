//! The loss chart as data: where every dot, line, tick and pin is, in the pixels of a drawing.
//!
//! Passes stand side by side, each as wide as it has steps, on one scale of losses. However many
//! steps there are, no more is drawn than there are columns of pixels.

use mimeo_protocol::{LeakPoint, Phase, ResponseCurve};

use crate::runs::{Curve, PhaseStatus, Pin, Point, Run};

/// Room for the labels of the losses, left of the plot.
const LEFT: f64 = 48.0;
/// Room for the names of the passes, above.
const TOP: f64 = 18.0;
/// Room for the labels of the steps, below.
const BOTTOM: f64 = 20.0;
/// Room right of the plot, for half a label.
const RIGHT: f64 = 12.0;
/// Between two passes.
const GAP: f64 = 12.0;
/// Losses that are looked at to find the range.
const SAMPLE: usize = 4096;

/// Pixels of a drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// From the left.
    pub width: f64,
    /// From the top.
    pub height: f64,
}

/// How losses become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Equal differences are equally high.
    #[default]
    Linear,
    /// Equal ratios are equally high.
    Log,
}

/// A place in the drawing, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Pixels from the left, or from the top.
    pub at: f64,
    /// What is there.
    pub label: String,
}

/// One pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Which.
    pub phase: Phase,
    /// Its left edge.
    pub left: f64,
    /// Its right edge.
    pub right: f64,
    /// Steps that it is wide.
    pub steps: u32,
    /// Every loss, or the lowest and highest of each column of pixels.
    pub dots: Vec<Dot>,
    /// Their running mean.
    pub line: Vec<Dot>,
    /// Steps.
    pub ticks: Vec<Tick>,
    /// How much of the change that was meant other pictures show, as the leak meter has it: the foot is
    /// nothing, the top all of it.
    pub intended: Vec<Dot>,
    /// How much else changes in them, on the same scale.
    pub unintended: Vec<Dot>,
}

/// A pin in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedPin {
    /// What it stands for.
    pub pin: Pin,
    /// Pixels from the left.
    pub x: f64,
}

/// What a place of a curve says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The pass.
    pub phase: Phase,
    /// The step and its losses.
    pub point: Point,
    /// Where its running mean is drawn.
    pub at: Dot,
}

/// A loss chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Of the drawing.
    pub size: Size,
    /// The passes, in order.
    pub lanes: Vec<Lane>,
    /// Losses.
    pub ticks: Vec<Tick>,
    /// Previews and saves.
    pub pins: Vec<PlacedPin>,
    /// Steps whose loss is beyond the chart, and is drawn at its edge.
    pub clipped: usize,
    axis: Axis,
}

impl Chart {
    /// The chart of a run, as wide as its passes are planned.
    #[must_use]
    pub fn of(run: &Run, size: Size, scale: Scale) -> Self {
        let phases = run.phases();
        let steps = |curve: &Curve| {
            let goes_on = phases
                .iter()
                .find(|phase| phase.phase == curve.phase && phase.status == PhaseStatus::UnderWay);
            let planned = goes_on.and_then(|phase| phase.total).unwrap_or(0);
            planned.max(curve.last_step())
        };
        let curves: Vec<(&Curve, u32)> = run
            .curves()
            .iter()
            .map(|curve| (curve, steps(curve)))
            .collect();
        let mut chart = Self::new(&curves, &run.pins(), size, scale);
        chart.add_leaks(run.leaks());
        chart
    }

    /// Draws what the leak meter told into the lane of the training.
    fn add_leaks(&mut self, leaks: &[LeakPoint]) {
        let (top, bottom) = (self.axis.top, self.axis.bottom);
        let mut lanes = self.lanes.iter_mut();
        let Some(lane) = lanes.find(|lane| lane.phase == Phase::Training) else {
            return;
        };
        let place = |lane: &Lane, step: u32, share: f32| Dot {
            x: lane.x(step),
            y: bottom - f64::from(share.clamp(0.0, 1.0)) * (bottom - top),
        };
        for LeakPoint {
            step,
            intended,
            unintended,
        } in leaks
        {
            let (meant, other) = (
                place(lane, *step, *intended),
                place(lane, *step, *unintended),
            );
            lane.intended.push(meant);
            lane.unintended.push(other);
        }
    }

    /// A chart of curves, each with the steps that it is wide.
    #[must_use]
    pub fn new(curves: &[(&Curve, u32)], pins: &[Pin], size: Size, scale: Scale) -> Self {
        let axis = Axis::over(curves.iter().map(|(curve, _)| *curve), scale, size);
        let mut lanes = lay_out(curves, size);
        let mut clipped = 0;
        for (lane, (curve, _)) in lanes.iter_mut().zip(curves) {
            clipped += draw(lane, curve.points(), &axis);
        }
        let pins = pins.iter().filter_map(|pin| {
            let lane = lanes.iter().find(|lane| lane.phase == pin.column.phase)?;
            let is_inside = pin.column.step <= lane.steps;
            is_inside.then(|| PlacedPin {
                pin: *pin,
                x: lane.x(pin.column.step),
            })
        });
        Self {
            pins: pins.collect(),
            ticks: axis.ticks(),
            size,
            lanes,
            clipped,
            axis,
        }
    }

    /// Upper edge of the plot.
    #[must_use]
    pub const fn top(&self) -> f64 {
        self.axis.top
    }

    /// Lower edge of the plot.
    #[must_use]
    pub const fn bottom(&self) -> f64 {
        self.axis.bottom
    }

    /// Left edge of the plot.
    #[must_use]
    pub const fn left(&self) -> f64 {
        LEFT
    }

    /// Right edge of the plot.
    #[must_use]
    pub fn right(&self) -> f64 {
        right(self.size)
    }

    /// Number of the step that is nearest to a place, counted over all passes of these curves; none
    /// where there is no step at all.
    #[must_use]
    pub fn nearest(&self, curves: &[Curve], x: f64) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        let mut first = 0;
        for (lane, curve) in self.lanes.iter().zip(curves) {
            let points = curve.points();
            let after = points.partition_point(|point| lane.x(point.step) < x);
            for at in [after.checked_sub(1), Some(after)].into_iter().flatten() {
                let Some(point) = points.get(at) else {
                    continue;
                };
                let distance = (lane.x(point.step) - x).abs();
                if best.is_none_or(|(nearest, _)| distance < nearest) {
                    best = Some((distance, first + at));
                }
            }
            first += points.len();
        }
        best.map(|(_, at)| at)
    }

    /// What a step says, by the number that [`Self::nearest`] gives; none beyond the last.
    #[must_use]
    pub fn reading(&self, curves: &[Curve], at: usize) -> Option<Reading> {
        let (phase, point) = nth(curves, at)?;
        let lane = self.lanes.iter().find(|lane| lane.phase == phase)?;
        let (y, _) = self.axis.y(point.ema);
        Some(Reading {
            phase,
            point,
            at: Dot {
                x: lane.x(point.step),
                y,
            },
        })
    }
}

/// How the base answers to the change, as a small drawing: timesteps to the right, from nothing at the
/// foot to all of the change at the top.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseChart {
    /// The curve.
    pub line: Vec<Dot>,
    /// Left and right edge of the timesteps that are trained.
    pub window: [f64; 2],
}

impl ResponseChart {
    /// The chart of a curve.
    #[must_use]
    pub fn of(curve: &ResponseCurve, size: Size) -> Self {
        let x = |timestep: u32| f64::from(timestep) / 1000.0 * size.width;
        let points = curve.timesteps.iter().zip(&curve.response);
        let line = points.map(|(timestep, response)| Dot {
            x: x(*timestep),
            y: (1.0 - f64::from(response.clamp(0.0, 1.0))) * size.height,
        });
        Self {
            line: line.collect(),
            window: [curve.window.min(), curve.window.max()].map(x),
        }
    }
}

/// At most so many steps of all curves, spread evenly, with the first and the last.
#[must_use]
pub fn samples(curves: &[Curve], most: usize) -> Vec<(Phase, Point)> {
    let all: usize = curves.iter().map(|curve| curve.points().len()).sum();
    if all <= most {
        return (0..all).filter_map(|at| nth(curves, at)).collect();
    }
    let last = most.saturating_sub(1).max(1);
    let spread = (0..most).map(|at| at * (all - 1) / last);
    spread.filter_map(|at| nth(curves, at)).collect()
}

/// A step by its number, counted over all curves.
fn nth(curves: &[Curve], mut at: usize) -> Option<(Phase, Point)> {
    for curve in curves {
        match curve.points().get(at) {
            Some(point) => return Some((curve.phase, *point)),
            None => at -= curve.points().len(),
        }
    }
    None
}

/// A loss with the digits that matter: "0.0123", "1.23", "1.2e9".
#[must_use]
pub fn loss_text(loss: f32) -> String {
    let size = f64::from(loss).abs();
    if !loss.is_finite() {
        "not a number".to_owned()
    } else if size == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e5).contains(&size) {
        format!("{loss:.1e}")
    } else {
        let decimals = (2.0 - size.log10().floor()).max(0.0) as usize;
        format!("{loss:.decimals$}")
    }
}

impl Lane {
    /// Where a step is.
    fn x(&self, step: u32) -> f64 {
        let share = f64::from(step) / f64::from(self.steps.max(1));
        self.left + share * (self.right - self.left)
    }
}

fn right(size: Size) -> f64 {
    (size.width - RIGHT).max(LEFT + 1.0)
}

/// The lanes without what is in them, side by side.
fn lay_out(curves: &[(&Curve, u32)], size: Size) -> Vec<Lane> {
    /// A pass of a few steps beside one of hundreds has to be seen.
    const NARROWEST: f64 = 0.15;
    let steps = |(_, steps): &(&Curve, u32)| f64::from((*steps).max(1));
    let all: f64 = curves.iter().map(steps).sum();
    let shares: Vec<f64> = curves
        .iter()
        .map(|curve| (steps(curve) / all).max(NARROWEST))
        .collect();
    let sum: f64 = shares.iter().sum();
    let gaps = GAP * curves.len().saturating_sub(1) as f64;
    let room = (right(size) - LEFT - gaps).max(1.0);
    let mut left = LEFT;
    let lanes = curves.iter().zip(shares).map(|((curve, steps), share)| {
        let width = room * share / sum;
        let mut lane = Lane {
            phase: curve.phase,
            left,
            right: left + width,
            steps: *steps,
            dots: Vec::new(),
            line: Vec::new(),
            ticks: Vec::new(),
            intended: Vec::new(),
            unintended: Vec::new(),
        };
        lane.ticks = step_ticks(&lane);
        left += width + GAP;
        lane
    });
    lanes.collect()
}

fn step_ticks(lane: &Lane) -> Vec<Tick> {
    /// Room of a label with up to six digits.
    const LABEL: f64 = 64.0;
    let most = ((lane.right - lane.left) / LABEL).max(1.0);
    let every = nice(f64::from(lane.steps) / most).max(1.0) as usize;
    let steps = (0..=lane.steps).step_by(every);
    steps
        .map(|step| Tick {
            at: lane.x(step),
            label: step.to_string(),
        })
        .collect()
}

/// Fills a lane; how many losses are beyond the axis.
fn draw(lane: &mut Lane, points: &[Point], axis: &Axis) -> usize {
    let columns = (lane.right - lane.left).ceil().max(1.0) as usize;
    let mut clipped = 0;
    let mut bins = Bins::new(points.len() > 2 * columns);
    for point in points {
        let x = lane.x(point.step);
        if axis.shows(point.loss) {
            let (y, is_inside) = axis.y(point.loss);
            clipped += usize::from(!is_inside);
            bins.add_dot(&mut lane.dots, Dot { x, y });
        }
        if axis.shows(point.ema) {
            let (y, _) = axis.y(point.ema);
            bins.add_to_line(&mut lane.line, Dot { x, y });
        }
    }
    bins.finish(&mut lane.dots);
    clipped
}

/// Gathers what falls into one column of pixels.
struct Bins {
    is_needed: bool,
    /// The highest and the lowest dot of the column.
    open: Option<(Dot, Dot)>,
}

impl Bins {
    const fn new(is_needed: bool) -> Self {
        Self {
            is_needed,
            open: None,
        }
    }

    fn add_dot(&mut self, dots: &mut Vec<Dot>, dot: Dot) {
        if !self.is_needed {
            dots.push(dot);
            return;
        }
        match &mut self.open {
            Some((high, low)) if high.x.floor() == dot.x.floor() => {
                high.y = high.y.min(dot.y);
                low.y = low.y.max(dot.y);
            }
            _ => {
                self.finish(dots);
                self.open = Some((dot, dot));
            }
        }
    }

    /// The last of each column is enough of something as smooth as a mean.
    fn add_to_line(&self, line: &mut Vec<Dot>, dot: Dot) {
        match line.last_mut() {
            Some(last) if self.is_needed && last.x.floor() == dot.x.floor() => *last = dot,
            _ => line.push(dot),
        }
    }

    fn finish(&mut self, dots: &mut Vec<Dot>) {
        if let Some((high, low)) = self.open.take() {
            dots.push(high);
            if low != high {
                dots.push(low);
            }
        }
    }
}

/// From losses to heights.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
}

impl Axis {
    fn over<'a>(curves: impl Iterator<Item = &'a Curve>, scale: Scale, size: Size) -> Self {
        let (mut losses, mut means) = (Vec::new(), Vec::new());
        for curve in curves {
            let points = curve.points();
            for point in points.iter().step_by(points.len().div_ceil(SAMPLE).max(1)) {
                losses.push(f64::from(point.loss));
                means.push(f64::from(point.ema));
            }
        }
        let is_shown = |loss: &f64| loss.is_finite() && (scale == Scale::Linear || *loss > 0.0);
        losses.retain(is_shown);
        means.retain(is_shown);
        let (low, high) = range(&mut losses, &means);
        let (low, high) = padded(low, high, scale);
        Self {
            scale,
            low,
            high,
            top: TOP,
            bottom: (size.height - BOTTOM).max(TOP + 1.0),
        }
    }

    /// Whether a loss has a place at all.
    fn shows(&self, loss: f32) -> bool {
        loss.is_finite() && (self.scale == Scale::Linear || loss > 0.0)
    }

    /// Where a loss is, and whether it is within the axis; beyond it, its edge.
    fn y(&self, loss: f32) -> (f64, bool) {
        let loss = f64::from(loss);
        let share = match self.scale {
            Scale::Linear => (loss - self.low) / (self.high - self.low),
            Scale::Log => (loss / self.low).ln() / (self.high / self.low).ln(),
        };
        let is_inside = (0.0..=1.0).contains(&share);
        // A mean that is no number yet is at the foot.
        let share = if share.is_nan() { 0.0 } else { share };
        let y = self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top);
        (y, is_inside)
    }

    fn ticks(&self) -> Vec<Tick> {
        let values = match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high),
            Scale::Log => log_ticks(self.low, self.high),
        };
        let ticks = values.into_iter().map(|value| Tick {
            at: self.y(value as f32).0,
            label: tick_text(value),
        });
        ticks.collect()
    }
}

/// Lowest and highest loss worth showing. A few steps far above the rest would flatten it.
fn range(losses: &mut [f64], means: &[f64]) -> (f64, f64) {
    /// Tukey's outer fence.
    const FENCE: f64 = 3.0;
    /// A mean so many times above the upper quartile is an explosion, which nobody has to read.
    const EXPLOSION: f64 = 50.0;
    if losses.is_empty() {
        return (0.0, 1.0);
    }
    losses.sort_unstable_by(f64::total_cmp);
    let last = losses.len() - 1;
    // Outwards, so that of few losses none is beyond.
    let (lower, upper) = (losses[last / 4], losses[(3 * last).div_ceil(4)]);
    let fence = upper + FENCE * (upper - lower);
    let within = losses.iter().rfind(|loss| **loss <= fence);
    let mut high = within.copied().unwrap_or(upper);
    let mut low = losses[0];
    for mean in means {
        if *mean <= upper.abs() * EXPLOSION {
            high = high.max(*mean);
        }
        low = low.min(*mean);
    }
    (low, high)
}

/// The range with some air, never empty.
fn padded(low: f64, high: f64, scale: Scale) -> (f64, f64) {
    const AIR: f64 = 0.05;
    match scale {
        Scale::Linear => {
            let span = (high - low).max(high.abs() * 1e-3).max(1e-9);
            // Near 0 it begins at 0, so that heights can be compared.
            let floor = if low >= 0.0 && low < high / 2.0 {
                0.0
            } else {
                low - AIR * span
            };
            (floor, high + AIR * span)
        }
        Scale::Log => {
            let low = low.max(f64::MIN_POSITIVE);
            let ratio = (high / low).max(1.1).powf(AIR);
            (low / ratio, high.max(low) * ratio)
        }
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn nice(value: f64) -> f64 {
    if value.is_nan() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let leading = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|leading| leading * power >= value * 0.999);
    leading.unwrap_or(10.0) * power
}

fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    const MOST: f64 = 4.0;
    let every = nice((high - low) / MOST);
    let first = (low / every).ceil() as i64;
    (first..first + 12)
        .map(|nth| nth as f64 * every)
        .take_while(|value| *value <= high)
        .collect()
}

fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    const MOST: usize = 6;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = (last - first).max(1) as usize;
    let leading: &[f64] = if decades <= 2 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let powers = (first..=last).step_by(decades.div_ceil(MOST));
    powers
        .flat_map(|power| {
            leading
                .iter()
                .map(move |leading| leading * 10_f64.powi(power))
        })
        .filter(|value| (low..=high).contains(value))
        .collect()
}

/// A round number without the digits that rounding left.
fn tick_text(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e5).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let decimals = (1.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
