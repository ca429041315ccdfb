//! Memory that kernels use again.
//!
//! Fresh memory is cleared page by page as it is touched, which takes as long as some of the sums for
//! which it is wanted.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a task so many numbers, of any values, for as long as it runs.
///
/// A task that meanwhile runs on the same thread gets others.
#[inline(always)]
pub(super) fn with<T>(count: usize, task: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut numbers = FREE
        .with_borrow_mut(|free| {
            let fits = free.iter().position(|numbers| numbers.len() >= count);
            let last = free.len().checked_sub(1);
            fits.or(last).map(|place| free.swap_remove(place))
        })
        .unwrap_or_default();
    if numbers.len() < count {
        // Nobody wants what was in it, so it need not move.
        numbers = vec![0.0; count];
    }
    let answer = task(&mut numbers[..count]);
    FREE.with_borrow_mut(|free| free.push(numbers));
    answer
}
