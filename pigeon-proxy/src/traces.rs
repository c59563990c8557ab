//! Traces: which calls are part of one, and what is told of them. Spans go into a bounded queue and are exported
//! beside the calls; where nobody takes them they are dropped and counted.

#[cfg(feature = "otlp")]
mod otlp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel};

#[cfg(feature = "otlp")]
pub use self::otlp::export;
use crate::record::Context;

/// Spans that may wait to be exported.
const MOST_WAITING: usize = 4_096;

/// What decides about traces, and where spans go.
#[derive(Debug)]
pub struct Tracer {
    /// The part of the traces that begin here which is kept.
    sample: f64,
    spans: Sender<Span>,
    lost: Arc<AtomicU64>,
}

/// Spans on their way out.
pub struct Spans {
    #[cfg_attr(not(feature = "otlp"), allow(dead_code))]
    receiver: Receiver<Span>,
    #[cfg_attr(not(feature = "otlp"), allow(dead_code))]
    lost: Arc<AtomicU64>,
}

/// Without OTLP nobody takes spans; the command line does not let it come to this.
#[cfg(not(feature = "otlp"))]
#[allow(clippy::unused_async)]
pub async fn export(
    _to: http::Uri,
    _name: String,
    _spans: Spans,
    _stop: tokio_util::sync::CancellationToken,
) {
}

/// A call's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What its engine is told: the trace, and this call's span.
    pub context: Context,
    /// The caller's span; none = the trace begins here.
    pub parent: Option<u64>,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Attributes.
pub type Attributes = Vec<(&'static str, Value)>;

/// What is told of a call, once it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace, and this span.
    pub place: Place,
    /// The caller's `tracestate`.
    pub state: String,
    /// What it is called.
    pub name: String,
    /// When it began and ended, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// What is said of it.
    pub attributes: Attributes,
    /// What happened on its way.
    pub events: Vec<(u64, &'static str, Attributes)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Tracer {
    /// A tracer, and the other end of its queue.
    pub fn new(sample: f64) -> (Arc<Self>, Spans) {
        let (spans, receiver) = channel(MOST_WAITING);
        let lost = Arc::<AtomicU64>::default();
        let tracer = Self { sample, spans, lost: Arc::clone(&lost) };
        (Arc::new(tracer), Spans { receiver, lost })
    }

    /// The place of a call; none if it goes on as it came, because its caller does not keep the trace. A
    /// malformed `traceparent` counts as none. `trace` and `span` are random.
    pub fn place(&self, traceparent: Option<&[u8]>, trace: u128, span: u64) -> Option<Place> {
        let span = span.max(1);
        match traceparent.and_then(Context::parse) {
            Some(theirs) if !theirs.sampled => None,
            Some(theirs) => {
                let context = Context { span, ..theirs };
                Some(Place { context, parent: Some(theirs.span) })
            }
            None => {
                // 53 bits are what a float holds.
                let part = (trace as u64 >> 11) as f64 / (1_u64 << 53) as f64;
                let context = Context { trace: trace.max(1), span, sampled: part < self.sample };
                Some(Place { context, parent: None })
            }
        }
    }

    /// Tells of a call. Never waits.
    pub fn tell(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that were not exported.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

    #[test]
    fn a_trace_is_continued_or_begun() {
        let (tracer, _spans) = Tracer::new(0.5);
        let theirs = tracer.place(Some(format!("{THEIRS}1").as_bytes()), 7, 9).expect("kept");
        assert_eq!(theirs.parent, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(
            theirs.context.to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000009-01"
        );
        assert_eq!(tracer.place(Some(format!("{THEIRS}0").as_bytes()), 7, 9), None);
        for bad in [None, Some(&b"garbage"[..])] {
            let ours = tracer.place(bad, 7, 0).expect("begun");
            assert_eq!((ours.parent, ours.context.trace, ours.context.span), (None, 7, 1));
            assert!(ours.context.sampled);
            assert!(!tracer.place(bad, u128::from(u64::MAX), 1).expect("begun").context.sampled);
        }
    }

    #[test]
    fn a_queue_that_nobody_empties_costs_spans() {
        let (tracer, spans) = Tracer::new(1.0);
        let place = tracer.place(None, 1, 1).expect("begun");
        let span = Span {
            place,
            state: String::new(),
            name: String::new(),
            time: (0, 0),
            attributes: Vec::new(),
            events: Vec::new(),
            failure: None,
        };
        (0..MOST_WAITING + 3).for_each(|_| tracer.tell(span.clone()));
        assert_eq!(tracer.lost(), 3);
        drop(spans);
        tracer.tell(span);
        assert_eq!(tracer.lost(), 4);
    }
}
