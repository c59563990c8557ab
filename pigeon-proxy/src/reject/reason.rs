//! The words of the closed list, with what belongs to each.

use super::code;

/// Why the gateway answered a call itself, as in `pigeon-reason`, metrics and the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // `Rejection` says what each means.
pub enum Reason {
    NoRoute,
    MethodNotAllowed,
    Unauthenticated,
    Forbidden,
    NoKeys,
    RateLimited,
    Saturated,
    Deadline,
    NoEndpoint,
    ConnectFailed,
    EngineReset,
    EngineProtocolError,
    TooLarge,
    BadRequest,
    Draining,
    NoConfig,
    Overloaded,
}

/// What a call lacks whose caller is not known. Callers learn no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It brings no credential that the route takes.
    Missing,
    /// The credential is malformed, unknown, expired or revoked.
    NotValid,
}

impl Lack {
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "a credential is missing; the route takes calls of known callers only",
            Self::NotValid => "the credential of the call is not valid",
        }
    }

    /// For `WWW-Authenticate` (RFC 6750, section 3).
    pub(super) const fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer",
            Self::NotValid => "Bearer error=\"invalid_token\"",
        }
    }
}

impl Reason {
    /// All of them, in the order of docs/answers.md.
    pub const ALL: [Self; 17] = [
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NoKeys,
        Self::RateLimited,
        Self::Saturated,
        Self::Deadline,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::EngineReset,
        Self::EngineProtocolError,
        Self::TooLarge,
        Self::BadRequest,
        Self::Draining,
        Self::NoConfig,
        Self::Overloaded,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Whether a filter of the route said no: the call did not ask for a slot.
    pub const fn is_of_filters(self) -> bool {
        matches!(self, Self::Unauthenticated | Self::Forbidden | Self::NoKeys | Self::RateLimited)
    }

    /// The word in `google.rpc.ErrorInfo`.
    pub fn upper(self) -> String {
        self.as_str().to_ascii_uppercase()
    }

    pub(super) const fn grpc_code(self) -> u8 {
        self.row().1
    }

    /// Its HTTP status, but for some rejections that have another.
    pub const fn http_status(self) -> u16 {
        self.row().2
    }

    pub(super) const fn sentence(self) -> &'static str {
        self.row().3
    }

    const fn row(self) -> (&'static str, u8, u16, &'static str) {
        use code::{
            DEADLINE_EXCEEDED, INTERNAL, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED,
            UNAVAILABLE, UNIMPLEMENTED,
        };
        match self {
            Self::NoRoute => ("no_route", UNIMPLEMENTED, 404, "no route takes this call"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", UNIMPLEMENTED, 405, "the method is not allowed here")
            }
            Self::Unauthenticated => (
                "unauthenticated",
                UNAUTHENTICATED,
                401,
                "the call says not, or not believably, who calls",
            ),
            Self::Forbidden => ("forbidden", PERMISSION_DENIED, 403, "the caller may not do this"),
            Self::NoKeys => (
                "no_keys",
                UNAVAILABLE,
                503,
                "the keys to check the call's token with are not there yet; try again",
            ),
            Self::RateLimited => (
                "rate_limited",
                RESOURCE_EXHAUSTED,
                429,
                "too many calls in a short time; try again later",
            ),
            Self::Saturated => (
                "saturated",
                RESOURCE_EXHAUSTED,
                503,
                "no slot of the engine became free in time; try again later",
            ),
            Self::Deadline => {
                ("deadline", DEADLINE_EXCEEDED, 504, "the deadline of the call is over")
            }
            Self::NoEndpoint => {
                ("no_endpoint", UNAVAILABLE, 503, "the engine has no endpoint in use")
            }
            Self::ConnectFailed => (
                "connect_failed",
                UNAVAILABLE,
                502,
                "none of the engine's endpoints could be reached",
            ),
            Self::EngineReset => {
                ("engine_reset", UNAVAILABLE, 502, "the engine broke the call off")
            }
            Self::EngineProtocolError => (
                "engine_protocol_error",
                INTERNAL,
                502,
                "the engine's answer could not be understood",
            ),
            Self::TooLarge => {
                ("too_large", RESOURCE_EXHAUSTED, 431, "the head of the call is too large")
            }
            Self::BadRequest => ("bad_request", INTERNAL, 400, "the call cannot be carried"),
            Self::Draining => {
                ("draining", UNAVAILABLE, 503, "this proxy is about to stop; call again")
            }
            Self::NoConfig => {
                ("no_config", UNAVAILABLE, 503, "this proxy has no configuration yet")
            }
            Self::Overloaded => {
                ("overloaded", UNAVAILABLE, 503, "this proxy has too many connections")
            }
        }
    }
}
