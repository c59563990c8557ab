//! HTTP/2 frames by hand (RFC 9113, sections 4 and 6), also such as no well-behaved peer would send.

/// Kinds of frames, and flags.
pub const DATA: u8 = 0;
/// Fields of a request, an answer, or trailers.
pub const HEADERS: u8 = 1;
/// The end of one stream.
pub const RST_STREAM: u8 = 3;
/// Settings of the sender.
pub const SETTINGS: u8 = 4;
/// To be answered.
pub const PING: u8 = 6;
/// No new streams.
pub const GOAWAY: u8 = 7;
/// Credit for DATA.
pub const WINDOW_UPDATE: u8 = 8;
/// Fields that did not fit into HEADERS.
pub const CONTINUATION: u8 = 9;
/// Of DATA and HEADERS: the last frame of the stream in this direction.
pub const END_STREAM: u8 = 1;
/// Of SETTINGS and PING: an answer.
pub const ACK: u8 = 1;
/// Of HEADERS and CONTINUATION: no CONTINUATION follows.
pub const END_HEADERS: u8 = 4;

/// What an HTTP/2 client begins with.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The preface and empty SETTINGS.
pub fn preface() -> Vec<u8> {
    [PREFACE.as_slice(), &settings(&[])].concat()
}

/// One frame.
///
/// # Panics
/// If the payload is longer than 4 GiB.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// SETTINGS with these entries.
pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in entries {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// DATA, the last of its stream or not.
pub fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, if end { END_STREAM } else { 0 }, stream, bytes)
}

/// RST_STREAM.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// GOAWAY.
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// WINDOW_UPDATE; stream 0 is the connection.
pub fn window_update(stream: u32, credit: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &credit.to_be_bytes())
}

/// HEADERS of a POST, complete or with CONTINUATION to follow, without the end of the stream.
pub fn headers(stream: u32, path: &str, end_headers: bool) -> Vec<u8> {
    frame(HEADERS, if end_headers { END_HEADERS } else { 0 }, stream, &post(path))
}

/// HEADERS of a gRPC call with more fields, without the end of the stream.
pub fn grpc_call(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = post(path);
    literal(&mut block, "content-type", "application/grpc");
    literal(&mut block, "te", "trailers");
    more.iter().for_each(|(name, value)| literal(&mut block, name, value));
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The head of a gRPC answer.
pub fn grpc_head(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    // HPACK: indexed :status 200.
    let mut block = vec![0x88];
    literal(&mut block, "content-type", "application/grpc");
    more.iter().for_each(|(name, value)| literal(&mut block, name, value));
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The trailers of a gRPC answer, which end the stream.
pub fn grpc_trailers(stream: u32, status: &str) -> Vec<u8> {
    let mut block = Vec::new();
    literal(&mut block, "grpc-status", status);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// A message in gRPC's framing.
///
/// # Panics
/// If the message is longer than 4 GiB.
pub fn grpc_message(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message");
    [&[u8::from(compressed)], length.to_be_bytes().as_slice(), message].concat()
}

/// HPACK of a POST: indexed :method POST and :scheme http, then literals without indexing.
fn post(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    block.push(0x04);
    string(&mut block, path);
    block.push(0x01);
    string(&mut block, "example.test");
    block
}

/// A literal field with a new name, not indexed.
pub fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    string(block, name);
    string(block, value);
}

/// # Panics
/// If the text needs more than one byte for its length.
fn string(block: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "{text}: too long for one byte of length");
    block.push(u8::try_from(text.len()).expect("checked"));
    block.extend(text.bytes());
}

/// CONTINUATION that never ends the headers.
pub fn continuation(stream: u32, size: usize) -> Vec<u8> {
    // Literal fields with a name each: a legal block that only grows.
    let mut block = Vec::with_capacity(size);
    while block.len() + 70 < size {
        literal(&mut block, "x-a", &"v".repeat(62));
    }
    frame(CONTINUATION, 0, stream, &block)
}
