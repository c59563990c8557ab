//! Frames (RFC 9113 sections 4 and 6): cut from input and appended to output, without allocation.

use super::error::{Error, FRAME_SIZE_ERROR, PROTOCOL_ERROR};

/// Length of a frame's header.
pub const HEADER: usize = 9;
/// The largest payload either side sends: SETTINGS_MAX_FRAME_SIZE is left at its default, which is also the least
/// a peer can allow, so frames of this size are always allowed.
pub const MAX_PAYLOAD: usize = 16_384;
/// What a client sends first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (section 6).
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// Frame flags (section 6).
pub mod flag {
    #![allow(missing_docs)]
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame in the input.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its type, known or not.
    pub kind: u8,
    /// Its flags; which one means what depends on the type.
    pub flags: u8,
    /// The stream it belongs to; 0 for the connection.
    pub stream: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Whether a flag is set.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding (DATA, HEADERS).
    ///
    /// # Errors
    /// The payload has no room for the length of the padding, or the padding is not shorter than the payload: the
    /// connection ends (section 6.1).
    #[inline]
    pub fn unpadded(&self) -> Result<&'a [u8], Rule> {
        if !self.has(flag::PADDED) {
            return Ok(self.payload);
        }
        let Some((&padding, rest)) = self.payload.split_first() else {
            return Err(rule(
                FRAME_SIZE_ERROR,
                "a padded frame has no room for the length of its padding",
            ));
        };
        match rest.len().checked_sub(padding as usize) {
            Some(length) => Ok(&rest[..length]),
            None => Err(rule(PROTOCOL_ERROR, "the padding is longer than the frame")),
        }
    }

    /// The payload as four bytes (RST_STREAM, WINDOW_UPDATE).
    ///
    /// # Errors
    /// It has another length: the connection ends.
    #[inline]
    pub fn word(&self) -> Result<u32, Rule> {
        match self.payload.try_into() {
            Ok(bytes) => Ok(u32::from_be_bytes(bytes)),
            Err(_) => Err(rule(FRAME_SIZE_ERROR, "RST_STREAM and WINDOW_UPDATE have four bytes")),
        }
    }
}

/// A broken rule that ends the connection; GOAWAY is not queued yet.
pub type Rule = Error;

/// Names a broken rule.
#[inline]
pub fn rule(code: u32, reason: &'static str) -> Rule {
    Error { code, reason }
}

/// Takes a frame off the front of `input`, or nothing if it is not all there.
///
/// # Errors
/// The frame is longer than we allow, which its header alone tells (section 4.2).
#[inline]
pub fn take<'a>(input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Rule> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *header;
    let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
    if length > MAX_PAYLOAD {
        return Err(rule(FRAME_SIZE_ERROR, "the frame is longer than SETTINGS_MAX_FRAME_SIZE"));
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *input = rest;
    let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
    Ok(Some(Frame { kind, flags, stream, payload }))
}

/// A frame's header. `length` is at most [`MAX_PAYLOAD`].
#[inline]
pub fn header(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEADER] {
    let [_, l2, l1, l0] = (length as u32).to_be_bytes();
    let [s3, s2, s1, s0] = stream.to_be_bytes();
    [l2, l1, l0, kind, flags, s3, s2, s1, s0]
}

/// Appends a frame of four bytes (RST_STREAM, WINDOW_UPDATE).
#[inline]
pub fn put_word(out: &mut Vec<u8>, kind: u8, stream: u32, word: u32) {
    let mut frame = [0; HEADER + 4];
    frame[..HEADER].copy_from_slice(&header(4, kind, 0, stream));
    frame[HEADER..].copy_from_slice(&word.to_be_bytes());
    out.extend_from_slice(&frame);
}

/// Appends PING.
pub fn put_ping(out: &mut Vec<u8>, flags: u8, payload: [u8; 8]) {
    out.extend_from_slice(&header(8, kind::PING, flags, 0));
    out.extend_from_slice(&payload);
}

/// Appends GOAWAY with a text for the peer's log.
pub fn put_goaway(out: &mut Vec<u8>, last: u32, code: u32, text: &str) {
    out.extend_from_slice(&header(8 + text.len(), kind::GOAWAY, 0, 0));
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Makes frames of a header block: `out[start..]` is a place for a frame header and the block behind it. The
/// header is filled in, and a block longer than a frame is moved apart to make room for CONTINUATIONs.
#[inline]
pub fn frame_block(out: &mut Vec<u8>, start: usize, stream: u32, end: bool) {
    let length = out.len() - start - HEADER;
    let end_stream = if end { flag::END_STREAM } else { 0 };
    if length <= MAX_PAYLOAD {
        let head = header(length, kind::HEADERS, end_stream | flag::END_HEADERS, stream);
        out[start..start + HEADER].copy_from_slice(&head);
    } else {
        split_block(out, start, stream, end_stream);
    }
}

#[cold]
fn split_block(out: &mut Vec<u8>, start: usize, stream: u32, end_stream: u8) {
    let length = out.len() - start - HEADER;
    let parts = length.div_ceil(MAX_PAYLOAD);
    out.resize(out.len() + (parts - 1) * HEADER, 0);
    for part in (0..parts).rev() {
        let size = MAX_PAYLOAD.min(length - part * MAX_PAYLOAD);
        let from = start + HEADER + part * MAX_PAYLOAD;
        let to = from + part * HEADER;
        out.copy_within(from..from + size, to);
        let last = if part + 1 == parts { flag::END_HEADERS } else { 0 };
        let head = match part {
            0 => header(size, kind::HEADERS, end_stream | last, stream),
            _ => header(size, kind::CONTINUATION, last, stream),
        };
        out[to - HEADER..to].copy_from_slice(&head);
    }
}
