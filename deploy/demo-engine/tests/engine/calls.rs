//! Each method, health and reflection, with no knob turned.

use bytes::Bytes;
use pigeon_proto::demo::v1::{PingRequest, Prompt, StatsRequest};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{chunk, ping, prompt, start, text, upload, with};

const LISTED: [&str; 6] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "pigeon.demo.v1.Chat",
    "pigeon.demo.v1.Echo",
    "pigeon.demo.v1.Speech",
];

#[tokio::test]
async fn recognize_answers_each_chunk_as_it_arrives_and_then_finally() {
    let engine = start().await;
    let (send, audio) = upload();
    // The headers are there before anything was said.
    let mut answers = engine.speech().recognize(audio).await.unwrap().into_inner();
    for (data, heard) in [(&b"one"[..], 3), (b"four", 7)] {
        send.send(chunk(data)).await.unwrap();
        let partial = answers.message().await.unwrap().unwrap();
        assert_eq!((partial.heard, partial.r#final), (heard, false));
    }
    drop(send);
    let last = answers.message().await.unwrap().unwrap();
    assert_eq!((last.heard, last.r#final), (7, true));
    assert_eq!(last.text, "heard 7 bytes in 2 chunks");
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn transcribe_answers_once() {
    let engine = start().await;
    let audio = tokio_stream::iter([chunk(b"one"), chunk(b"four")]);
    let transcript = engine.speech().transcribe(audio).await.unwrap().into_inner();
    assert_eq!((transcript.heard, transcript.r#final), (7, true));
}

#[tokio::test]
async fn generate_sends_a_token_per_word_or_as_many_as_asked() {
    let engine = start().await;
    let cases = [("a b c", 0, "a b c"), ("a b", 3, "a b a"), ("", 0, ""), ("", 2, " ")];
    for (text, tokens, expected) in cases {
        let request = with(Prompt { text: text.into(), tokens }, &[("demo-gap-ms", "0")]);
        let answers = engine.chat().generate(request).await.unwrap().into_inner();
        let tokens: Vec<_> = answers.map(Result::unwrap).collect().await;
        let said: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(said.join(" "), expected);
        assert!(tokens.iter().zip(0..).all(|(token, index)| token.index == index));
    }
}

#[tokio::test]
async fn generate_keeps_a_pace_of_its_own() {
    let engine = start().await;
    let start = std::time::Instant::now();
    let mut answers = engine.chat().generate(prompt("a b c")).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert!(start.elapsed().as_millis() >= 40, "{:?}", start.elapsed());
}

#[tokio::test]
async fn ping_answers_with_its_payload_and_name() {
    let engine = start().await;
    let reply = engine.echo().ping(ping()).await.unwrap();
    assert_eq!(text(reply.metadata(), "demo-engine"), Some("demo-1"));
    assert_eq!(reply.get_ref().engine, "demo-1");
    assert_eq!(reply.get_ref().payload, ping().payload);
}

#[tokio::test]
async fn ping_takes_large_messages() {
    let engine = start().await;
    let payload = Bytes::from(vec![7; 32 << 20]);
    let reply = engine.echo().ping(PingRequest { payload: payload.clone() }).await.unwrap();
    assert!(reply.into_inner().payload == payload);
}

#[tokio::test]
async fn stats_tell_the_engine_too() {
    let engine = start().await;
    let reply = engine.echo().stats(StatsRequest { reset: false }).await.unwrap();
    assert_eq!(text(reply.metadata(), "demo-engine"), Some("demo-1"));
}

#[tokio::test]
async fn health_is_serving_for_the_whole_and_for_each_service() {
    let engine = start().await;
    let mut health = HealthClient::new(engine.channel.clone());
    let services = ["", "pigeon.demo.v1.Speech", "pigeon.demo.v1.Chat", "pigeon.demo.v1.Echo"];
    for service in services.map(str::to_owned) {
        let reply = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(reply.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest { service: "x".into() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_v1_lists_the_services_and_describes_them() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;

    let engine = start().await;
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(engine.channel.clone());
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("pigeon.demo.v1.Speech".into()),
        MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into()),
    ];
    let asked = asked.map(|message| v1::ServerReflectionRequest {
        message_request: Some(message),
        ..Default::default()
    });
    let answers = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap();
    let answers: Vec<_> = answers
        .into_inner()
        .map(|answer| answer.unwrap().message_response.unwrap())
        .collect()
        .await;
    let MessageResponse::ListServicesResponse(list) = &answers[0] else { panic!("{answers:?}") };
    let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, LISTED);
    for described in &answers[1..] {
        assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{described:?}");
    }
}

#[tokio::test]
async fn reflection_v1alpha_lists_the_services() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;

    let engine = start().await;
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(engine.channel.clone());
    let list = v1alpha::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let answers = client.server_reflection_info(tokio_stream::once(list)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort_unstable();
    assert_eq!(names, LISTED);
}
