//! The loop: reads what is ready, begins what is due, writes once per connection and turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::call::Shared;
use super::connection::Connection;
use super::plan::{Extent, Kind, Plan};
use super::report::{Handshakes, Report, Tally, Watched};
use crate::process;
use crate::wire::poll::Poll;
use crate::wire::socket::{Got, READ};
use crate::wire::tls::Session;

/// How long calls under way may take to end after the time is over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// So long nothing happens before memory is read: a process may give back what it needed a moment ago.
const IDLE: Duration = Duration::from_secs(3);
/// How long opening everything of an idle run may take.
const OPENING: Duration = Duration::from_secs(60);
/// How long the first TLS handshake may take: who speaks no TLS may wait for ever for more of it.
const GREETING: Duration = Duration::from_secs(10);
/// Connections that may be lost, per connection, before a run is given up.
const LOSSES: usize = 20;
/// Calls that may be due and not begun, before a run at a fixed rate says that it is behind.
const MOST_DUE: usize = 1_000_000;

/// Does what `plan` says.
///
/// # Errors
/// When the target cannot be reached, or loses connection after connection.
pub fn run(plan: &Plan) -> anyhow::Result<Report> {
    let shared = Shared::new(plan, Tally::new()?)?;
    let poll = Poll::new()?;
    let mut driver = Driver {
        poll,
        connections: Vec::new(),
        shared,
        due: Due::new(plan.rate),
        losses: 0,
        dirty: Vec::new(),
        greeting: plan.tls.as_ref().map(|_| Instant::now() + GREETING),
    };
    if plan.extent == Extent::Idle { driver.idle() } else { driver.busy() }
}

struct Driver<'p> {
    poll: Poll,
    connections: Vec<Connection>,
    shared: Shared<'p>,
    due: Due,
    losses: usize,
    dirty: Vec<usize>,
    /// Until when the first handshake has to be over, while none is.
    greeting: Option<Instant>,
}

/// Calls of a fixed rate that are due.
struct Due {
    every: Option<Duration>,
    next: Instant,
    waiting: VecDeque<Instant>,
    unsent: u64,
    turn: usize,
}

impl Due {
    fn new(rate: Option<f64>) -> Self {
        let every = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { every, next: Instant::now(), waiting: VecDeque::new(), unsent: 0, turn: 0 }
    }

    /// Those that have become due. Whoever is behind is not let off: the time they were due counts.
    fn advance(&mut self, now: Instant) {
        let Some(every) = self.every else { return };
        while self.next <= now {
            if self.waiting.len() < MOST_DUE {
                self.waiting.push_back(self.next);
            } else {
                self.unsent += 1;
            }
            self.next += every;
        }
    }
}

/// Where a run stands at the beginning of what is measured.
struct Mark {
    at: Instant,
    own: Duration,
    watched: Duration,
    resident: u64,
}

impl Mark {
    fn now(plan: &Plan) -> Self {
        Self {
            at: Instant::now(),
            own: process::cpu(std::process::id()),
            watched: plan.watch.map(process::cpu).unwrap_or_default(),
            resident: plan.watch.map(process::resident).unwrap_or_default(),
        }
    }
}

impl Driver<'_> {
    fn busy(&mut self) -> anyhow::Result<Report> {
        self.connect(self.shared.plan.connections)?;
        let start = Instant::now();
        let (warm, measured) = match self.shared.plan.extent {
            Extent::Time { warm, measured } => (warm, measured),
            _ => (Duration::ZERO, Duration::MAX),
        };
        self.due.next = start;
        self.turns(start + warm, |_| false)?;
        self.shared.tally.restart();
        let mark = Mark::now(self.shared.plan);
        // A count has no end in time, but a day is enough for any.
        let end = mark.at + measured.min(Duration::from_secs(86_400));
        self.turns(end, Self::all_calls_ended)?;
        let mut report = self.report(&mark);
        self.shared.stopping = true;
        self.due.unsent += self.due.waiting.drain(..).len() as u64;
        self.due.every = None;
        for (n, connection) in self.connections.iter_mut().enumerate() {
            connection.stop();
            self.dirty.push(n);
        }
        self.flush()?;
        self.turns(Instant::now() + LAST_ANSWERS, |driver| driver.running() == 0)?;
        for _ in 0..self.running() {
            self.shared.tally.fail("no_answer");
        }
        report.failures = self.shared.tally.failures.clone();
        report.unsent = self.due.unsent;
        Ok(report)
    }

    fn idle(&mut self) -> anyhow::Result<Report> {
        // What the first connection and call make a process load is not theirs.
        self.connect(1)?;
        let streams =
            if self.shared.plan.kind == Kind::Bidi { self.shared.plan.streams } else { 0 };
        let ready = |d: &mut Self| d.connections.iter_mut().all(|c| c.is_ready(streams));
        self.turns(Instant::now() + OPENING, ready)?;
        std::thread::sleep(IDLE);
        let mark = Mark::now(self.shared.plan);
        self.connect(self.shared.plan.connections)?;
        self.turns(Instant::now() + OPENING, ready)?;
        if !ready(self) {
            bail!("not everything could be opened within {OPENING:?}");
        }
        std::thread::sleep(IDLE);
        let mut report = self.report(&mark);
        report.failures = self.shared.tally.failures.clone();
        Ok(report)
    }

    fn connect(&mut self, count: usize) -> anyhow::Result<()> {
        for n in 0..count {
            let connection = Connection::open(&self.shared, self.connections.len())
                .with_context(|| format!("cannot connect to {}", self.shared.plan.target))?;
            self.add(connection, None)?;
            // Else a peer's backlog overflows.
            if n % 64 == 63 {
                self.flush()?;
                self.turns(Instant::now() + Duration::from_millis(2), |_| false)?;
            }
        }
        self.flush()
    }

    fn add(&mut self, mut connection: Connection, place: Option<usize>) -> anyhow::Result<()> {
        let n = place.unwrap_or(self.connections.len());
        self.poll.add(connection.socket().stream(), n as u64)?;
        match self.connections.get_mut(n) {
            Some(old) => *old = connection,
            None => self.connections.push(connection),
        }
        self.dirty.push(n);
        Ok(())
    }

    fn running(&self) -> usize {
        self.connections.iter().map(Connection::running).sum()
    }

    fn all_calls_ended(&mut self) -> bool {
        matches!(self.shared.plan.extent, Extent::Calls(most) if self.shared.begun >= most)
            && self.running() == 0
    }

    /// Goes on until `end`, or until `done`.
    fn turns(&mut self, end: Instant, done: impl Fn(&mut Self) -> bool) -> anyhow::Result<()> {
        let mut buffer = vec![0; READ];
        self.shared.now = Instant::now();
        loop {
            self.begin_due();
            self.flush()?;
            self.shared.now = Instant::now();
            if self.shared.now >= end || done(self) {
                return Ok(());
            }
            if self.greeting.is_some_and(|greeting| self.shared.now >= greeting) {
                let target = self.shared.plan.target;
                bail!("no TLS handshake with {target} within {GREETING:?}; does it speak TLS?");
            }
            let next = if self.due.every.is_some() { end.min(self.due.next) } else { end };
            let next = self.greeting.map_or(next, |greeting| next.min(greeting));
            let ready = self.poll.wait(Some(next.saturating_duration_since(self.shared.now)))?;
            for n in 0..ready {
                let ready = self.poll.ready(n);
                let n = ready.token as usize;
                if ready.writable {
                    self.connections[n].socket().writable();
                    self.dirty.push(n);
                }
                if ready.readable {
                    self.shared.now = Instant::now();
                    self.read(n, &mut buffer)?;
                }
            }
        }
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> anyhow::Result<()> {
        self.dirty.push(n);
        loop {
            let connection = &mut self.connections[n];
            let got = connection.socket().read(buffer);
            if let Some(resumed) = connection.socket().tls().and_then(Session::resumed) {
                self.shared.tally.greeted(resumed);
                self.greeting = None;
            }
            let (Got::More(count) | Got::Last(count)) = got else { return self.lost(n) };
            if count > 0 && connection.receive(&buffer[..count], &mut self.shared).is_err() {
                self.shared.tally.fail("malformed");
                return self.lost(n);
            }
            if connection.is_spent() {
                return self.replace(n);
            }
            if self.due.every.is_none() {
                self.fill(n);
            }
            if let Got::Last(_) = got {
                return Ok(());
            }
        }
    }

    /// Closed loop: a call in every free place.
    fn fill(&mut self, n: usize) {
        let connection = &mut self.connections[n];
        let idle = self.shared.plan.extent == Extent::Idle && self.shared.plan.kind != Kind::Bidi;
        let most = match self.shared.plan.extent {
            Extent::Calls(most) => most,
            _ => u64::MAX,
        };
        while !self.shared.stopping
            && !idle
            && self.shared.begun < most
            && connection.has_room(&self.shared)
        {
            // A call with a connection of its own takes as long as both.
            let due = match self.shared.plan.fresh {
                true => connection.socket().opened(),
                false => self.shared.now,
            };
            connection.begin(due, &mut self.shared);
        }
    }

    /// Open loop: what is due, on the connections in turn; and HTTP/1.1's first requests.
    fn begin_due(&mut self) {
        if self.due.every.is_none() {
            if self.shared.begun == 0 && self.shared.plan.kind == Kind::Http1 {
                (0..self.connections.len()).for_each(|n| self.fill(n));
            }
            return;
        }
        self.due.advance(self.shared.now);
        let count = self.connections.len();
        while let Some(due) = self.due.waiting.front().copied() {
            let turn = self.due.turn;
            let mut free = (0..count).map(|n| (turn + n) % count);
            let Some(n) = free.find(|n| self.connections[*n].has_room(&self.shared)) else {
                return;
            };
            self.due.waiting.pop_front();
            self.due.turn = n + 1;
            self.connections[n].begin(due, &mut self.shared);
            self.dirty.push(n);
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for n in dirty.drain(..) {
            if self.connections[n].socket().flush().is_err() {
                self.lost(n)?;
            }
        }
        self.dirty.append(&mut dirty);
        Ok(())
    }

    fn lost(&mut self, n: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[n];
        connection.lose(&mut self.shared);
        if let Some(fault) = connection.socket().tls().and_then(|tls| tls.fault()) {
            self.shared.tally.fail(fault);
        }
        self.losses += 1;
        if self.losses > LOSSES * self.shared.plan.connections {
            let target = self.shared.plan.target;
            bail!("{target} closed {} connections: {:?}", self.losses, self.shared.tally.failures);
        }
        self.replace(n)
    }

    fn replace(&mut self, n: usize) -> anyhow::Result<()> {
        self.connections[n].socket().leave();
        let connection = Connection::open(&self.shared, n)
            .with_context(|| format!("{} is gone", self.shared.plan.target))?;
        self.add(connection, Some(n))?;
        if self.shared.plan.kind == Kind::Http1 && self.due.every.is_none() {
            self.fill(n);
        }
        Ok(())
    }

    fn report(&self, mark: &Mark) -> Report {
        let plan = self.shared.plan;
        let now = Mark::now(plan);
        let tally = &self.shared.tally;
        let seconds = (now.at - mark.at).as_secs_f64();
        let units = if plan.kind.counts_messages() { tally.messages } else { tally.calls };
        let per_unit = |time: Duration| time.as_secs_f64() * 1e6 / units.max(1) as f64;
        let cpu = now.watched.saturating_sub(mark.watched);
        let watched = plan.watch.map(|_| Watched {
            cpu_seconds: cpu.as_secs_f64(),
            cpu_us: per_unit(cpu),
            resident_before: mark.resident,
            resident_after: now.resident,
        });
        Report {
            seconds,
            calls: tally.calls,
            messages: tally.messages,
            per_second: units as f64 / seconds,
            latency: tally.latency(),
            failures: Default::default(),
            unsent: 0,
            own_cpu_us: per_unit(now.own.saturating_sub(mark.own)),
            watched,
            handshakes: plan.tls.as_ref().map(|_| tally.handshakes),
            notes: self.notes(),
        }
    }

    /// What is not as it was meant to be.
    fn notes(&self) -> Vec<String> {
        let plan = self.shared.plan;
        let mut notes = Vec::new();
        let limit = self.connections.iter().map(Connection::limit).min().unwrap_or(usize::MAX);
        if limit < plan.streams {
            notes.push(format!(
                "the server allows {limit} streams per connection, not {}",
                plan.streams
            ));
        }
        let Handshakes { full, resumed } = self.shared.tally.handshakes;
        let resume = plan.tls.as_ref().is_some_and(|tls| tls.resume);
        if resume && plan.fresh && full * 10 > resumed {
            notes.push(format!("only {resumed} of {} sessions were resumed", full + resumed));
        }
        notes
    }
}
