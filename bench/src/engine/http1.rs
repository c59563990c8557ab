//! The engine's side of HTTP/1.1 with keep-alive: a body is echoed, no body is answered with a fixed one.

use super::later::{Delay, Later};
use super::{Over, Shared};
use crate::wire::socket::Socket;

/// Longest head taken.
const LONGEST_HEAD: usize = 64 * 1024;

/// A connection.
pub struct Http1 {
    pub(super) socket: Socket,
    token: u64,
    input: Vec<u8>,
    /// Whether a request waits for its answer.
    busy: bool,
}

impl Http1 {
    /// Takes over a connection.
    pub fn new(socket: Socket, token: u64) -> Self {
        Self { socket, token, input: Vec::new(), busy: false }
    }

    /// Whether a request waits for its answer.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], shared: &mut Shared) -> Result<(), Over> {
        self.input.extend_from_slice(bytes);
        self.serve(shared)
    }

    /// The time of a delayed answer has come.
    pub fn answer(&mut self, later: &Later, shared: &mut Shared) -> Result<(), Over> {
        self.end(&later.bytes, shared);
        self.serve(shared)
    }

    /// Answers the requests that are whole, one after another.
    fn serve(&mut self, shared: &mut Shared) -> Result<(), Over> {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while !self.busy {
            let Some(request) = Request::next(&mut rest)? else { break };
            self.one(&request, shared);
        }
        self.input.extend_from_slice(rest);
        Ok(())
    }

    fn one(&mut self, request: &Request<'_>, shared: &mut Shared) {
        if request.target == b"/stats" {
            let stats = shared.stats.json();
            return put(&mut self.socket.out, "200 OK", stats.as_bytes());
        }
        if !shared.stats.begin(shared.settings.slots) {
            return put(&mut self.socket.out, "503 Service Unavailable", b"no slot is free\n");
        }
        self.busy = true;
        let fixed = std::mem::take(&mut shared.fixed);
        let body = if request.body.is_empty() { &fixed } else { request.body };
        match shared.settings.delay {
            Delay::None => self.end(body, shared),
            delay => {
                let bytes = body.to_vec();
                let later = Later { token: self.token, stream: 0, bytes, end: true };
                shared.timers.keep(delay, shared.now, shared.now, later);
            }
        }
        shared.fixed = fixed;
    }

    fn end(&mut self, body: &[u8], shared: &mut Shared) {
        put(&mut self.socket.out, "200 OK", body);
        shared.stats.end();
        self.busy = false;
    }
}

fn put(out: &mut Vec<u8>, status: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

struct Request<'a> {
    target: &'a [u8],
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first request of `input`, taken off it; None while it is not whole.
    fn next(input: &mut &'a [u8]) -> Result<Option<Self>, Over> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if input.len() > LONGEST_HEAD { Err(Over) } else { Ok(None) };
        };
        let head = std::str::from_utf8(&input[..end]).map_err(|_| Over)?;
        let mut lines = head.split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or(Over)?;
        let mut length = 0;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| Over)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                // Nothing that is compared sends chunks; better no answer than a wrong one.
                return Err(Over);
            }
        }
        let Some((body, rest)) = input[end + 4..].split_at_checked(length) else { return Ok(None) };
        *input = rest;
        Ok(Some(Self { target: target.as_bytes(), body }))
    }
}
