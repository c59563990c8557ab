//! One call under way, and what its answer must be.

use std::collections::VecDeque;
use std::time::Instant;

use super::plan::{Kind, Plan};
use super::report::Tally;
use crate::wire::messages::{Messages, PREFIX, put_prefix};
use crate::wire::tls::{Clients, H2, HTTP1};
use crate::wire::waiting::Waiting;

/// Messages begin at one of so many places of the pattern, so that one taken for another shows.
const PLACES: u64 = 4096;

/// What the connections of a run share.
pub struct Shared<'p> {
    /// What to do.
    pub plan: &'p Plan,
    /// What was found.
    pub tally: Tally,
    /// No more messages and calls are begun.
    pub stopping: bool,
    /// The time of this turn.
    pub now: Instant,
    /// Calls begun.
    pub begun: u64,
    /// Who speak TLS.
    pub clients: Option<Clients>,
    pattern: Vec<u8>,
}

impl<'p> Shared<'p> {
    /// Before the first call.
    ///
    /// # Errors
    /// When what TLS needs is no good.
    pub fn new(plan: &'p Plan, tally: Tally) -> anyhow::Result<Self> {
        let protocol = if plan.kind == Kind::Http1 { HTTP1 } else { H2 };
        let clients = plan.tls.as_ref().map(|tls| {
            let many = tls.resume.then_some(plan.connections);
            Clients::new(&tls.ca, &tls.name, protocol, many)
        });
        let clients = clients.transpose()?;
        let mut random = fastrand::Rng::with_seed(1);
        let pattern = (0..plan.size + PLACES as usize).map(|_| random.u8(..)).collect();
        let now = Instant::now();
        Ok(Self { plan, tally, stopping: false, now, begun: 0, clients, pattern })
    }

    /// The content of the n-th message of a call.
    pub fn message(&self, call: u64, n: u64) -> &[u8] {
        let at = ((call * 31 + n) % PLACES) as usize;
        &self.pattern[at..at + self.plan.size]
    }

    /// Whether `bytes` are what comes at `at` in the body of the answer to a plain request: the body of the
    /// request, or the engine's fixed one if that was empty.
    pub fn is_body(&self, call: u64, at: usize, bytes: &[u8]) -> bool {
        match self.plan.size {
            0 => (at..).zip(bytes).all(|(n, byte)| *byte == b'a' + (n % 26) as u8),
            _ => self.message(call, 0).get(at..at + bytes.len()) == Some(bytes),
        }
    }
}

/// A call of HTTP/2.
pub struct Call {
    /// Counted over the run.
    pub number: u64,
    /// When it was to begin.
    pub due: Instant,
    /// What may be sent.
    pub window: i64,
    /// Received since the stream's window was filled up.
    pub taken: u32,
    /// Messages sent and received.
    pub sent: u64,
    pub received: u64,
    /// When the messages were sent whose answers are to come.
    pub sent_at: VecDeque<Instant>,
    /// What the windows had no room for.
    pub waiting: Waiting,
    /// Nothing comes after what is sent or waits.
    pub ended: bool,
    /// The head of the answer came.
    pub headed: bool,
    /// What is wrong with it.
    pub fault: Option<String>,
    messages: Messages,
    /// Bytes of a plain body that came.
    plain: usize,
}

impl Call {
    /// A call that begins.
    pub fn new(number: u64, due: Instant, window: i64) -> Self {
        Self {
            number,
            due,
            window,
            taken: 0,
            sent: 0,
            received: 0,
            sent_at: VecDeque::new(),
            waiting: Waiting::default(),
            ended: false,
            headed: false,
            fault: None,
            messages: Messages::default(),
            plain: 0,
        }
    }

    /// Notes the first thing that is wrong.
    pub fn wrong(&mut self, what: &str) {
        self.fault.get_or_insert_with(|| what.to_owned());
    }

    /// Writes the next message.
    pub fn put_next(&mut self, shared: &Shared<'_>, out: &mut Vec<u8>) {
        if shared.plan.kind != Kind::H2 {
            put_prefix(out, shared.plan.size);
        }
        out.extend_from_slice(shared.message(self.number, self.sent));
        self.sent += 1;
        if shared.plan.kind == Kind::Bidi {
            self.sent_at.push_back(shared.now);
        }
    }

    /// Checks what came of the answer's body.
    pub fn take(&mut self, bytes: &[u8], shared: &mut Shared<'_>) {
        if shared.plan.kind == Kind::H2 {
            if !shared.is_body(self.number, self.plain, bytes) {
                self.wrong("wrong_bytes");
            }
            self.plain += bytes.len();
            return;
        }
        let mut messages = std::mem::take(&mut self.messages);
        if !messages.feed(bytes, |message| self.one(&message[PREFIX..], shared)) {
            self.wrong("not_a_message");
        }
        self.messages = messages;
    }

    fn one(&mut self, message: &[u8], shared: &mut Shared<'_>) {
        let plan = shared.plan;
        let right = match plan.kind {
            Kind::Bidi => message == shared.message(self.number, self.received),
            Kind::Client => {
                let sum = self.sent * plan.size as u64;
                message == [self.sent.to_be_bytes(), sum.to_be_bytes()].concat()
            }
            _ => message == shared.message(self.number, 0),
        };
        if !right {
            self.wrong("wrong_bytes");
        }
        self.received += 1;
        match plan.kind {
            Kind::Bidi => {
                shared.tally.messages += 1;
                if let Some(at) = self.sent_at.pop_front() {
                    shared.tally.took(shared.now.saturating_duration_since(at));
                }
            }
            Kind::Server => shared.tally.messages += 1,
            _ => {}
        }
    }

    /// The answer has ended. What was wrong with the call, if anything.
    pub fn verdict(mut self, plan: &Plan) -> Option<String> {
        let wanted = match plan.kind {
            Kind::Unary | Kind::Client => 1,
            Kind::Server => plan.messages,
            Kind::Bidi => self.sent,
            Kind::H2 => {
                if plan.size > 0 && self.plain != plan.size {
                    self.wrong("wrong_length");
                }
                0
            }
            Kind::Http1 => 0,
        };
        if self.received != wanted || self.messages.is_cut() {
            self.wrong("missing_messages");
        }
        self.fault
    }
}
