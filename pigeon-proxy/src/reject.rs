//! Every answer the gateway itself gives: one closed list, and its gRPC and its HTTP form.
//!
//! docs/answers.md is the same list for people; a test compares the two.

mod reason;
mod wire;

use std::borrow::Cow;
use std::time::{Duration, Instant};

pub use self::reason::{Lack, Reason};
pub use self::wire::{
    GRPC_MESSAGE, GRPC_STATUS, HttpAnswer, PIGEON_REASON, grpc_headers, grpc_status, grpc_trailers,
    http_answer, problem,
};

/// Why the gateway answers a call itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No route takes the call.
    NoRoute,
    /// Routes would take it with another method.
    MethodNotAllowed {
        /// The methods they take, as in `Allow`.
        allow: String,
    },
    /// The route wants to know who calls, and the call does not say it, or not believably.
    Unauthenticated(Lack),
    /// Who calls is known, and may not.
    Forbidden,
    /// Who calls is known, and its token does not say what the route asks for.
    Lacks {
        /// The claim.
        claim: String,
    },
    /// The keys that the call's token is to be checked with are not there, or not yet.
    NoKeys,
    /// More calls than the route, the caller or its address may make.
    RateLimited {
        /// When there is room for one more.
        retry: Duration,
    },
    /// The caller's address has as many calls at once as it may have.
    TooManyAtOnce,
    /// No slot became free: the line was full, or the call waited its time out.
    Saturated {
        /// When it may be worth trying again.
        retry: Duration,
    },
    /// The call's own deadline or the route's timeout is over.
    Deadline,
    /// The engine has no endpoints.
    NoEndpoint,
    /// None of the engine's endpoints could be reached.
    ConnectFailed,
    /// The engine broke the call off, or its connection is gone.
    EngineReset {
        /// The HTTP/2 error code it gave, if it gave one.
        code: Option<u32>,
    },
    /// What the engine sent is not HTTP.
    EngineProtocolError,
    /// The head of the call is too large.
    TooLarge,
    /// A gRPC message of the call, or of its answer, is longer than its engine's `pool.max_message_bytes`.
    MessageTooLarge {
        /// The limit, in bytes.
        limit: u32,
    },
    /// The request's body is longer than its route's `max_body_bytes`.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The call is not one that can be carried.
    BadRequest {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No method of the engine is called by the path of a JSON call.
    NoMethod,
    /// A JSON call is not one that can be translated.
    Untranslatable {
        /// The HTTP status that says so: 400, 415 or 501.
        status: u16,
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// The engine does not tell what its methods and messages are, so that there is nothing to translate by.
    NotDescribed,
    /// This proxy is about to stop.
    Draining,
    /// The call went on at an endpoint that was removed or set to drain for longer than the engine's
    /// `pool.drain_timeout`.
    EndpointDrained,
    /// This proxy has no configuration yet.
    NoConfig,
    /// This proxy has as many connections as it may have.
    Overloaded,
}

/// For whom an answer is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The route the call took.
    pub route: Option<&'a str>,
    /// The engine it was for.
    pub engine: Option<&'a str>,
}

/// The gRPC status codes that the gateway gives.
pub mod code {
    /// CANCELLED
    pub const CANCELLED: u8 = 1;
    /// UNKNOWN
    pub const UNKNOWN: u8 = 2;
    /// DEADLINE_EXCEEDED
    pub const DEADLINE_EXCEEDED: u8 = 4;
    /// PERMISSION_DENIED
    pub const PERMISSION_DENIED: u8 = 7;
    /// RESOURCE_EXHAUSTED
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    /// UNIMPLEMENTED
    pub const UNIMPLEMENTED: u8 = 12;
    /// INTERNAL
    pub const INTERNAL: u8 = 13;
    /// UNAVAILABLE
    pub const UNAVAILABLE: u8 = 14;
    /// UNAUTHENTICATED
    pub const UNAUTHENTICATED: u8 = 16;
}

/// RFC 9113 section 7.
const CANCEL: u32 = 8;
/// What is lost of a deadline when it is rounded down for `grpc-timeout`.
const ROUNDING: Duration = Duration::from_millis(1);

impl Rejection {
    /// What an engine means that broke a call off: one whose own clock says that the deadline is over cancels
    /// the call, and may be the first to know. gRPC's own clients read it the same way.
    #[must_use]
    pub fn or_deadline(self, deadline: Option<Instant>, now: Instant) -> Self {
        match self {
            Self::EngineReset { code: Some(CANCEL) }
                if deadline.is_some_and(|deadline| deadline <= now + ROUNDING) =>
            {
                Self::Deadline
            }
            other => other,
        }
    }

    /// Its word on the closed list.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoRoute | Self::NoMethod => Reason::NoRoute,
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::Unauthenticated(_) => Reason::Unauthenticated,
            Self::Forbidden | Self::Lacks { .. } => Reason::Forbidden,
            Self::NoKeys => Reason::NoKeys,
            Self::RateLimited { .. } | Self::TooManyAtOnce => Reason::RateLimited,
            Self::Saturated { .. } => Reason::Saturated,
            Self::Deadline => Reason::Deadline,
            Self::NoEndpoint => Reason::NoEndpoint,
            Self::ConnectFailed => Reason::ConnectFailed,
            Self::EngineReset { .. } => Reason::EngineReset,
            Self::EngineProtocolError | Self::NotDescribed => Reason::EngineProtocolError,
            Self::TooLarge | Self::MessageTooLarge { .. } | Self::BodyTooLarge { .. } => {
                Reason::TooLarge
            }
            Self::BadRequest { .. } | Self::Untranslatable { .. } => Reason::BadRequest,
            Self::Draining | Self::EndpointDrained => Reason::Draining,
            Self::NoConfig => Reason::NoConfig,
            Self::Overloaded => Reason::Overloaded,
        }
    }

    /// The gRPC status.
    pub fn grpc_code(&self) -> u8 {
        match self {
            Self::EngineReset { code: Some(code) } => of_reset(*code),
            other => other.reason().grpc_code(),
        }
    }

    /// The HTTP status.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. } => 413,
            Self::Untranslatable { status, .. } => *status,
            other => other.reason().http_status(),
        }
    }

    /// When it may be worth trying again, if the list has a hint.
    pub fn retry(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry } | Self::Saturated { retry } => Some(*retry),
            Self::Draining
            | Self::EndpointDrained
            | Self::NoConfig
            | Self::NoKeys
            | Self::TooManyAtOnce
            | Self::Overloaded => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// What to tell the caller; nothing of the inside.
    pub fn message(&self) -> Cow<'static, str> {
        match self {
            Self::MethodNotAllowed { allow } => {
                format!("the method is not allowed here; allowed: {allow}").into()
            }
            Self::BadRequest { why } => (*why).into(),
            Self::NoMethod => "no method of the engine is called by this path".into(),
            Self::Untranslatable { why, .. } => why.clone(),
            Self::NotDescribed => {
                "JSON calls need an engine that describes its methods by gRPC server \
                                   reflection, and this one does not"
                    .into()
            }
            Self::Unauthenticated(lack) => lack.sentence().into(),
            Self::Lacks { claim } => {
                format!("the token does not have the {claim} that is needed here").into()
            }
            Self::MessageTooLarge { limit } => {
                format!("a message of the call is longer than the {limit} bytes allowed").into()
            }
            Self::BodyTooLarge { limit } => {
                format!("the body of the request is longer than the {limit} bytes allowed").into()
            }
            Self::TooManyAtOnce => {
                "as many calls of this address run as it may have at once; let one end first".into()
            }
            Self::EndpointDrained => {
                "the call's endpoint is taken out of service and waits no longer; call again".into()
            }
            Self::EngineReset { code: Some(code) } => {
                format!("the engine reset the call (HTTP/2 error code {code})").into()
            }
            other => other.reason().sentence().into(),
        }
    }
}

/// The HTTP status for a gRPC status, by the comments of google/rpc/code.proto.
pub const fn http_of_grpc(status: u8) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The status for a stream that the peer reset, by the table in gRPC's PROTOCOL-HTTP2.md, "Errors".
fn of_reset(http2_code: u32) -> u8 {
    match http2_code {
        // NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT,
        // FRAME_SIZE_ERROR, COMPRESSION_ERROR, CONNECT_ERROR
        0..=4 | 6 | 9 | 10 => code::INTERNAL,
        7 => code::UNAVAILABLE,
        CANCEL => code::CANCELLED,
        11 => code::RESOURCE_EXHAUSTED,
        12 => code::PERMISSION_DENIED,
        // STREAM_CLOSED has no mapping, as the stream is gone already.
        _ => code::UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
