//! What an error from an engine means for the call.

use std::error::Error as _;

use crate::reject::Rejection;
use crate::retry::Failed;

/// What an error before any answer means.
pub(super) struct Blame {
    /// What the caller is told if the call is not tried again.
    pub(super) rejection: Rejection,
    /// What trying again goes by; none where it is of no use.
    pub(super) failed: Option<Failed>,
    /// The connection takes no more calls.
    pub(super) gone: bool,
}

/// Tells a reset or a lost connection from an answer that is not HTTP.
pub(super) fn blame(error: &hyper::Error) -> Rejection {
    if error.is_parse() {
        return Rejection::EngineProtocolError;
    }
    match http2(error) {
        Some(h2) => of_http2(h2),
        None => Rejection::EngineReset { code: None },
    }
}

/// The same, and whether the call can be tried again.
pub(super) fn blame_first(error: &hyper::Error) -> Blame {
    let rejection = blame(error);
    let Some(h2) = http2(error) else {
        let failed = (rejection != Rejection::EngineProtocolError).then_some(Failed::Reset);
        return Blame { rejection, failed, gone: true };
    };
    // The h2 crate tells a GOAWAY only to the streams above its last stream id, and to those that came
    // later: the engine has not looked at either (RFC 9113, section 6.8).
    let left_out = h2.is_go_away() && h2.is_remote();
    let refused =
        h2.is_reset() && h2.is_remote() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
    let failed = match rejection {
        _ if left_out || refused => Some(Failed::Unseen),
        Rejection::EngineProtocolError => None,
        _ => Some(Failed::Reset),
    };
    Blame { rejection, failed, gone: !h2.is_reset() }
}

fn http2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(h2) = source.downcast_ref() {
            return Some(h2);
        }
        cause = source.source();
    }
    None
}

fn of_http2(error: &h2::Error) -> Rejection {
    let code = error.reason().map(u32::from);
    if error.is_remote() && error.is_reset() {
        Rejection::EngineReset { code }
    } else if error.is_library() {
        // Our side found fault with what the engine sent.
        Rejection::EngineProtocolError
    } else {
        // GOAWAY, or the connection is gone: unavailable, whatever the engine meant by it.
        Rejection::EngineReset { code: None }
    }
}
