//! HTTP/2 frames (RFC 9113 section 4): reading them off a buffer, and writing their heads.

/// What a client says first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// DATA.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PING.
pub const PING: u8 = 6;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;

/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// The length of a frame's head.
pub const HEAD: usize = 9;

/// A frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it carries, padding and priority included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of `input`, taken off it; None while it is not whole.
    pub fn next(input: &mut &'a [u8]) -> Option<Self> {
        let (head, rest) = input.split_first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        *input = rest;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Self { kind: head[3], flags: head[4], stream, payload })
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The data or the header block: without padding and priority. None if it does not fit.
    pub fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        if self.has(PADDED) {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..)?;
        }
        Some(content)
    }

    /// The four bytes at `at` as a number.
    pub fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }
}

/// Writes the head of a frame whose payload follows.
pub fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s, t, u, v] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, s, t, u, v]);
}

/// Writes a whole frame.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

/// Writes a WINDOW_UPDATE.
pub fn put_window(out: &mut Vec<u8>, stream: u32, more: u32) {
    put(out, WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
}

/// Writes a SETTINGS frame of (identifier, value) pairs.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_head(out, settings.len() * 6, SETTINGS, 0, 0);
    for (identifier, value) in settings {
        out.extend_from_slice(&identifier.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_whole_or_not_at_all() {
        let mut out = Vec::new();
        put(&mut out, DATA, END_STREAM, 7, b"hello");
        for cut in 0..out.len() {
            let mut input = &out[..cut];
            assert!(Frame::next(&mut input).is_none(), "{cut}");
            assert_eq!(input.len(), cut);
        }
        let mut input = &out[..];
        let frame = Frame::next(&mut input).expect("whole");
        assert!(input.is_empty() && frame.has(END_STREAM));
        assert_eq!((frame.kind, frame.stream, frame.content()), (DATA, 7, Some(&b"hello"[..])));
    }

    #[test]
    fn padding_and_priority_are_no_content() {
        let padded = |kind, flags, payload| Frame { kind, flags, stream: 1, payload };
        assert_eq!(padded(DATA, PADDED, b"\x02ab\0\0").content(), Some(&b"ab"[..]));
        assert_eq!(padded(DATA, PADDED, b"\x05ab\0\0").content(), None);
        let both = padded(HEADERS, PADDED | PRIORITY, b"\x01\0\0\0\0\x10ab\0");
        assert_eq!(both.content(), Some(&b"ab"[..]));
    }
}
