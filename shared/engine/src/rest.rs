//! Where long computations can be held, or given up.
//!
//! At a rest no readback is under way. Anywhere else a future of the engine must not be dropped: Burn
//! would take the buffer of a readback for the next one while it is still mapped, and that one fails.
//! So nobody drops one: [`Rest::rest`] holds it, or tells it to end.

/// Whoever asked for a long computation, and may hold it where it is divided: after each denoising
/// step and each decoded picture.
pub trait Rest {
    /// One of the units that the computation is counted in is done.
    fn unit_done(&mut self) {}

    /// The computation goes on when this returns.
    ///
    /// # Errors
    /// [`GivenUp`] when it is not to go on; it ends with that.
    fn rest(&mut self) -> impl Future<Output = Result<(), GivenUp>>;
}

/// Whoever asked for the computation does not want it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this was given up.")]
pub struct GivenUp;

/// No rest: the computation has its thread to itself.
#[derive(Debug, Clone, Copy)]
pub struct NoRest;

impl Rest for NoRest {
    async fn rest(&mut self) -> Result<(), GivenUp> {
        Ok(())
    }
}

/// No rest either, but the units are counted.
#[derive(Debug)]
pub struct Counted<F> {
    done: u32,
    progress: F,
}

impl<F: FnMut(u32)> Counted<F> {
    /// - `progress`: is called with the number of units that are done
    pub const fn new(progress: F) -> Self {
        Self { done: 0, progress }
    }
}

impl<F: FnMut(u32)> Rest for Counted<F> {
    fn unit_done(&mut self) {
        self.done += 1;
        (self.progress)(self.done);
    }

    async fn rest(&mut self) -> Result<(), GivenUp> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::Poll;

    use mimeo_lora::LoraStack;

    use super::*;
    use crate::bundled;
    use crate::error::EngineError;
    use crate::runtime::block_on;
    use crate::sample::{SampleRequest, sample};

    /// Takes its time at every rest, and gives up at one of them.
    struct Patient<'a> {
        rests: u32,
        last: u32,
        units: u32,
        /// Whether the computation stands at a rest.
        rests_now: &'a Cell<bool>,
    }

    impl Rest for Patient<'_> {
        fn unit_done(&mut self) {
            self.units += 1;
        }

        async fn rest(&mut self) -> Result<(), GivenUp> {
            self.rests_now.set(true);
            let mut waits = 0;
            poll_fn(|context| {
                waits += 1;
                context.waker().wake_by_ref();
                if waits > 3 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            self.rests_now.set(false);
            self.rests += 1;
            if self.rests == self.last {
                Err(GivenUp)
            } else {
                Ok(())
            }
        }
    }

    #[test]
    fn what_is_given_up_ends_at_its_rest_and_is_dropped_nowhere_else() {
        let base = bundled::base();
        let request = SampleRequest {
            steps: 2,
            ..SampleRequest::new(&base, vec![("a face".to_owned(), 0)])
        };
        // Two denoising steps and one decoded picture.
        for last in 1..=4 {
            let rests_now = Cell::new(false);
            let mut rest = Patient {
                rests: 0,
                last,
                units: 0,
                rests_now: &rests_now,
            };
            let (drawn, stood_elsewhere) = block_on(async {
                let stack = LoraStack::none();
                let mut drawing = Box::pin(sample(&base, &request, &stack, &mut rest));
                let mut stood_elsewhere = 0;
                let drawn = poll_fn(|context| {
                    let polled = drawing.as_mut().poll(context);
                    stood_elsewhere += u32::from(polled.is_pending() && !rests_now.get());
                    polled
                });
                (drawn.await, stood_elsewhere)
            });
            let is_given_up = matches!(drawn, Err(EngineError::GivenUp(_)));
            assert_eq!(is_given_up, last <= 3, "{last}: {drawn:?}");
            assert_eq!(rest.rests, last.min(3), "it ends where it is told to");
            assert_eq!(rest.units, last.min(2), "a decoded picture is no unit");
            assert_eq!(stood_elsewhere, 0, "on a CPU nothing else waits");
        }
    }
}
