//! Not a scenario: bidirectional streams that talk until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pigeon_e2e::{grpc, until};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

/// A number of open `Recognize` calls, each sending a chunk whenever its last one was answered.
pub struct Streams {
    talks: Vec<Arc<Talk>>,
    ends: Vec<JoinHandle<Result<(), Status>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Talk {
    answered: AtomicU64,
}

impl Streams {
    /// Opens `count` calls over the channels in turn and waits until each has its first answer.
    pub fn open(
        channels: &[Channel],
        count: usize,
        knobs: &[(&'static str, &'static str)],
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let talks: Vec<Arc<Talk>> = (0..count).map(|_| Arc::default()).collect();
        let ends = talks
            .iter()
            .zip(channels.iter().cycle())
            .map(|(talk, channel)| {
                let stop = Arc::clone(&stop);
                grpc::runtime().spawn(run(channel.clone(), knobs.to_vec(), Arc::clone(talk), stop))
            })
            .collect();
        let mut streams = Self { talks, ends, stop };
        streams.progress("every stream has an answer");
        streams
    }

    /// Waits until every stream has had one more answer from now on.
    pub fn progress(&mut self, what: &str) {
        let counts = || self.talks.iter().map(|talk| talk.answered.load(Ordering::Relaxed));
        let before: Vec<u64> = counts().collect();
        until(what, || {
            let ended = self.ends.iter().filter(|end| end.is_finished()).count();
            assert_eq!(ended, 0, "{what}: streams ended: {:?}", self.first_end());
            match counts().zip(&before).filter(|(now, before)| now <= before).count() {
                0 => Ok(()),
                rest => Err(format!("{rest} streams without a new answer")),
            }
        });
    }

    fn first_end(&self) -> String {
        let ended = self.ends.iter().position(JoinHandle::is_finished);
        format!("stream {ended:?} first; its status is told when all are ended")
    }

    /// Ends all from the caller's side; how each ended.
    pub fn finish(self) -> Vec<Result<(), Status>> {
        self.stop.store(true, Ordering::Relaxed);
        self.ended()
    }

    /// Waits for all to end by themselves; how each ended.
    pub fn ended(self) -> Vec<Result<(), Status>> {
        let ends = self.ends;
        grpc::block_on(async move {
            let mut results = Vec::new();
            for end in ends {
                let waited = tokio::time::timeout(std::time::Duration::from_secs(30), end).await;
                results.push(waited.expect("a stream ends").expect("no panic in a stream"));
            }
            results
        })
    }
}

async fn run(
    channel: Channel,
    knobs: Vec<(&'static str, &'static str)>,
    talk: Arc<Talk>,
    stop: Arc<AtomicBool>,
) -> Result<(), Status> {
    let (send, chunks) = grpc::upload();
    let mut client = grpc::speech(channel);
    send.send(grpc::audio()).await.map_err(|_| Status::internal("no upload"))?;
    let mut answers = client.recognize(grpc::with(chunks, &knobs)).await?.into_inner();
    let mut chunks = 1;
    while !stop.load(Ordering::Relaxed) {
        let Some(answer) = answers.message().await? else {
            return Err(Status::internal("the stream ended early, without an error"));
        };
        if answer.heard != 10 * chunks {
            return Err(Status::internal(format!("heard {} of {chunks} chunks", answer.heard)));
        }
        talk.answered.fetch_add(1, Ordering::Relaxed);
        // Refused if the call has ended meanwhile; how it ended is read next.
        let _ = send.send(grpc::audio()).await;
        chunks += 1;
    }
    drop(send);
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        last = Some(answer);
    }
    match last {
        Some(last) if last.r#final && last.heard == 10 * chunks => Ok(()),
        last => Err(Status::internal(format!("the last answer is {last:?}"))),
    }
}
