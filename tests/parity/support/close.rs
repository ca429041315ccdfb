//! Comparing our numbers with the reference's.

use std::fmt;

use burn::tensor::Tensor;

/// How far a value may lie from the reference: `|ours - theirs| <= abs + rel · |theirs|`.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Allowed whatever the value, in its own unit.
    pub abs: f32,
    /// Allowed as a share of the value.
    pub rel: f32,
}

impl Tolerance {
    /// The same bits, but for the sign of zero.
    pub const EXACT: Self = Self { abs: 0.0, rel: 0.0 };

    /// The same distance for every value: for tensors whose values are of order one.
    pub const fn abs(abs: f32) -> Self {
        Self { abs, rel: 0.0 }
    }

    /// A share of each value: for numbers of very different size, each of them a result by itself.
    pub const fn rel(rel: f32) -> Self {
        Self { abs: 0.0, rel }
    }

    fn of(self, theirs: f32) -> f32 {
        self.abs + self.rel * theirs.abs()
    }
}

/// Fails unless two tensors have the same shape and close values.
pub fn assert_close<const D: usize>(
    name: &str,
    ours: Tensor<D>,
    theirs: Tensor<D>,
    tolerance: Tolerance,
) {
    assert_eq!(ours.dims(), theirs.dims(), "shape of {name}");
    assert_values_close(name, &values(ours), &values(theirs), tolerance);
}

/// Fails unless two lists have the same length and close values.
pub fn assert_values_close(name: &str, ours: &[f32], theirs: &[f32], tolerance: Tolerance) {
    let comparison = Comparison::new(name, ours, theirs, tolerance);
    say(&comparison.to_string());
    assert!(comparison.passes(), "{comparison}");
}

/// Fails unless the distance of two lists is at most a share of the reference's norm.
pub fn assert_together(name: &str, ours: &[f32], theirs: &[f32], share: f64) {
    let Comparison { relative_l2, .. } = Comparison::new(name, ours, theirs, Tolerance::EXACT);
    let text = format!("{name} is {relative_l2:.2e} of its norm off, {share:.2e} is allowed");
    say(&text);
    assert!(relative_l2 <= share, "{text}");
}

/// Fails unless every comparison passes, with all that do not.
pub fn assert_all_close(name: &str, comparisons: &[Comparison]) {
    let worst = comparisons
        .iter()
        .max_by(|a, b| a.excess.total_cmp(&b.excess));
    let Some(worst) = worst else {
        panic!("{name}: nothing was compared")
    };
    say(&format!("{name}, worst of {}: {worst}", comparisons.len()));
    let failed: Vec<_> = comparisons
        .iter()
        .filter(|each| !each.passes())
        .map(ToString::to_string)
        .collect();
    assert!(
        failed.is_empty(),
        "{name}: {} differ\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Tells how close it was to whoever runs the tests with `--nocapture`.
pub fn say(text: &str) {
    #[expect(clippy::print_stdout, reason = "the test harness captures it")]
    {
        println!("{text}");
    }
}

/// The numbers of a tensor, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.try_to_vec::<f32>().unwrap()
}

/// Two lists of numbers, and where they are furthest apart in units of the tolerance.
#[derive(Debug, Clone)]
pub struct Comparison {
    name: String,
    index: usize,
    ours: f32,
    theirs: f32,
    /// Distance at `index` over the tolerance there; above 1 fails.
    excess: f32,
    max_abs: f32,
    relative_l2: f64,
}

impl Comparison {
    /// Compares value by value.
    pub fn new(name: &str, ours: &[f32], theirs: &[f32], tolerance: Tolerance) -> Self {
        assert_eq!(ours.len(), theirs.len(), "number of values of {name}");
        let mut worst = Self {
            name: name.to_owned(),
            index: 0,
            ours: f32::NAN,
            theirs: f32::NAN,
            excess: f32::NEG_INFINITY,
            max_abs: 0.0,
            relative_l2: 0.0,
        };
        let (mut apart, mut whole) = (0.0, 0.0);
        for (index, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            let distance = (ours - theirs).abs();
            worst.max_abs = worst.max_abs.max(distance);
            apart += f64::from(distance).powi(2);
            whole += f64::from(theirs).powi(2);
            let excess = match distance <= tolerance.of(theirs) {
                true if distance == 0.0 => 0.0,
                true => distance / tolerance.of(theirs),
                // Numbers that are none end here too, beyond every tolerance.
                false if distance.is_nan() => f32::INFINITY,
                false => (distance / tolerance.of(theirs)).max(1.0 + f32::EPSILON),
            };
            if excess > worst.excess {
                worst = Self {
                    index,
                    ours,
                    theirs,
                    excess,
                    ..worst
                };
            }
        }
        worst.relative_l2 = if apart == 0.0 {
            0.0
        } else {
            (apart / whole).sqrt()
        };
        worst
    }

    /// Compares in units of the reference's largest value.
    ///
    /// A gradient's elements are sums in which much cancels: their rounding errors go with the
    /// size of the tensor, not with what happens to be left in one element.
    pub fn of_largest(name: &str, ours: &[f32], theirs: &[f32], tolerance: f32) -> Self {
        let largest = theirs
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(
            largest > 0.0,
            "the reference of {name} is all zero, which proves nothing"
        );
        let scaled = |values: &[f32]| {
            values
                .iter()
                .map(|value| value / largest)
                .collect::<Vec<_>>()
        };
        Self::new(
            name,
            &scaled(ours),
            &scaled(theirs),
            Tolerance::abs(tolerance),
        )
    }

    const fn passes(&self) -> bool {
        self.excess <= 1.0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            index,
            ours,
            theirs,
            excess,
            max_abs,
            relative_l2,
        } = self;
        write!(
            f,
            "{name} is {excess:.2} of its tolerance off at {index}: ours {ours}, reference {theirs}; \
             max abs {max_abs:.2e}, relative L2 {relative_l2:.2e}"
        )
    }
}

#[test]
fn a_difference_beyond_the_tolerance_is_seen_and_said() {
    let tolerance = Tolerance {
        abs: 0.1,
        rel: 0.01,
    };
    let close = Comparison::new("x", &[1.0, 10.15], &[1.0, 10.0], tolerance);
    assert!(
        close.passes(),
        "0.15 is within 0.1 and a hundredth of 10: {close}"
    );
    let far = Comparison::new("x", &[1.0, 10.25], &[1.0, 10.0], tolerance);
    assert!(!far.passes(), "0.25 is not: {far}");
    assert!(
        far.to_string()
            .contains("off at 1: ours 10.25, reference 10"),
        "{far}"
    );
    let nan = Comparison::new("x", &[f32::NAN], &[1.0], tolerance);
    assert!(
        !nan.passes(),
        "what is no number is close to nothing: {nan}"
    );
    let ulp = Comparison::new("x", &[1.0 + f32::EPSILON], &[1.0], Tolerance::EXACT);
    assert!(!ulp.passes(), "exact means the same bits: {ulp}");
}
