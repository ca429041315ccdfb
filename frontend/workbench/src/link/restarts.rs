//! How often the trainer in the browser is started again by itself.

/// Seconds before it is started again, the first time and each time after.
const PAUSES_SECS: [u32; 3] = [1, 2, 4];

/// How often it ended without having come further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarts {
    in_a_row: usize,
}

impl Restarts {
    /// It ended. Seconds until it is started again; none if that is for the user to say, because it
    /// would only end again.
    pub fn ended(&mut self) -> Option<u32> {
        let pause = PAUSES_SECS.get(self.in_a_row).copied();
        self.in_a_row += 1;
        pause
    }

    /// It got somewhere, or the user says that it shall be tried again.
    pub const fn forgive(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_in_a_row_and_then_the_user_is_asked() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> = (0..4).map(|_| restarts.ended()).collect();
        assert_eq!(
            pauses,
            [Some(1), Some(2), Some(4), None],
            "longer each time"
        );
        restarts.forgive();
        assert_eq!(restarts.ended(), Some(1), "it got somewhere meanwhile");
    }
}
