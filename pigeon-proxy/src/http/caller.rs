//! The body of a caller's request, as whichever transport took the call hands it over.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A caller's body.
pub(crate) enum CallerBody {
    /// Of a call that hyper's server took.
    Hyper(Incoming),
    /// Of a call that another transport took, for an engine that only this one can reach.
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = BrokenOff> + Send>>),
}

/// Why there is no more of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokenOff {
    /// The caller broke it off.
    Gone,
    /// It is to be base64 (gRPC-Web), and is not.
    NotBase64,
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the caller broke its request off",
            Self::NotBase64 => "the request is not base64",
        })
    }
}

impl Error for BrokenOff {}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(|error| {
                tracing::debug!(%error, "a caller broke its request off");
                BrokenOff::Gone
            }),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
