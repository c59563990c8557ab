//! A connection as a call uses it: once to send, then to hold until the call has ended.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::h1::H1Link;
use super::h2::Seat;
use super::pool::Pool;
use crate::http::upload::RequestBody;

/// A connection with room for one call.
pub(in crate::http) enum Link {
    /// All of a connection.
    H1(H1Link),
    /// A stream of one.
    H2(Seat),
}

/// What a call holds of its connection until it has ended.
pub(in crate::http) enum Hold {
    /// The connection is used again if the call ended well.
    H1(H1Link),
    /// Makes room when dropped.
    H2(Seat),
}

/// How sending went.
pub(in crate::http) enum Attempt {
    /// The head of the answer is there.
    Answered(Response<Incoming>),
    /// The connection was gone before anything was sent.
    NotSent,
    /// It failed.
    Failed(hyper::Error),
}

impl Link {
    /// Whether the connection was idle before, and may have been closed by the engine meanwhile.
    pub(in crate::http) fn reused(&self) -> bool {
        match self {
            Self::H1(link) => link.reused,
            Self::H2(_) => false,
        }
    }

    /// Waits until the calls of the endpoint are to end.
    pub(in crate::http) fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let pool = match self {
            Self::H1(link) => &link.pool,
            Self::H2(seat) => &seat.pool,
        };
        Arc::clone(&pool.cut).notified_owned()
    }

    /// No other call is to be sent on this connection.
    pub(in crate::http) fn give_up(&self) {
        match self {
            // It is not put back, and no other call has it.
            Self::H1(_) => {}
            Self::H2(seat) => seat.retire(),
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(in crate::http) async fn send(&mut self, request: Request<RequestBody>) -> Attempt {
        let sent: Result<_, TrySendError<_>> = match self {
            Self::H1(link) => link.sender.try_send_request(request).await,
            Self::H2(seat) => seat.sender().try_send_request(request).await,
        };
        match sent {
            Ok(response) => Attempt::Answered(response),
            Err(mut error) => match error.take_message() {
                Some(_) => Attempt::NotSent,
                None => Attempt::Failed(error.into_error()),
            },
        }
    }

    /// What is left to hold once the head of the answer is there.
    pub(in crate::http) fn hold(self) -> Hold {
        match self {
            Self::H1(link) => Hold::H1(link),
            Self::H2(seat) => Hold::H2(seat),
        }
    }
}

impl Hold {
    /// The call has ended well: the connection may serve another.
    pub(in crate::http) fn done(self) {
        match self {
            Self::H1(link) => link.put_back(),
            Self::H2(seat) => drop(seat),
        }
    }

    /// The pool of the endpoint.
    pub(in crate::http) fn pool(&self) -> &Arc<Pool> {
        match self {
            Self::H1(link) => &link.pool,
            Self::H2(seat) => &seat.pool,
        }
    }
}
