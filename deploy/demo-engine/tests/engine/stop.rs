//! How the engine starts and stops.

use std::time::Instant;

use pigeon_demo_engine::bind;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{FOR_EVER, config, ping, prompt, start, upload, with};

#[tokio::test]
async fn an_open_call_ends_as_usual_and_a_health_watch_does_not_hold_up_the_stop() {
    let engine = start().await;
    let mut health = HealthClient::new(engine.channel.clone());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let (send, audio) = upload();
    let mut answers = engine.speech().recognize(audio).await.unwrap().into_inner();

    engine.stop.send(()).unwrap();
    let seen: Vec<_> = watch.map(|seen| seen.unwrap().status()).collect().await;
    assert_eq!(seen.last(), Some(&ServingStatus::NotServing));
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
    assert_eq!(answers.message().await.unwrap(), None);
    tokio::time::timeout(FOR_EVER, engine.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off() {
    let engine = start().await;
    let hang = with(prompt("a"), &[("demo-delay-ms", "60000")]);
    let mut answers = engine.chat().generate(hang).await.unwrap().into_inner();
    let start = Instant::now();
    engine.stop.send(()).unwrap();
    answers.message().await.unwrap_err();
    assert!(start.elapsed().as_secs() >= 2, "it was given its two seconds");
    engine.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_engine_closes_everything() {
    let engine = start().await;
    let hang = with(prompt("a"), &[("demo-delay-ms", "60000")]);
    let mut answers = engine.chat().generate(hang).await.unwrap().into_inner();
    engine.task.abort();
    answers.message().await.unwrap_err();
    let status = engine.echo().ping(ping()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_occupied_port_and_a_name_that_is_no_header_are_refused() {
    let engine = start().await;
    let mut occupied = config();
    occupied.listen = engine.address;
    let error = bind(occupied).await.unwrap_err();
    assert!(error.to_string().contains(&engine.address.to_string()), "{error}");

    let mut named = config();
    named.name = "two\nlines".into();
    let error = bind(named).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
