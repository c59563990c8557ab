//! A body in chunks (RFC 9112 section 7.1). Whitespace around the size, sizes of more than 16 digits, and chunk
//! extensions with control bytes or no end are refused.

use super::fault::Fault;
use super::{is_text, is_token};

/// Sizes fit into 64 bits.
const MAX_DIGITS: u8 = 16;
/// The longest extension of a chunk; no client known sends any.
const MAX_EXTENSION: u16 = 256;

/// Where in the body it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        length: u16,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// Where a trailer or the end of the body begins.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    End,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Reads on: how many bytes are of this body, and whether it has ended.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data { left } = self {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += n;
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            *self = self.next(bytes[at]).map_err(|fault| (at, fault))?;
            at += 1;
            if let Self::End = self {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn next(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err(Fault::Chunk);
                }
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size, length: 0 },
            (Self::Size { size, digits: 1.. } | Self::Extension { size, .. }, b'\r') => {
                Self::SizeLf { size }
            }
            (Self::Extension { size, length }, _) if is_text(byte) && length < MAX_EXTENSION => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Line,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::Line, b'\r') => Self::EndLf,
            (Self::Line | Self::Name, _) if is_token(byte) => Self::Name,
            (Self::Name, b':') => Self::Value,
            (Self::Value, b'\r') => Self::ValueLf,
            (Self::Value, _) if is_text(byte) => Self::Value,
            (Self::ValueLf, b'\n') => Self::Line,
            (Self::EndLf, b'\n') => Self::End,
            (Self::Line | Self::Name | Self::Value | Self::ValueLf | Self::EndLf, _) => {
                return Err(Fault::Trailers);
            }
            _ => return Err(Fault::Chunk),
        })
    }
}
