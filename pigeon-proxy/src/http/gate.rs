//! Between a client's socket and hyper: lets pass what [`crate::http1`] has understood, and nothing else.
//!
//! The head of a request passes whole, in time, or not at all. In place of one that is refused hyper gets a
//! request that no client can write ([`refusal`]), so that the refusal is answered in its turn, after the calls
//! before it; whatever follows is thrown away.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Version};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection::After;
use crate::http1::{Fault, Scan, Scanner, lists_upgrade};
use crate::reject::Rejection;

/// The method of the request that stands for a refused one. The scanner takes none that begins like it.
const REFUSED: &str = "!refused";
/// What no chunk, trailer or end of a body may go on with, wherever it is: hyper breaks the body off.
const POISON: &[u8] = b"\r!";
/// Read at once while a head is not whole.
const PART: usize = 4096;
/// What is kept of what a client sends before it knows whether the protocol changes.
const AHEAD: usize = 16 << 10;
/// After a refusal, so long is read what the client still writes: it may miss the answer if the connection is
/// reset under it.
const LINGER: Duration = Duration::from_secs(1);

/// A socket behind the gate.
pub(super) struct Gate<S> {
    socket: S,
    scanner: Scanner,
    /// What has been read and not passed: first `ready` bytes that may pass, then a head that is not whole.
    held: Vec<u8>,
    ready: usize,
    header_timeout: Duration,
    /// Until when the head must be whole, or the client be done.
    timer: Option<Pin<Box<Sleep>>>,
    refused: bool,
    closed: bool,
    answered: Arc<Answered>,
}

/// Tells the gate what became of a request that asked for another protocol.
#[derive(Default)]
pub(super) struct Answered {
    how: AtomicU8,
    gate: AtomicWaker,
    after: Mutex<Option<After>>,
}

const NOT_YET: u8 = 0;
const STAYS: u8 = 1;
const CHANGES: u8 = 2;

impl Answered {
    /// With `after`, what follows is of another protocol.
    pub(super) fn tell(&self, after: Option<After>) {
        let how = if after.is_some() { CHANGES } else { STAYS };
        *self.lock() = after;
        self.how.store(how, Ordering::Release);
        self.gate.wake();
    }

    /// What the connection goes on as once HTTP/1.1 is over.
    pub(super) fn after(&self) -> Option<After> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<After>> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request asks for another protocol, as the scanner sees it: nothing that comes after it has passed.
pub(super) fn asks<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(UPGRADE)
        && request.version() == Version::HTTP_11
        && headers.get_all(CONNECTION).iter().any(|value| lists_upgrade(value.as_bytes()))
        && request.body().is_end_stream()
}

/// What is refused, if `request` stands for that.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Rejection> {
    if request.method().as_str() != REFUSED {
        return None;
    }
    let number = request.uri().path().get(1..).and_then(|number| number.parse().ok());
    Some(match number.and_then(Fault::numbered) {
        Some(Fault::TooLong) => Rejection::TooLarge,
        fault => Rejection::BadRequest { why: fault.map_or("it is malformed", Fault::why) },
    })
}

impl<S> Gate<S> {
    pub(super) fn new(socket: S, max_head: usize, header_timeout: Duration) -> Self {
        Self {
            socket,
            scanner: Scanner::new(max_head),
            held: Vec::new(),
            ready: 0,
            header_timeout,
            timer: None,
            refused: false,
            closed: false,
            answered: Arc::default(),
        }
    }

    pub(super) fn answered(&self) -> Arc<Answered> {
        Arc::clone(&self.answered)
    }

    /// What was read and has not passed, and the socket.
    pub(super) fn into_parts(self) -> (Vec<u8>, S) {
        (self.held, self.socket)
    }

    /// Notes what was understood of `held`.
    fn understood(&mut self, Scan { pass, fault }: Scan) {
        self.ready = pass;
        if pass > 0 {
            // The next head has a time of its own.
            self.timer = None;
        }
        if let Some(fault) = fault {
            self.refuse(fault);
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.held.truncate(self.ready);
        match fault {
            Fault::Chunk | Fault::Trailers => self.held.extend_from_slice(POISON),
            _ => {
                let number = fault.number();
                let stand_in = format!("{REFUSED} /{number} HTTP/1.1\r\nconnection: close\r\n\r\n");
                self.held.extend_from_slice(stand_in.as_bytes());
            }
        }
        self.ready = self.held.len();
        self.refused = true;
        self.timer = None;
    }

    /// Looks whether the head that is not whole has its time yet.
    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        if !self.scanner.in_head() || self.refused {
            self.timer = None;
            return;
        }
        let timeout = self.header_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if timer.as_mut().poll(cx).is_ready() {
            self.refuse(Fault::TooSlow);
        }
    }

    /// Hands over what may pass.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let n = self.ready.min(buffer.remaining());
        buffer.put_slice(&self.held[..n]);
        self.ready -= n;
        if n == self.held.len() {
            // Most heads come in one piece: nothing is kept for those that did not.
            self.held = Vec::new();
        } else {
            self.held.drain(..n);
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads into the caller's own memory, and takes back what may not pass. True if something passed, or the
    /// client has closed.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        let new = &buffer.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let scan = self.scanner.scan(new);
        if scan.fault.is_none() && scan.pass == new.len() {
            return Poll::Ready(Ok(true));
        }
        self.held = new[scan.pass..].to_vec();
        buffer.set_filled(before + scan.pass);
        self.understood(Scan { pass: 0, ..scan });
        Poll::Ready(Ok(scan.pass > 0))
    }

    /// Reads more of what is held. True if the client has closed.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut part = [0; PART];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut part))?;
        if part.filled().is_empty() {
            return Poll::Ready(Ok(true));
        }
        if !self.refused {
            self.held.extend_from_slice(part.filled());
            let scan = self.scanner.scan(&self.held);
            self.understood(scan);
        }
        Poll::Ready(Ok(false))
    }

    /// Takes note of an answer that leaves the protocol as it is. False while there is none yet.
    fn may_go_on(&mut self, cx: &Context<'_>) -> bool {
        if !self.scanner.asked() {
            return true;
        }
        self.answered.gate.register(cx.waker());
        let scan = match self.answered.how.swap(NOT_YET, Ordering::AcqRel) {
            STAYS => {
                self.scanner.stays();
                self.scanner.scan(&self.held)
            }
            CHANGES => {
                self.scanner.changes();
                Scan { pass: self.held.len(), fault: None }
            }
            _ => return false,
        };
        self.understood(scan);
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        loop {
            if !gate.may_go_on(cx) && gate.held.len() - gate.ready >= AHEAD {
                return Poll::Pending;
            }
            if gate.ready > 0 {
                gate.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            let direct = gate.held.is_empty() && !gate.refused && !gate.scanner.asked();
            let read = match direct {
                true => gate.poll_direct(cx, buffer),
                false => gate.poll_more(cx),
            };
            match read {
                Poll::Ready(Ok(true)) => {
                    gate.timer = None;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    gate.poll_timer(cx);
                    if gate.ready == 0 {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.closed = true;
            self.timer = None;
        }
        if !self.refused {
            return Poll::Ready(Ok(()));
        }
        let gate = &mut *self;
        let until = Instant::now() + LINGER;
        let timer = gate.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while !ready!(gate.poll_more(cx))? {}
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
