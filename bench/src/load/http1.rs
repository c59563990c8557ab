//! The client's side of HTTP/1.1 with keep-alive: one request after another.

use std::time::Instant;

use super::call::Shared;
use crate::wire::link::Broken;
use crate::wire::socket::Socket;

/// Longest head taken.
const LONGEST_HEAD: usize = 64 * 1024;

/// A connection.
pub struct Http1 {
    pub(super) socket: Socket,
    head: String,
    input: Vec<u8>,
    /// The request under way: its number, and when it was to begin.
    running: Option<(u64, Instant)>,
    /// No other comes after this answer.
    closing: bool,
}

impl Http1 {
    /// Takes over a connection.
    pub fn new(socket: Socket, shared: &Shared<'_>) -> Self {
        let size = shared.plan.size;
        let method = if size == 0 { "GET" } else { "POST" };
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\n",
            shared.plan.kind.path(),
            shared.plan.target
        );
        let more = shared.plan.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in
            [("user-agent", "pigeon-bench"), ("accept", "*/*")].into_iter().chain(more)
        {
            head += &format!("{name}: {value}\r\n");
        }
        if size > 0 {
            head += &format!("content-length: {size}\r\n");
        }
        head += "\r\n";
        Self { socket, head, input: Vec::new(), running: None, closing: false }
    }

    /// Calls under way.
    pub fn running(&self) -> usize {
        usize::from(self.running.is_some())
    }

    /// Whether it is of no more use.
    pub fn is_spent(&self) -> bool {
        self.closing && self.running.is_none()
    }

    /// Begins a call that was to begin when it was `due`.
    pub fn begin(&mut self, due: Instant, shared: &mut Shared<'_>) {
        self.running = Some((shared.begun, due));
        self.closing |= shared.plan.fresh;
        self.socket.out.extend_from_slice(self.head.as_bytes());
        self.socket.out.extend_from_slice(shared.message(shared.begun, 0));
        shared.begun += 1;
    }

    /// Takes what came.
    pub fn receive(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> Result<(), Broken> {
        self.input.extend_from_slice(bytes);
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.input.len() > LONGEST_HEAD { Err(Broken) } else { Ok(()) };
        };
        let head = std::str::from_utf8(&self.input[..end]).map_err(|_| Broken)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or(Broken)?;
        let mut length = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                self.closing |= value.trim().eq_ignore_ascii_case("close");
            }
        }
        // Chunks are not expected: the engine says how long its answers are.
        let length = length.ok_or(Broken)?;
        let Some(body) = self.input.get(end + 4..end + 4 + length) else { return Ok(()) };
        let (number, due) = self.running.take().ok_or(Broken)?;
        let right = shared.is_body(number, 0, body)
            && (shared.plan.size == 0 || shared.plan.size == body.len());
        if status != "200" {
            shared.tally.fail(&format!("http_{status}"));
        } else if !right {
            shared.tally.fail("wrong_bytes");
        } else {
            shared.tally.calls += 1;
            shared.tally.took(shared.now.saturating_duration_since(due));
        }
        self.input.drain(..end + 4 + length);
        Ok(())
    }

    /// The connection is lost, and its call with it.
    pub fn lose(&mut self, shared: &mut Shared<'_>) {
        if self.running.take().is_some() {
            shared.tally.fail("connection_lost");
        }
    }
}
