//! A connection that has changed its protocol (WebSocket and others): bytes both ways until both ends are done.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::relay::{Live, Shared};
use super::upstream::{Enlisted, Hold};
use crate::reject::Rejection;

/// What is read at once of one side, and waits for the other: a tunnel holds no more than this, twice.
const PART: usize = 4096;

/// A call that goes on as bytes.
pub(super) struct Tunnel {
    shared: Arc<Shared>,
    client: OnUpgrade,
    engine: OnUpgrade,
    deadline: Option<Instant>,
    /// Known to the endpoint's pool, which ends the call when it drains no longer.
    _enlisted: Option<Enlisted>,
}

/// The protocols that a caller offers to change to, without h2c: that one is never spoken with engines.
pub(super) fn offered(headers: &HeaderMap) -> Option<HeaderValue> {
    let offers = tokens(headers).filter(|token| !token.eq_ignore_ascii_case("h2c"));
    let offers: Vec<&str> = offers.collect();
    HeaderValue::from_str(&offers.join(", ")).ok().filter(|offers| !offers.is_empty())
}

/// The protocol that an engine has chosen, if it is one of those offered.
pub(super) fn chosen(headers: &HeaderMap, offered: &HeaderValue) -> Option<HeaderValue> {
    let mut chosen = tokens(headers);
    let (Some(one), None) = (chosen.next(), chosen.next()) else { return None };
    let offered = offered.to_str().ok()?;
    let known = offered.split(", ").any(|offer| offer.eq_ignore_ascii_case(one));
    known.then(|| HeaderValue::from_str(one).ok())?
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

impl Tunnel {
    pub(super) fn new(live: Live, client: OnUpgrade, engine: OnUpgrade) -> Self {
        let deadline = live.deadline;
        let pool = live.leg.hold().map(Hold::pool).cloned();
        let shared = Arc::new(Shared::new(live));
        let _enlisted = pool.map(|pool| Enlisted::new(pool, &shared));
        Self { shared, client, engine, deadline, _enlisted }
    }

    /// Carries bytes until both ends are done, the deadline is over, or the call is broken off.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let deadline = self.deadline;
        let over_time = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = poll_fn(|cx| shared.poll_over(cx)) => {}
            () = over_time => shared.break_off(&Rejection::Deadline),
            () = self.carry() => {}
        }
    }

    async fn carry(&mut self) {
        let (client, engine) = tokio::join!(&mut self.client, &mut self.engine);
        let (Ok(client), Ok(engine)) = (client, engine) else { return };
        let shared = &*self.shared;
        let mut client = End { io: TokioIo::new(client), note: |n| shared.came(n), ended: false };
        let mut engine = End { io: TokioIo::new(engine), note: |n| shared.went(n), ended: false };
        let carried = copy_bidirectional_with_sizes(&mut client, &mut engine, PART, PART).await;
        if let Err(error) = carried {
            tracing::debug!(%error, "a tunnel broke");
        }
        if engine.ended {
            self.shared.complete();
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

/// One end of a tunnel; what is read of it is counted.
struct End<F> {
    io: TokioIo<Upgraded>,
    note: F,
    /// It says no more, or is gone.
    ended: bool,
}

impl<F: FnMut(usize) + Unpin> AsyncRead for End<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        let new = buffer.filled().len() - before;
        self.ended |= new == 0;
        (self.note)(new);
        Poll::Ready(read)
    }
}

impl<F: Unpin> AsyncWrite for End<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (UPGRADE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn h2c_is_offered_to_no_engine() {
        let offers = |values: &[&'static str]| offered(&headers(values));
        assert_eq!(
            offers(&["websocket"]).as_ref().map(HeaderValue::as_bytes),
            Some(&b"websocket"[..])
        );
        assert_eq!(
            offers(&["a, H2C", "b"]).as_ref().map(HeaderValue::as_bytes),
            Some(&b"a, b"[..])
        );
        assert_eq!(offers(&["h2c"]), None);
        assert_eq!(offers(&[" , "]), None);
    }

    #[test]
    fn an_engine_chooses_of_what_was_offered() {
        let offered = HeaderValue::from_static("websocket, other");
        for (chosen_by, known) in [
            (&["WebSocket"][..], true),
            (&["other"], true),
            (&["third"], false),
            (&["websocket, other"], false),
            (&[], false),
        ] {
            assert_eq!(chosen(&headers(chosen_by), &offered).is_some(), known, "{chosen_by:?}");
        }
    }
}
