//! Not a scenario: HTTP/2 frames by hand, as no well-behaved client would send them.

/// What an HTTP/2 client begins with, and empty SETTINGS.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// One frame (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HEADERS of a POST, complete or with CONTINUATION to follow, without the end of the stream.
pub fn headers(stream: u32, path: &str, end_headers: bool) -> Vec<u8> {
    // HPACK: indexed :method POST and :scheme http, then literals without indexing.
    let mut block = vec![0x83, 0x86];
    literal(&mut block, 0x04, path);
    literal(&mut block, 0x01, "example.test");
    frame(1, if end_headers { 4 } else { 0 }, stream, &block)
}

fn literal(block: &mut Vec<u8>, name: u8, value: &str) {
    block.push(name);
    block.push(u8::try_from(value.len()).unwrap());
    block.extend(value.bytes());
}

/// RST_STREAM with CANCEL.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8_u32.to_be_bytes())
}

/// CONTINUATION that never ends the headers.
pub fn continuation(stream: u32, size: usize) -> Vec<u8> {
    // Literal fields with a new name each: a legal block that only grows.
    let mut block = Vec::with_capacity(size);
    while block.len() + 70 < size {
        block.extend([0x00, 3, b'x', b'-', b'a', 62]);
        block.extend([b'v'; 62]);
    }
    frame(9, 0, stream, &block)
}
