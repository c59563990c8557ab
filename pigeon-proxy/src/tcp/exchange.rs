//! Bytes both ways, until both sides have closed or one thing goes wrong.
//!
//! Nobody is read from while what it sent before has not been taken, so each way holds one read at most, and
//! nothing at all where nothing moves.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{End, Gone};
use crate::reject::Rejection;

/// Read at once.
const CHUNK: usize = 16 << 10;
/// How long a client may be silent once its engine has closed: an engine that was killed closes, too, and the
/// slot of the next one is not to wait for clients that do not look.
const AFTER_THE_ENGINE: Duration = Duration::from_secs(10);

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Engine,
}

/// How long a connection may last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Without a byte either way.
    pub(super) idle: Option<Duration>,
    pub(super) until: Option<Instant>,
}

/// A connection while bytes move.
pub(super) struct Exchange {
    limits: Limits,
    from_client: Way,
    from_engine: Way,
    /// When the last byte moved.
    last: Instant,
}

/// One way.
struct Way {
    from: Side,
    /// What was read and has not been taken yet.
    left: Vec<u8>,
    at: usize,
    /// The reader's side has closed.
    ended: bool,
    /// It has, by TLS and without the last word that TLS asks for: nobody may take what came for everything.
    unsaid: bool,
    /// The writer's side has been told.
    told: bool,
}

/// The side that ended out of order.
struct Broke(Side, Gone);

impl Broke {
    fn by(side: Side, error: &io::Error) -> Self {
        tracing::debug!(?side, %error, "a raw connection broke");
        Self(side, Gone::Broken)
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

impl Exchange {
    pub(super) fn new(limits: Limits) -> Self {
        let (from_client, from_engine) = (Way::new(Side::Client), Way::new(Side::Engine));
        Self { limits, from_client, from_engine, last: Instant::now() }
    }

    /// Moves bytes to the end; `moved` is told of each, by the side that sent it.
    pub(super) async fn run<C, E>(
        mut self,
        client: &mut C,
        engine: &mut E,
        mut moved: impl FnMut(Side, usize),
    ) -> End
    where
        C: AsyncRead + AsyncWrite + Unpin,
        E: AsyncRead + AsyncWrite + Unpin,
    {
        let mut timer = pin!(sleep_until(self.last));
        let mut armed = false;
        poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx, client, engine, &mut moved) {
                return Poll::Ready(end);
            }
            self.poll_time(cx, timer.as_mut(), &mut armed)
        })
        .await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut impl Socket,
        engine: &mut impl Socket,
        moved: &mut impl FnMut(Side, usize),
    ) -> Poll<End> {
        let mut any = false;
        let mut note = |side, bytes| {
            any = true;
            moved(side, bytes);
        };
        let up = self.from_client.poll(cx, client, engine, &mut note);
        let down = self.from_engine.poll(cx, engine, client, &mut note);
        if any {
            self.last = Instant::now();
        }
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            // It has said all it had to say, and wants nothing more.
            (Poll::Ready(Err(Broke(Side::Engine, _))), _) if self.from_engine.told => {
                Poll::Ready(End::Closed)
            }
            (Poll::Ready(Err(Broke(side, how))), _) | (_, Poll::Ready(Err(Broke(side, how)))) => {
                Poll::Ready(match side {
                    Side::Client => End::ClientGone(how),
                    Side::Engine => End::EngineGone(how),
                })
            }
            _ => Poll::Pending,
        }
    }

    /// Ends what has lasted too long.
    fn poll_time(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        armed: &mut bool,
    ) -> Poll<End> {
        loop {
            let closing = self.from_engine.told.then_some(AFTER_THE_ENGINE);
            let idle = self.limits.idle.into_iter().chain(closing).min();
            let idle = idle.and_then(|idle| self.last.checked_add(idle));
            let Some(end) = idle.into_iter().chain(self.limits.until).min() else {
                return Poll::Pending;
            };
            // A timer that is too early is set anew when it fires: to do that with every byte would cost.
            if !*armed || end < timer.deadline() {
                timer.as_mut().reset(end);
                *armed = true;
            }
            ready!(timer.as_mut().poll(cx));
            *armed = false;
            if Instant::now() >= end {
                return Poll::Ready(match closing {
                    Some(_) if self.limits.until != Some(end) => End::Closed,
                    _ => Rejection::Deadline.into(),
                });
            }
        }
    }
}

impl Way {
    fn new(from: Side) -> Self {
        Self { from, left: Vec::new(), at: 0, ended: false, unsaid: false, told: false }
    }

    /// Moves what can be moved. Ready: the end has been passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Socket,
        to: &mut impl Socket,
        moved: &mut impl FnMut(Side, usize),
    ) -> Poll<Result<(), Broke>> {
        let (reads, writes) = match self.from {
            Side::Client => (Side::Client, Side::Engine),
            Side::Engine => (Side::Engine, Side::Client),
        };
        loop {
            if self.told {
                return Poll::Ready(Ok(()));
            }
            while self.at < self.left.len() {
                let written = Pin::new(&mut *to).poll_write(cx, &self.left[self.at..]);
                let n = ready!(written).map_err(|e| Broke::by(writes, &e))?;
                if n == 0 {
                    return Poll::Ready(Err(Broke(writes, Gone::Broken)));
                }
                self.at += n;
                moved(reads, n);
            }
            (self.left, self.at) = (Vec::new(), 0);
            if self.unsaid {
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|e| Broke::by(writes, &e))?;
                return Poll::Ready(Err(Broke(reads, Gone::Unsaid)));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|e| Broke::by(writes, &e))?;
                self.told = true;
                continue;
            }
            let mut storage = [MaybeUninit::uninit(); CHUNK];
            let mut buffer = ReadBuf::uninit(&mut storage);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                // What rustls says; a socket never does.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.unsaid = true;
                    continue;
                }
                Poll::Ready(read) => read.map_err(|e| Broke::by(reads, &e))?,
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|e| Broke::by(writes, &e))?;
                    return Poll::Pending;
                }
            }
            let bytes = buffer.filled();
            self.ended = bytes.is_empty();
            if self.ended {
                continue;
            }
            let n = match Pin::new(&mut *to).poll_write(cx, bytes) {
                Poll::Ready(written) => written.map_err(|e| Broke::by(writes, &e))?,
                Poll::Pending => 0,
            };
            moved(reads, n);
            if n < bytes.len() {
                self.left = bytes[n..].to_vec();
            }
        }
    }
}

#[cfg(test)]
mod tests;
