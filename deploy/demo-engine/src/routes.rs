//! What answers where: the demo services, health, reflection and two plain HTTP paths, on one port.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pigeon_proto::demo::v1::chat_server::{self, ChatServer};
use pigeon_proto::demo::v1::echo_server::{self, EchoServer};
use pigeon_proto::demo::v1::speech_server::{self, SpeechServer};
use tonic::Status;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::chat::ChatService;
use crate::echo::EchoService;
use crate::head::{Desk, attend};
use crate::script::Director;
use crate::speech::SpeechService;

/// Large enough for the tests of large messages; tonic's own limit is 4 MiB.
const MAX_MESSAGE: usize = 64 << 20;

/// The demo services, as health and reflection name them.
const SERVICES: [&str; 3] =
    [speech_server::SERVICE_NAME, chat_server::SERVICE_NAME, echo_server::SERVICE_NAME];

/// All that the engine serves.
///
/// # Errors
/// Those of [`reflection`].
pub(crate) fn all(director: Director, desk: Desk, health: &HealthReporter) -> io::Result<Router> {
    let health = HealthService::from_health_reporter(health.clone());
    let health = tonic_health::pb::health_server::HealthServer::new(health);
    let http = http(&director.engine);
    let rest = Routes::from(reflection(http)?).add_service(health).into_axum_router();
    Ok(rest.merge(demo(director, desk)))
}

/// The demo services; every call of theirs passes [`attend`].
fn demo(director: Director, desk: Desk) -> Router {
    let stats = desk.stats().clone();
    let speech = SpeechService { director: director.clone() };
    let chat = ChatService { director: director.clone() };
    let echo = EchoService { director, stats };
    Routes::from(Router::new())
        .add_service(SpeechServer::new(speech).max_decoding_message_size(MAX_MESSAGE))
        .add_service(ChatServer::new(chat).max_decoding_message_size(MAX_MESSAGE))
        .add_service(EchoServer::new(echo).max_decoding_message_size(MAX_MESSAGE))
        .into_axum_router()
        .layer(from_fn_with_state(Arc::new(desk), attend))
}

/// Adds both versions of gRPC reflection: older clients know only v1alpha.
///
/// # Errors
/// Descriptors that do not decode, which is a fault of the build.
fn reflection(router: Router) -> io::Result<Router> {
    let describe = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pigeon_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
            .with_service_name("grpc.reflection.v1alpha.ServerReflection");
        SERVICES.into_iter().fold(builder, |builder, name| builder.with_service_name(name))
    };
    let v1 = describe().build_v1().map_err(io::Error::other)?;
    let v1alpha = describe().build_v1alpha().map_err(io::Error::other)?;
    Ok(Routes::from(router).add_service(v1).add_service(v1alpha).into_axum_router())
}

/// Reports all services as serving.
pub(crate) async fn open(health: &HealthReporter) {
    for service in SERVICES {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
}

/// Reports all services as not serving, then forgets them, which ends the watches on them: these would
/// hold up a graceful stop.
pub(crate) async fn close(health: &mut HealthReporter) {
    for service in SERVICES.into_iter().chain([""]) {
        health.set_service_status(service, ServingStatus::NotServing).await;
        health.clear_service_status(service).await;
    }
}

fn http(engine: &str) -> Router {
    let hello = format!("hello from {engine}\n");
    Router::new()
        .route("/hello", get(async || hello))
        .route("/echo", post(echo))
        .method_not_allowed_fallback(missing)
        .fallback(missing)
}

/// Streams the request's body back as it comes.
async fn echo(request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let mut response = Response::new(body);
    if let Some(kind) = head.headers.remove(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// A gRPC client is told that the service is unknown in gRPC's own way, which is not a 404.
async fn missing(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind {
        Some(kind) if kind.starts_with("application/grpc") => {
            Status::unimplemented("unknown service").into_http()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
