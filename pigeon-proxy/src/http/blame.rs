//! What an error from an engine means for the call.

use std::error::Error as _;

use crate::reject::Rejection;

/// Tells a reset or a lost connection from an answer that is not HTTP.
pub(super) fn blame(error: &hyper::Error) -> Rejection {
    if error.is_parse() {
        return Rejection::EngineProtocolError;
    }
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(h2) = source.downcast_ref::<h2::Error>() {
            return of_http2(h2);
        }
        cause = source.source();
    }
    Rejection::EngineReset { code: None }
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
