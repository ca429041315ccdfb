//! The one place of the service that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is set wrong; the order of events does not depend on it.
    since.map_or(0, |since| since.as_millis() as u64)
}
