//! What an attempt gets of a body, whatever attempts before it have read.

use std::collections::VecDeque;
use std::task::Waker;

use proptest::prelude::*;

use super::*;
use crate::http::caller::BrokenOff;

/// Parts as they come from a caller.
struct Parts(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn source(parts: &[Vec<u8>], trailers: bool, buffer: usize) -> Source {
    let mut frames: VecDeque<_> =
        parts.iter().map(|part| Frame::data(Bytes::copy_from_slice(part))).collect();
    if trailers {
        frames.push_back(Frame::trailers(HeaderMap::from_iter([(
            http::header::ETAG,
            http::HeaderValue::from_static("x"),
        )])));
    }
    Source::new(CallerBody::Boxed(Box::pin(Parts(frames))), buffer, Limits::default())
}

/// Polls up to `times`; the bytes, whether trailers came, and whether it ended.
fn read(source: &mut Source, round: u32, times: usize) -> (Vec<u8>, bool, bool) {
    let (mut bytes, mut trailers) = (Vec::new(), false);
    for _ in 0..times {
        match source.poll(round, &mut Context::from_waker(Waker::noop()), |_, _| ()) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(_) => trailers = true,
            },
            Poll::Ready(None) => return (bytes, trailers, true),
            other => panic!("{other:?}"),
        }
    }
    (bytes, trailers, false)
}

proptest! {
    /// Attempts read a little and fail; the last one gets everything, or it is known that it cannot.
    #[test]
    fn the_last_attempt_gets_all_of_it(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8),
        trailers in any::<bool>(),
        buffer in 0..200_usize,
        reads in prop::collection::vec(0..6_usize, 0..4),
        settled_after in prop::option::of(0..5_usize),
    ) {
        let mut source = source(&parts, trailers, buffer);
        let whole = parts.concat();
        for times in reads {
            let round = source.rewind();
            let (bytes, ..) = read(&mut source, round, times);
            prop_assert!(whole.starts_with(&bytes));
            prop_assert!(!source.repeatable() || source.kept.len() <= buffer);
            if !source.repeatable() {
                prop_assert!(source.kept.is_empty(), "what is not sent again is not held");
                return Ok(());
            }
        }
        let round = source.rewind();
        let mut bytes = Vec::new();
        if let Some(times) = settled_after {
            bytes = read(&mut source, round, times).0;
            source.settle();
        }
        let (rest, seen, ended) = read(&mut source, round, 100);
        bytes.extend(rest);
        prop_assert!(ended);
        prop_assert_eq!(bytes, whole);
        prop_assert!(seen || !trailers || settled_after.is_some());
        prop_assert!(source.is_over());
    }
}

#[test]
fn an_attempt_that_was_given_up_gets_nothing_more() {
    let mut source = source(&[b"abc".to_vec()], false, 10);
    let old = source.rewind();
    source.rewind();
    let polled = source.poll(old, &mut Context::from_waker(Waker::noop()), |_, _| ());
    assert!(matches!(polled, Poll::Ready(Some(Err(())))));
}

#[test]
fn the_hint_covers_what_is_kept() {
    let mut source = source(&[b"abc".to_vec(), b"de".to_vec()], false, 10);
    let round = source.rewind();
    read(&mut source, round, 2);
    assert_eq!(source.size_hint().lower(), 0);
    source.rewind();
    assert_eq!(source.size_hint().lower(), 5);
    assert!(!source.is_over());
}

#[test]
fn a_long_message_is_a_fault() {
    let mut source = source(&[vec![0, 0, 0, 0, 2, 1, 1], vec![0, 0, 0, 0, 9]], false, 100);
    source.limits.grpc = true;
    source.limits.message = Some(8);
    let round = source.rewind();
    assert_eq!(read(&mut source, round, 1).0.len(), 7);
    let polled = source.poll(round, &mut Context::from_waker(Waker::noop()), |_, _| ());
    assert!(matches!(polled, Poll::Ready(Some(Err(())))));
    assert_eq!(source.fault(), Some(Fault::TooLong { limit: 8 }));
    assert!(!source.repeatable());
}
