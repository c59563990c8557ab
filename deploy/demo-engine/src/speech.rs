//! `pigeon.demo.v1.Speech`: hears audio and counts it.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use pigeon_proto::demo::v1::speech_server::Speech;
use pigeon_proto::demo::v1::{Audio, Transcript};
use tonic::{Request, Response, Status, Streaming};

use crate::script::{Answers, Director};

/// The service.
pub(crate) struct SpeechService {
    pub(crate) director: Director,
}

#[tonic::async_trait]
impl Speech for SpeechService {
    type RecognizeStream = Answers<Transcript>;

    async fn recognize(
        &self,
        request: Request<Streaming<Audio>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let script = self.director.script(request.metadata())?;
        script.begin().await?;
        let transcripts = transcripts(request.into_inner());
        Ok(Response::new(script.play(Duration::ZERO, transcripts)))
    }

    async fn transcribe(
        &self,
        request: Request<Streaming<Audio>>,
    ) -> Result<Response<Transcript>, Status> {
        let script = self.director.script(request.metadata())?;
        script.begin().await?;
        let mut audio = request.into_inner();
        let mut heard = Heard::default();
        loop {
            // There is one answer only, so `demo-fail-after` counts the chunks heard.
            script.proceed(heard.chunks).await?;
            let Some(chunk) = audio.message().await? else { break };
            heard.add(&chunk);
        }
        script.delay().await;
        Ok(Response::new(heard.transcript(true)))
    }
}

/// One partial per chunk, then a final when the client is done.
fn transcripts(
    audio: Streaming<Audio>,
) -> impl Stream<Item = Result<Transcript, Status>> + Send + 'static {
    stream::try_unfold(Some((audio, Heard::default())), |listening| async move {
        let Some((mut audio, mut heard)) = listening else { return Ok(None) };
        Ok(match audio.message().await? {
            Some(chunk) => {
                heard.add(&chunk);
                Some((heard.transcript(false), Some((audio, heard))))
            }
            None => Some((heard.transcript(true), None)),
        })
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    chunks: u64,
    bytes: u64,
}

impl Heard {
    fn add(&mut self, chunk: &Audio) {
        self.chunks += 1;
        self.bytes += chunk.data.len() as u64;
    }

    fn transcript(self, last: bool) -> Transcript {
        let text = format!("heard {} bytes in {} chunks", self.bytes, self.chunks);
        Transcript { text, r#final: last, heard: self.bytes }
    }
}
