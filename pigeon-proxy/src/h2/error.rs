//! Error codes (RFC 9113 section 7) and what ends a connection.

use std::fmt;

/// Not an error: a graceful end.
pub const NO_ERROR: u32 = 0x0;
/// The peer broke a rule that has no code of its own.
pub const PROTOCOL_ERROR: u32 = 0x1;
/// Something broke on the side that sends the code.
pub const INTERNAL_ERROR: u32 = 0x2;
/// The peer sent more than a window allowed, or made a window too large.
pub const FLOW_CONTROL_ERROR: u32 = 0x3;
/// SETTINGS were not acknowledged in time.
pub const SETTINGS_TIMEOUT: u32 = 0x4;
/// A frame came for a stream whose sender had ended it.
pub const STREAM_CLOSED: u32 = 0x5;
/// A frame's length is not one its type may have.
pub const FRAME_SIZE_ERROR: u32 = 0x6;
/// The stream was refused before anything was done for it: it may be tried again.
pub const REFUSED_STREAM: u32 = 0x7;
/// The stream is not wanted any more.
pub const CANCEL: u32 = 0x8;
/// A header block could not be decoded; the compression state of the connection is lost.
pub const COMPRESSION_ERROR: u32 = 0x9;
/// The connection made for a CONNECT request broke.
pub const CONNECT_ERROR: u32 = 0xa;
/// The peer causes more work than it is worth.
pub const ENHANCE_YOUR_CALM: u32 = 0xb;
/// The transport is not secure enough.
pub const INADEQUATE_SECURITY: u32 = 0xc;
/// The request must be made over HTTP/1.1.
pub const HTTP_1_1_REQUIRED: u32 = 0xd;

/// What ends a connection. GOAWAY with the code is queued already: the caller writes what is queued and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code of the GOAWAY frame.
    pub code: u32,
    /// The rule that was broken, for the log.
    pub reason: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (HTTP/2 error code {})", self.reason, self.code)
    }
}

impl std::error::Error for Error {}
