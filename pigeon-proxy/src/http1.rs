//! HTTP/1.1 as strict as it can be read: bytes in, how many of them may pass out. What two parsers could read
//! differently is refused, so that nobody behind the gateway sees other requests than the gateway did (request
//! smuggling). Without I/O, clock or copies; hyper parses what has passed.

mod chunks;
mod fault;
mod head;

use self::chunks::Chunks;
pub use self::fault::Fault;
pub use self::head::lists_upgrade;
use self::head::{Framing, Head};

/// The requests of one connection, as far as they have come.
pub struct Scanner {
    state: State,
    max_head: usize,
}

enum State {
    /// In the head of a request, or before it.
    Head(Head),
    /// So many bytes of a body are still to come.
    Length(u64),
    Chunked(Chunks),
    /// The last request asks for another protocol; what follows it is of one or the other.
    Asked,
    /// Whatever comes is of another protocol.
    Other,
    Refused,
}

/// How far the bytes were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// So many bytes may pass. The rest is to be given again, with what follows it.
    pub pass: usize,
    /// What is wrong with what comes after them.
    pub fault: Option<Fault>,
}

impl Scanner {
    /// `max_head` = the longest head of a request, in bytes.
    #[must_use]
    pub fn new(max_head: usize) -> Self {
        Self { state: State::Head(Head::default()), max_head }
    }

    /// Reads on. `bytes` begins with what did not pass the last time.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut pass = 0;
        loop {
            let rest = &bytes[pass..];
            match self.step(rest) {
                Ok(0) => return Scan { pass, fault: None },
                Ok(n) => pass += n,
                Err((n, fault)) => {
                    self.state = State::Refused;
                    return Scan { pass: pass + n, fault: Some(fault) };
                }
            }
        }
    }

    /// Whether the last request asks for another protocol: nothing more passes until
    /// [`Scanner::stays`] or [`Scanner::changes`].
    #[must_use]
    pub fn asked(&self) -> bool {
        matches!(self.state, State::Asked)
    }

    /// The protocol stays the same.
    pub fn stays(&mut self) {
        if self.asked() {
            self.state = State::Head(Head::default());
        }
    }

    /// The protocol changes: everything passes.
    pub fn changes(&mut self) {
        self.state = State::Other;
    }

    /// Whether a request has begun whose head is not whole yet.
    #[must_use]
    pub fn in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun())
    }

    /// One part of a message; 0 = nothing more can be said yet.
    fn step(&mut self, rest: &[u8]) -> Result<usize, (usize, Fault)> {
        match &mut self.state {
            State::Head(head) => {
                let Some(end) = head.read(rest, self.max_head).map_err(|fault| (0, fault))? else {
                    return Ok(0);
                };
                let framing = head.framing(rest).map_err(|fault| (0, fault))?;
                self.state = match framing {
                    Framing::Nothing => State::Head(Head::default()),
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunks::default()),
                    Framing::Asks => State::Asked,
                };
                Ok(end)
            }
            State::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= n as u64;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(n)
            }
            State::Chunked(chunks) => {
                let (n, ended) = chunks.read(rest)?;
                if ended {
                    self.state = State::Head(Head::default());
                }
                Ok(n)
            }
            State::Other => Ok(rest.len()),
            State::Asked | State::Refused => Ok(0),
        }
    }
}

/// The bytes of a token (RFC 9110 section 5.6.2).
static TOKEN: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut n = 0;
    while n < 256 {
        bytes[n] = matches!(n as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\''
            | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        n += 1;
    }
    bytes
};

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// What a field's value may have in it: text, space, tab, and bytes above ASCII.
fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

#[cfg(test)]
mod tests;
