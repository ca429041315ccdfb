use mimeo_protocol::{LossPoint, TimestepRange};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::runs::Column;

const SIZE: Size = Size {
    width: 400.0,
    height: 160.0,
};

fn curve(phase: Phase, losses: impl IntoIterator<Item = f32>) -> Curve {
    let mut curve = Curve::new(phase);
    for (step, loss) in (1..).zip(losses) {
        curve.push(LossPoint { step, loss });
    }
    curve
}

fn chart(curve: &Curve, scale: Scale) -> Chart {
    Chart::new(&[(curve, curve.last_step())], &[], SIZE, scale)
}

fn labels(ticks: &[Tick]) -> Vec<&str> {
    ticks.iter().map(|tick| tick.label.as_str()).collect()
}

#[test]
fn higher_losses_are_higher_and_later_steps_further_right() {
    let chart = chart(&curve(Phase::Training, [3.0, 2.0, 1.0]), Scale::Linear);
    let dots = &chart.lanes[0].dots;
    assert!(
        dots.is_sorted_by(|a, b| a.x < b.x && a.y < b.y),
        "falling losses fall: {dots:?}"
    );
}

#[test]
fn one_step_far_above_the_rest_does_not_flatten_it() {
    let losses = (0..30).map(|step| {
        if step == 20 {
            9.0
        } else {
            0.1 + 0.001 * step as f32
        }
    });
    let chart = chart(&curve(Phase::Training, losses), Scale::Linear);
    assert_eq!(chart.clipped, 1, "that step is drawn at the edge");
    let usual = chart.lanes[0].dots[0].y;
    assert!(usual > chart.top() + 20.0, "and the rest is seen: {usual}");
}

#[test]
fn an_explosion_leaves_what_was_before_readable() {
    let losses = (0..30).map(|step| if step > 27 { 1e9 } else { 0.1 });
    let chart = chart(&curve(Phase::Training, losses), Scale::Linear);
    assert!(
        chart
            .ticks
            .last()
            .is_some_and(|tick| tick.label.parse::<f64>().is_ok_and(|top| top < 10.0)),
        "the axis ends near the usual losses: {:?}",
        labels(&chart.ticks)
    );
}

#[test]
fn what_breaks_down_is_left_out_on_every_scale() {
    let curve = curve(Phase::Training, [f32::NAN, 0.0, -1.0, f32::INFINITY, 0.5]);
    assert_eq!(
        chart(&curve, Scale::Linear).lanes[0].dots.len(),
        3,
        "what is finite"
    );
    assert_eq!(
        chart(&curve, Scale::Log).lanes[0].dots.len(),
        1,
        "what has a logarithm"
    );
    let nothing = chart(&self::curve(Phase::Training, [f32::NAN]), Scale::Log);
    assert!(nothing.lanes[0].dots.is_empty(), "not even a range");
}

#[test]
fn a_hundred_thousand_steps_are_as_many_dots_as_pixels() {
    let noise = |step: u32| (step.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
    let curve = curve(Phase::Training, (0..100_000).map(|step| 0.5 + noise(step)));
    let chart = chart(&curve, Scale::Linear);
    let lane = &chart.lanes[0];
    assert!(lane.dots.len() <= 2 * 400, "{} dots", lane.dots.len());
    assert!(
        lane.line.len() <= 401,
        "{} points of the line",
        lane.line.len()
    );
    let last = lane.line.last().map(|dot| dot.x);
    assert_eq!(last, Some(lane.right), "up to the last step");
}

#[test]
fn ticks_are_round() {
    let linear = chart(&curve(Phase::Training, [0.02, 0.19]), Scale::Linear);
    assert_eq!(
        labels(&linear.ticks),
        ["0", "0.05", "0.1", "0.15"],
        "linear, from 0"
    );
    let log = chart(&curve(Phase::Training, [0.001, 1.0]), Scale::Log);
    assert_eq!(labels(&log.ticks), ["0.001", "0.01", "0.1", "1"], "decades");
    let steps = chart(&curve(Phase::Training, [1.0; 30]), Scale::Linear);
    assert_eq!(
        labels(&steps.lanes[0].ticks),
        ["0", "10", "20", "30"],
        "steps are whole"
    );
}

#[test]
fn passes_stand_side_by_side_and_pins_in_theirs() {
    let (copier, training) = (
        curve(Phase::Copier, [1.0; 300]),
        curve(Phase::Training, [1.0; 10]),
    );
    let pin = |phase, step| Pin {
        column: Column { phase, step },
        has_preview: true,
        has_file: false,
    };
    let pins = [
        pin(Phase::Copier, 300),
        pin(Phase::Training, 10),
        pin(Phase::Training, 99),
    ];
    let chart = Chart::new(
        &[(&copier, 300), (&training, 30)],
        &pins,
        SIZE,
        Scale::Linear,
    );
    let [first, second] = &chart.lanes[..] else {
        panic!("two passes, not {:?}", chart.lanes);
    };
    assert!(first.right < second.left, "not on top of each other");
    assert!(
        second.right - second.left > 40.0,
        "a short pass can be seen"
    );
    let places: Vec<f64> = chart.pins.iter().map(|pin| pin.x).collect();
    assert_eq!(places[0], first.right, "at the end of the first pass");
    assert!(places[1] < second.right, "a third into the second");
    assert_eq!(places.len(), 2, "and none beyond the steps that there are");
}

#[test]
fn hovering_reads_the_nearest_step() {
    let curves = [
        curve(Phase::Copier, [4.0, 2.0]),
        curve(Phase::Training, [1.0, 3.0]),
    ];
    let chart = Chart::new(
        &[(&curves[0], 2), (&curves[1], 2)],
        &[],
        SIZE,
        Scale::Linear,
    );
    assert_eq!(chart.nearest(&curves, 0.0), Some(0), "left of everything");
    assert_eq!(chart.nearest(&curves, 1e6), Some(3), "right of everything");
    let reading = chart.reading(&curves, 3).unwrap();
    assert_eq!(
        (reading.phase, reading.point.step),
        (Phase::Training, 2),
        "its step"
    );
    assert_eq!(
        (reading.point.loss, reading.point.ema),
        (3.0, 2.0),
        "its losses"
    );
    assert_eq!(chart.reading(&curves, 4), None, "there is no fifth");
    assert_eq!(chart.nearest(&[], 10.0), None, "nothing to read");
}

#[test]
fn the_table_is_short_and_has_both_ends() {
    let curves = [
        curve(Phase::Copier, [1.0; 500]),
        curve(Phase::Training, [1.0; 123]),
    ];
    let rows = samples(&curves, 20);
    assert_eq!(rows.len(), 20, "as many as wanted");
    assert_eq!(
        (rows[0].0, rows[0].1.step),
        (Phase::Copier, 1),
        "from the first"
    );
    assert_eq!(
        (rows[19].0, rows[19].1.step),
        (Phase::Training, 123),
        "to the last"
    );
    assert_eq!(samples(&curves[1..], 200).len(), 123, "or all there are");
}

#[test]
fn losses_have_three_digits() {
    let texts = [0.012_345, 1.234, 123.4, 1.2e9, 0.0, f32::NAN].map(loss_text);
    assert_eq!(
        texts,
        ["0.0123", "1.23", "123", "1.2e9", "0", "not a number"],
        "in plain writing where that is short"
    );
}

proptest! {
    #[test]
    fn whatever_the_losses_everything_is_inside_the_drawing(
        losses in prop::collection::vec(any::<f32>(), 0..400),
        is_log in any::<bool>(),
        width in 1.0..2000.0_f64,
        height in 1.0..600.0_f64,
    ) {
        let scale = if is_log { Scale::Log } else { Scale::Linear };
        let curve = curve(Phase::Training, losses);
        let size = Size { width, height };
        let chart = Chart::new(&[(&curve, curve.last_step())], &[], size, scale);
        let lane = &chart.lanes[0];
        for dot in lane.dots.iter().chain(&lane.line) {
            prop_assert!((lane.left..=lane.right + 1e-6).contains(&dot.x), "{dot:?}");
            prop_assert!((chart.top()..=chart.bottom()).contains(&dot.y), "{dot:?}");
        }
        for tick in &chart.ticks {
            prop_assert!((chart.top()..=chart.bottom()).contains(&tick.at), "{tick:?}");
        }
        prop_assert!(chart.ticks.len() <= 12, "{:?}", labels(&chart.ticks));
        prop_assert!(lane.ticks.len() <= 64, "{:?}", labels(&lane.ticks));
    }

    #[test]
    fn the_nearest_step_is_the_one_under_the_pointer(steps in 1..500_usize, at in 0..500_usize) {
        let curves = [curve(Phase::Training, vec![1.0; steps])];
        let chart = Chart::new(&[(&curves[0], steps as u32)], &[], SIZE, Scale::Linear);
        let at = at % steps;
        let reading = chart.reading(&curves, at).unwrap();
        prop_assert_eq!(chart.nearest(&curves, reading.at.x), Some(at));
    }
}

#[test]
fn a_response_is_drawn_from_all_of_the_change_down_to_nothing() {
    let curve = ResponseCurve {
        timesteps: vec![0, 500, 1000],
        response: vec![1.2, 0.5, -0.1],
        window: TimestepRange::new(300, 1000).unwrap(),
    };
    let size = Size {
        width: 200.0,
        height: 40.0,
    };
    let chart = ResponseChart::of(&curve, size);
    let places: Vec<_> = chart.line.iter().map(|dot| (dot.x, dot.y)).collect();
    assert_eq!(
        places,
        [(0.0, 0.0), (100.0, 20.0), (200.0, 40.0)],
        "within its box"
    );
    assert_eq!(chart.window, [60.0, 200.0], "what is trained");
}

#[test]
fn the_leak_meter_is_drawn_over_the_training_on_a_scale_of_its_own() {
    let mut chart = chart(&curve(Phase::Training, [1.0; 20]), Scale::Linear);
    let point = |step, intended, unintended| LeakPoint {
        step,
        intended,
        unintended,
    };
    chart.add_leaks(&[point(10, 0.5, 0.0), point(20, 3.0, 0.25)]);
    let [lane] = &chart.lanes[..] else {
        panic!("{:?}", chart.lanes);
    };
    let (top, bottom) = (chart.top(), chart.bottom());
    let heights = |dots: &[Dot]| dots.iter().map(|dot| dot.y).collect::<Vec<_>>();
    assert_eq!(
        heights(&lane.intended),
        [(top + bottom) / 2.0, top],
        "all is the top"
    );
    let quarter = bottom - (bottom - top) / 4.0;
    assert_eq!(
        heights(&lane.unintended),
        [bottom, quarter],
        "nothing the foot"
    );
    assert_eq!(lane.intended[1].x, lane.right, "at its step");
}
