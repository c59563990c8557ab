//! Which of the proxy's two transports carries HTTP/2 calls.

use std::fmt;

/// A transport of `pigeon-proxy`. A scenario that concerns calls runs over both, because they share every
/// feature: one that works on the first and not on the second is a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/2 to HTTP/2, frame by frame.
    Relay,
    /// Everything through hyper, as HTTP/1.1 and translation always go.
    Hyper,
}

impl Transport {
    /// The value of `PIGEON_RELAY` that chooses it.
    pub fn relay_flag(self) -> &'static str {
        match self {
            Self::Relay => "on",
            Self::Hyper => "off",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relay => "relay",
            Self::Hyper => "hyper",
        })
    }
}
