//! How a call ended, as far as it says something about its endpoint.

use std::fmt;

/// Why a call failed through no fault of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The engine broke it off, or its connection was lost (`engine_reset`).
    Reset,
    /// The engine's answer could not be understood (`engine_protocol_error`).
    Protocol,
    /// The engine answered gRPC UNAVAILABLE.
    Unavailable,
    /// The engine answered this HTTP status: 502, 503 or 504.
    Http(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("engine_reset"),
            Self::Protocol => f.write_str("engine_protocol_error"),
            Self::Unavailable => f.write_str("gRPC UNAVAILABLE"),
            Self::Http(status) => write!(f, "HTTP {status}"),
        }
    }
}

/// How a call ended at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint did what it should.
    Well,
    /// It failed.
    Failed(Failure),
    /// It says nothing about the endpoint: the caller went away, or the call's time was over.
    Unknown,
}
