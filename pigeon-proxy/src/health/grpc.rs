//! grpc.health.v1.Health/Check, asked on one connection (grpc/doc/health-checking.md).

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pigeon_proto::model::Address;
use prost::Message as _;
use tokio_util::task::AbortOnDropHandle;

use super::probe::{Listening, USER_AGENT};
use crate::engine::health::Answer;
use crate::record::GRPC_NAMES;
use crate::reject::GRPC_STATUS;

/// Longest answer; a real one has seven bytes.
const MOST: usize = 4 << 10;
/// The length-prefix of a gRPC message: flags and length.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks. An error says how the connection broke before there was an answer.
pub(super) async fn ask(
    io: Listening,
    to: (&str, &Address),
    service: &str,
    limit: Duration,
) -> Result<Answer, String> {
    let request = request(to, service, limit).map_err(|e| e.to_string())?;
    let response = async {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await?;
        Ok::<_, hyper::Error>((response, connection))
    };
    let (response, _connection) = response.await.map_err(|e| words(&e))?;
    Ok(read(response, service).await)
}

/// An error with what is behind it: hyper's own words say little.
fn words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn request(
    (scheme, address): (&str, &Address),
    service: &str,
    limit: Duration,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    // The name of a service, of some dozen bytes.
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    Request::post(format!("{scheme}://{}/grpc.health.v1.Health/Check", address.as_str()))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        // Eight digits at most.
        .header("grpc-timeout", format!("{}m", limit.as_millis().min(99_999_999)))
        .body(Full::new(body.freeze()))
}

async fn read(response: Response<Incoming>, service: &str) -> Answer {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let why = format!("asked for grpc.health.v1 it says HTTP {}", head.status.as_u16());
        return if head.status.is_client_error() {
            Answer::NoHealth(why)
        } else {
            Answer::Down(why)
        };
    }
    let collected = match Limited::new(body, MOST).collect().await {
        Ok(collected) => collected,
        Err(error) => {
            return Answer::Down(format!("the answer of grpc.health.v1 broke off: {error}"));
        }
    };
    let status = |headers: &HeaderMap| headers.get(GRPC_STATUS)?.to_str().ok()?.parse::<u8>().ok();
    let status = status(&head.headers).or_else(|| collected.trailers().and_then(status));
    match status {
        Some(0) => serving(&collected.to_bytes()),
        None => Answer::NoHealth("asked for grpc.health.v1 it does not answer in gRPC".into()),
        Some(status) => refused(status, service),
    }
}

/// What the answer says.
fn serving(body: &[u8]) -> Answer {
    let message = body.get(PREFIX..).filter(|_| body[0] == 0);
    let Some(Ok(answer)) = message.map(HealthCheckResponse::decode) else {
        return Answer::Down("the answer of grpc.health.v1 cannot be understood".into());
    };
    let word = match answer.status {
        1 => return Answer::Up,
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Answer::Down(format!("grpc.health.v1 says {word}"))
}

/// What it means that there is no answer. UNIMPLEMENTED, and for the server as a whole also NOT_FOUND and
/// that one is not allowed to ask, tell nothing about its health.
fn refused(status: u8, service: &str) -> Answer {
    let name = GRPC_NAMES.get(usize::from(status)).copied().unwrap_or("UNKNOWN");
    let why = format!("grpc.health.v1 answers {name}");
    match (name, service) {
        ("UNIMPLEMENTED", _) => Answer::NoHealth(why),
        ("NOT_FOUND" | "PERMISSION_DENIED" | "UNAUTHENTICATED", "") => Answer::NoHealth(why),
        ("NOT_FOUND", _) => {
            Answer::Down(format!("grpc.health.v1 does not know the service {service}"))
        }
        _ => Answer::Down(why),
    }
}
