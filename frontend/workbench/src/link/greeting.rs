//! What the two sides say first: who this is, and whether it is welcome.

use mimeo_protocol::{
    ClientMessage, MAX_SERVER_FRAME, PROTOCOL_VERSION, Rejection, ServerMessage, codec,
};

use super::End;
use crate::words;

/// The page's first message.
///
/// - `token`: of the companion's start; empty where nobody asks for it
#[must_use]
pub fn hello(token: String) -> ClientMessage {
    ClientMessage::Hello {
        protocol: PROTOCOL_VERSION,
        app: concat!("page ", env!("CARGO_PKG_VERSION")).to_owned(),
        token,
    }
}

/// The welcome, from the frame that answers the hello.
///
/// # Errors
/// The end of the line, if this is none.
pub fn welcome(frame: &[u8]) -> Result<ServerMessage, End> {
    match codec::decode(frame, MAX_SERVER_FRAME) {
        Ok(message @ ServerMessage::Welcome { .. }) => Ok(message),
        Ok(ServerMessage::Rejected { reason, .. }) => {
            let why = words::capitalised(&reason.to_string());
            Err(match reason {
                Rejection::Token => End::Token(why),
                _ => End::Refused(why),
            })
        }
        Ok(_) | Err(_) => {
            let why = "What answers here is of another version than this page. Reload the page.";
            Err(End::Refused(why.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{DeviceInfo, Snapshot};

    use super::*;

    fn answer(message: &ServerMessage) -> Result<ServerMessage, End> {
        welcome(&codec::encode(message))
    }

    fn rejected(reason: Rejection) -> Result<ServerMessage, End> {
        answer(&ServerMessage::Rejected {
            request: None,
            reason,
        })
    }

    #[test]
    fn a_welcome_is_one() {
        let message = ServerMessage::Welcome {
            protocol: PROTOCOL_VERSION,
            app: "mimeo 1".to_owned(),
            snapshot: Snapshot {
                jobs: vec![],
                queue: vec![],
                copiers: vec![],
                device: DeviceInfo {
                    name: "cpu".to_owned(),
                    reason: "The only one.".to_owned(),
                    memory_bytes: None,
                    is_gpu: false,
                    in_use: true,
                },
                checkpoints: vec![],
                vaes: vec![],
                paces: vec![],
                unreadable: vec![],
            },
        };
        assert_eq!(answer(&message), Ok(message), "as it was sent");
    }

    #[test]
    fn a_wrong_version_is_refused_with_the_sentence_of_the_other_side() {
        let refused = rejected(Rejection::Version {
            client: "page 1".to_owned(),
            client_protocol: 1,
            server: "mimeo 2".to_owned(),
            server_protocol: 2,
        });
        let Err(End::Refused(why)) = refused else {
            panic!("not {refused:?}");
        };
        assert!(why.starts_with("This page 1 speaks protocol 1"), "{why}");
    }

    #[test]
    fn a_wrong_token_is_told_from_all_else() {
        let refused = rejected(Rejection::Token);
        let Err(End::Token(why)) = refused else {
            panic!("not {refused:?}");
        };
        assert!(why.starts_with("The companion was started anew"), "{why}");
    }

    #[test]
    fn what_is_no_answer_to_a_hello_is_of_another_version() {
        let strange = answer(&ServerMessage::Goodbye {
            message: String::new(),
        });
        for refused in [strange, welcome(b"garbage"), welcome(&[])] {
            let Err(End::Refused(why)) = refused else {
                panic!("not {refused:?}");
            };
            assert!(why.ends_with("Reload the page."), "{why}");
        }
    }

    #[test]
    fn the_page_says_which_protocol_it_speaks() {
        let ClientMessage::Hello {
            protocol,
            app,
            token,
        } = hello("5f".to_owned())
        else {
            panic!("the first message is a hello");
        };
        assert_eq!(
            (protocol, &*token),
            (PROTOCOL_VERSION, "5f"),
            "and its token"
        );
        assert!(app.starts_with("page "), "{app}");
    }
}
