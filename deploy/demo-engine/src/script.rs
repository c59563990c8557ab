//! How a call is to be answered: the fault knobs of its metadata, and playing an answer by them.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DELAY: &str = "demo-delay-ms";
const GAP: &str = "demo-gap-ms";
const FAIL: &str = "demo-fail";
const FAIL_AFTER: &str = "demo-fail-after";

/// The messages of a streamed answer.
pub(crate) type Answers<M> = BoxStream<'static, Result<M, Status>>;

/// What an engine adds to every script.
#[derive(Clone, Debug)]
pub(crate) struct Director {
    pub(crate) engine: String,
    pub(crate) delay: Duration,
}

impl Director {
    /// Reads the knobs.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the key and the value of a malformed knob.
    pub(crate) fn script(&self, metadata: &MetadataMap) -> Result<Script, Status> {
        let delay: Option<u32> = knob(metadata, DELAY)?;
        let gap: Option<u32> = knob(metadata, GAP)?;
        Ok(Script {
            delay: self.delay.saturating_add(millis(delay.unwrap_or(0))),
            gap: gap.map(millis),
            fault: self.fault(metadata)?,
        })
    }

    fn fault(&self, metadata: &MetadataMap) -> Result<Option<Fault>, Status> {
        let after: Option<u64> = knob(metadata, FAIL_AFTER)?;
        let Some(Failure(code)) = knob(metadata, FAIL)? else {
            return match after {
                Some(after) => Err(malformed(FAIL_AFTER, after, "without demo-fail")),
                None => Ok(None),
            };
        };
        let whose = HashMap::from([("engine".to_owned(), self.engine.clone())]);
        let details = ErrorDetails::with_error_info("DEMO_FAULT", "pigeon.demo", whose);
        let status = Status::with_error_details(code, "demo failure", details);
        Ok(Some(Fault { status, after }))
    }
}

/// How one call is to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    delay: Duration,
    gap: Option<Duration>,
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
struct Fault {
    status: Status,
    /// Messages that go by first; none: not even the answer's headers go out.
    after: Option<u64>,
}

impl Script {
    /// Fails, after the delay, a call whose fault has no `demo-fail-after`; otherwise returns at once.
    pub(crate) async fn begin(&self) -> Result<(), Status> {
        match &self.fault {
            Some(Fault { status, after: None }) => {
                pause(self.delay).await;
                Err(status.clone())
            }
            _ => Ok(()),
        }
    }

    /// Fails a call whose fault is due once `messages` have gone by; the delay is waited here if none has.
    pub(crate) async fn proceed(&self, messages: u64) -> Result<(), Status> {
        match &self.fault {
            Some(Fault { status, after: Some(after) }) if *after == messages => {
                if messages == 0 {
                    pause(self.delay).await;
                }
                Err(status.clone())
            }
            _ => Ok(()),
        }
    }

    /// Waits the delay before the only message of an answer.
    pub(crate) async fn delay(&self) {
        pause(self.delay).await;
    }

    /// Plays a streamed answer: each message waits its time from when it is there, and the fault comes
    /// when it is due. Nothing runs in the background: dropping the stream ends it.
    pub(crate) fn play<M: Send + 'static>(
        self,
        default_gap: Duration,
        messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
    ) -> Answers<M> {
        let gap = self.gap.unwrap_or(default_gap);
        let start = (self, messages.boxed(), 0_u64);
        Box::pin(stream::try_unfold(start, move |(script, mut messages, sent)| async move {
            script.proceed(sent).await?;
            let Some(message) = messages.try_next().await? else { return Ok(None) };
            pause(if sent == 0 { script.delay } else { gap }).await;
            Ok(Some((message, (script, messages, sent + 1))))
        }))
    }
}

/// A status code that is a failure: 1 to 16, so neither `OK` nor one that gRPC does not know.
struct Failure(Code);

impl FromStr for Failure {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.parse() {
            Ok(number @ 1..=16) => Ok(Self(Code::from_i32(number))),
            _ => Err(()),
        }
    }
}

fn knob<T: FromStr>(metadata: &MetadataMap, key: &'static str) -> Result<Option<T>, Status> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    match value.to_str().map(str::parse) {
        Ok(Ok(parsed)) => Ok(Some(parsed)),
        _ => {
            let value = String::from_utf8_lossy(value.as_encoded_bytes());
            Err(malformed(key, value, "is malformed"))
        }
    }
}

fn malformed(key: &str, value: impl fmt::Display, why: &str) -> Status {
    Status::invalid_argument(format!("{key}: {value} {why}"))
}

fn millis(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

/// Does not touch the timer, which is exact to a millisecond only, when there is nothing to wait for.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
