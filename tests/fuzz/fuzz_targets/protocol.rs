//! A frame is a message or an error; a message is the same after another trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimeo_protocol::codec::{decode, encode};
use mimeo_protocol::{ClientMessage, MAX_CLIENT_FRAME, ServerMessage};

fuzz_target!(|frame: &[u8]| {
    if let Ok(message) = decode::<ClientMessage>(frame, MAX_CLIENT_FRAME) {
        let again = encode(&message);
        let back: ClientMessage = decode(&again, MAX_CLIENT_FRAME).expect("what was written");
        // Bytes, because NaN is not equal to itself.
        assert_eq!(encode(&back), again);
    }
    if let Ok(message) = decode::<ServerMessage>(frame, MAX_CLIENT_FRAME) {
        let again = encode(&message);
        let back: ServerMessage = decode(&again, usize::MAX).expect("what was written");
        assert_eq!(encode(&back), again);
    }
});
