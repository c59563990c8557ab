//! Asks an engine which services it has, and of which messages they are made: gRPC server reflection, v1 and, for
//! engines that have no other, v1alpha, whose messages are the same (grpc/doc/server-reflection.md).
//!
//! What an engine says is bounded: it may be anybody's.

mod descriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tower::service_fn;

pub(crate) use self::descriptions::{Described, Descriptions};
use crate::engine;
use crate::http::dial;
use crate::tls::{self, Speaks};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of one answer, and of all files.
const MOST_BYTES: usize = 4 << 20;
/// Files that are asked for.
const MOST_FILES: usize = 1_024;
/// Services that are asked for.
const MOST_SERVICES: usize = 256;
const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Why an engine's services are not known.
#[derive(Debug)]
pub enum Fault {
    /// There is no connection to it.
    Unreachable(String),
    /// It refused.
    Call(Status),
    /// It took too long.
    Late,
    /// It says more than is listened to.
    TooMuch(&'static str),
    /// What it says makes no sense.
    Senseless(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the engine cannot be reached: {why}"),
            Self::Call(status) if status.code() == Code::Unimplemented => {
                f.write_str("the engine has no server reflection")
            }
            Self::Call(status) => write!(f, "server reflection failed: {status}"),
            Self::Late => write!(f, "server reflection took longer than {LIMIT:?}"),
            Self::TooMuch(what) => write!(f, "server reflection tells of too many {what}"),
            Self::Senseless(why) => write!(f, "server reflection makes no sense: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

/// Everything that an endpoint serves. Takes no slot: it is no call of a client.
pub(crate) async fn ask(endpoint: &engine::Endpoint) -> Result<DescriptorPool, Fault> {
    let asked = async {
        let dialled = dial(endpoint, LIMIT, Speaks::H2).await;
        let dialled = dialled.map_err(|error| Fault::Unreachable(error.to_string()))?;
        let scheme = if dialled.tls == 0 { "http" } else { "https" };
        let channel = channel(TokioIo::new(dialled.stream), scheme, endpoint.address().as_str());
        let channel = channel.await?;
        match files(channel.clone(), V1).await {
            Err(Fault::Call(status)) if status.code() == Code::Unimplemented => {
                files(channel, V1ALPHA).await
            }
            files => files,
        }
    };
    pool(&tokio::time::timeout(LIMIT, asked).await.map_err(|_| Fault::Late)??)
}

/// gRPC on a connection that is open already.
async fn channel(
    io: TokioIo<tls::Stream>,
    scheme: &str,
    authority: &str,
) -> Result<Channel, Fault> {
    let unreachable = |error: String| Fault::Unreachable(error);
    let origin: Uri = format!("{scheme}://{authority}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| unreachable(error.to_string()))?;
    // Whatever the scheme: TLS is done, and tonic has none of its own here.
    let endpoint = Endpoint::try_from(format!("http://{authority}"))
        .map_err(|error| unreachable(error.to_string()))?
        .origin(origin);
    let mut io = Some(io);
    let connector = service_fn(move |_: Uri| {
        let io = io.take().ok_or_else(|| std::io::Error::other("the connection has ended"));
        std::future::ready(io)
    });
    endpoint.connect_with_connector(connector).await.map_err(|error| unreachable(error.to_string()))
}

/// Descriptors as they came, by file name: decoding them here would lose the options that are extensions.
type Files = BTreeMap<String, Vec<u8>>;

async fn files(channel: Channel, path: &'static str) -> Result<Files, Fault> {
    let mut dialogue = Dialogue { channel, path, stream: None };
    let services = match dialogue.ask(Question::ListServices(String::new())).await? {
        Answer::ListServicesResponse(list) => list.service,
        other => return Err(unexpected(&other)),
    };
    if services.len() > MOST_SERVICES {
        return Err(Fault::TooMuch("services"));
    }
    let mut known = Known::default();
    for service in services {
        let name = service.name;
        let taken = dialogue.ask(Question::FileContainingSymbol(name.clone())).await;
        match taken.and_then(|answer| known.take(answer)) {
            // Engines list services that they have no descriptors of, like reflection itself.
            Err(Fault::Call(status)) if status.code() == Code::NotFound => {
                tracing::debug!(service = name, why = status.message(), "not described");
            }
            taken => taken?,
        }
    }
    while let Some(name) = known.missing.pop_first() {
        known.take(dialogue.ask(Question::FileByFilename(name.clone())).await?)?;
        if !known.files.contains_key(&name) {
            return Err(Fault::Senseless(format!("{name:?} was asked for, and others were told")));
        }
    }
    Ok(known.files)
}

/// The files so far, and those that they need.
#[derive(Default)]
struct Known {
    files: Files,
    missing: BTreeSet<String>,
    bytes: usize,
}

impl Known {
    fn take(&mut self, answer: Answer) -> Result<(), Fault> {
        let told = match answer {
            Answer::FileDescriptorResponse(told) => told,
            other => return Err(unexpected(&other)),
        };
        for bytes in told.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&*bytes)
                .map_err(|error| Fault::Senseless(error.to_string()))?;
            let name = file.name.unwrap_or_default();
            self.missing.remove(&name);
            if self.files.contains_key(&name) {
                continue;
            }
            self.bytes += bytes.len();
            self.files.insert(name, bytes);
            let needed = file.dependency.into_iter().filter(|name| !self.files.contains_key(name));
            self.missing.extend(needed);
            if self.bytes > MOST_BYTES {
                return Err(Fault::TooMuch("bytes"));
            }
            if self.files.len() + self.missing.len() > MOST_FILES {
                return Err(Fault::TooMuch("files"));
            }
        }
        Ok(())
    }
}

fn unexpected(answer: &Answer) -> Fault {
    match answer {
        Answer::ErrorResponse(error) => {
            Fault::Call(Status::new(Code::from_i32(error.error_code), &*error.error_message))
        }
        _ => Fault::Senseless("an answer to another question".to_owned()),
    }
}

/// Questions and answers, one at a time: on one stream, or on another after one that ended with an error, as it
/// does on some servers when they do not know what they are asked for.
struct Dialogue {
    channel: Channel,
    path: &'static str,
    stream: Option<Stream>,
}

struct Stream {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Dialogue {
    async fn ask(&mut self, asked: Question) -> Result<Answer, Fault> {
        let mut stream = match self.stream.take() {
            Some(stream) => {
                // If the stream has ended, its answer says why.
                let _ = stream.questions.send(question(asked)).await;
                stream
            }
            None => self.begin(asked).await?,
        };
        let answer = stream.answers.message().await?.and_then(|answer| answer.message_response);
        self.stream = Some(stream);
        answer.ok_or_else(|| Fault::Senseless("an answer is missing".to_owned()))
    }

    async fn begin(&self, first: Question) -> Result<Stream, Fault> {
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(MOST_BYTES);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let (questions, stream) = mpsc::channel(1);
        // Asked at once: some servers begin their answer only then.
        let _ = questions.try_send(question(first));
        let request = Request::new(ReceiverStream::new(stream));
        let codec: ProstCodec<ServerReflectionRequest, ServerReflectionResponse> =
            ProstCodec::default();
        let path = PathAndQuery::from_static(self.path);
        let answers = client.streaming(request, path, codec).await?.into_inner();
        Ok(Stream { questions, answers })
    }
}

fn question(asked: Question) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(asked) }
}

fn pool(files: &Files) -> Result<DescriptorPool, Fault> {
    // A FileDescriptorSet, whose only field has number 1.
    let mut set = BytesMut::new();
    for file in files.values() {
        set.put_u8(0x0a);
        prost::encoding::encode_varint(file.len() as u64, &mut set);
        set.put_slice(file);
    }
    DescriptorPool::decode(&*set.freeze()).map_err(|error| Fault::Senseless(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, needs: &[&str]) -> Vec<u8> {
        FileDescriptorProto {
            name: Some(name.to_owned()),
            dependency: needs.iter().map(|name| (*name).to_owned()).collect(),
            ..FileDescriptorProto::default()
        }
        .encode_to_vec()
    }

    fn told(files: &[Vec<u8>]) -> Answer {
        Answer::FileDescriptorResponse(tonic_reflection::pb::v1::FileDescriptorResponse {
            file_descriptor_proto: files.to_vec(),
        })
    }

    #[test]
    fn files_ask_for_those_that_they_need() {
        let mut known = Known::default();
        known.take(told(&[file("a", &["b", "c"]), file("b", &["a"])])).expect("taken");
        assert_eq!(known.missing, BTreeSet::from(["c".to_owned()]));
        known.take(told(&[file("c", &["b"])])).expect("taken");
        assert!(known.missing.is_empty(), "{:?}", known.missing);
    }

    #[test]
    fn what_an_engine_tells_is_bounded() {
        let names: Vec<String> = (0..=MOST_FILES).map(|n| n.to_string()).collect();
        let needs: Vec<&str> = names.iter().map(String::as_str).collect();
        let fault = Known::default().take(told(&[file("a", &needs)])).expect_err("too many");
        assert!(matches!(fault, Fault::TooMuch("files")), "{fault}");
        let long = file(&"a".repeat(MOST_BYTES), &[]);
        let fault = Known::default().take(told(&[long])).expect_err("too long");
        assert!(matches!(fault, Fault::TooMuch("bytes")), "{fault}");
        let fault = Known::default().take(told(&[vec![0xff]])).expect_err("no descriptor");
        assert!(matches!(fault, Fault::Senseless(_)), "{fault}");
    }
}
