//! The bodies of a gRPC-Web call: the request in base64, and the answer whose trailers are its last message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::Dialect;
use super::text::{Decoder, encode};
use crate::http::caller::{BrokenOff, CallerBody};
use crate::http::relay::{CallBody, CutOff};

/// Marks the message that holds the trailers (PROTOCOL-WEB.md, "Message framing").
const TRAILERS: u8 = 0x80;

/// A request in base64, decoded.
pub(super) struct Question {
    body: CallerBody,
    decoder: Decoder,
    ended: bool,
}

impl Question {
    pub(super) fn new(body: CallerBody) -> Self {
        Self { body, decoder: Decoder::default(), ended: false }
    }
}

impl Body for Question {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers of a request have no meaning here.
                    let Ok(data) = frame.into_data() else { continue };
                    let decoded = self.decoder.feed(&data).map_err(|_| BrokenOff::NotBase64);
                    match decoded {
                        Ok(bytes) if bytes.is_empty() => {}
                        decoded => {
                            return Poll::Ready(Some(decoded.map(|b| Frame::data(b.into()))));
                        }
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    if self.decoder.end().is_err() {
                        return Poll::Ready(Some(Err(BrokenOff::NotBase64)));
                    }
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream() && self.decoder.end().is_ok()
    }
}

/// An answer whose trailers are a message.
pub(super) struct Answer {
    body: CallBody,
    dialect: Dialect,
}

impl Answer {
    pub(super) fn new(body: CallBody, dialect: Dialect) -> Self {
        Self { body, dialect }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
                return Poll::Ready(None);
            };
            let bytes = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => message(&trailers).into(),
                    Err(_) => continue,
                },
            };
            if bytes.is_empty() {
                continue;
            }
            return Poll::Ready(Some(Ok(Frame::data(match self.dialect {
                Dialect::Binary => bytes,
                Dialect::Text => encode(&bytes).into(),
            }))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // An answer that ends with its head has its status there; anything else has trailers to come.
        if self.body.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// Trailers as a message: fields in lower case, one a line.
fn message(trailers: &HeaderMap) -> Vec<u8> {
    let mut message = vec![TRAILERS, 0, 0, 0, 0];
    for (name, value) in trailers {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(message.len() - 5).unwrap_or(u32::MAX);
    message[1..5].copy_from_slice(&length.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn trailers_are_lines_of_a_message() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("5"));
        trailers.insert("Grpc-Message", HeaderValue::from_static("no"));
        let text = b"grpc-status: 5\r\ngrpc-message: no\r\n";
        let wanted = [&[0x80, 0, 0, 0, text.len() as u8][..], text].concat();
        assert_eq!(message(&trailers), wanted);
        assert_eq!(message(&HeaderMap::new()), [0x80, 0, 0, 0, 0]);
    }
}
