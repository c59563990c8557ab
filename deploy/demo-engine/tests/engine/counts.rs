//! What the engine counts, and the slots it enforces.

use std::future::pending;
use std::pin::pin;

use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proto::demo::v1::{StatsReply, StatsRequest};
use tokio::runtime;
use tokio::sync::oneshot;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{chunk, config, ping, prompt, start, start_with, upload, with};

const HANG: [(&str, &str); 1] = [("demo-delay-ms", "60000")];

#[tokio::test]
async fn ended_calls_of_all_methods_count_and_nothing_else_does() {
    let engine = start().await;
    engine.echo().ping(ping()).await.unwrap();
    engine.echo().ping(with(ping(), &[("demo-fail", "3")])).await.unwrap_err();
    let audio = tokio_stream::once(chunk(b"one"));
    engine.speech().transcribe(audio).await.unwrap();
    let audio = tokio_stream::once(chunk(b"one"));
    let mut answers = engine.speech().recognize(audio).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let mut answers = engine.chat().generate(prompt("a b")).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}

    let mut health = HealthClient::new(engine.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
    engine.echo().stats(StatsRequest { reset: false }).await.unwrap();
    // Without waiting: a call has left before its end can be seen.
    let expected = StatsReply { concurrent_now: 0, max_concurrent_seen: 1, calls: 5, cancelled: 0 };
    assert_eq!(engine.stats.read(), expected);
    let told = engine.echo().stats(StatsRequest { reset: false }).await.unwrap();
    assert_eq!(told.into_inner(), expected);
}

#[tokio::test]
async fn open_calls_are_seen_and_the_highest_number_is_kept_until_reset() {
    let engine = start().await;
    let (first, audio) = upload();
    let mut first_answers = engine.speech().recognize(audio).await.unwrap().into_inner();
    let (second, audio) = upload();
    let mut second_answers = engine.speech().recognize(audio).await.unwrap().into_inner();
    assert_eq!(engine.stats.read().concurrent_now, 2);
    drop(first);
    while first_answers.message().await.unwrap().is_some() {}

    let mut echo = engine.echo();
    let before = echo.stats(StatsRequest { reset: true }).await.unwrap().into_inner();
    assert_eq!((before.concurrent_now, before.max_concurrent_seen), (1, 2));
    let after = echo.stats(StatsRequest { reset: false }).await.unwrap().into_inner();
    assert_eq!((after.concurrent_now, after.max_concurrent_seen), (1, 1));
    assert_eq!(after.calls, 2);
    drop(second);
    while second_answers.message().await.unwrap().is_some() {}
    assert_eq!(engine.stats.read().concurrent_now, 0);
}

#[tokio::test]
async fn a_cancelled_call_counts_as_cancelled_once_in_every_method() {
    let engine = start().await;
    let (mut echo, mut chat, mut speech) = (engine.echo(), engine.chat(), engine.speech());

    {
        let mut call = pin!(echo.ping(with(ping(), &HANG)));
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            _ = engine.until(|stats| stats.concurrent_now == 1) => {}
        }
    }
    engine.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 1).await;

    let answers = chat.generate(with(prompt("a"), &HANG)).await.unwrap();
    drop(answers);
    engine.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 2).await;

    // While it listens: dropping tonic's answer does not reset a stream whose upload goes on, the
    // request's own handle does.
    let (send, audio) = upload();
    let mut request = Request::new(audio);
    let handle = request.cancellation_handle();
    let mut answers = speech.recognize(request).await.unwrap().into_inner();
    send.send(chunk(b"one")).await.unwrap();
    answers.message().await.unwrap().unwrap();
    handle.cancel();
    engine.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 3).await;

    let (_send, audio) = upload();
    let mut request = Request::new(audio);
    let handle = request.cancellation_handle();
    let mut call = pin!(speech.transcribe(request));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        _ = engine.until(|stats| stats.concurrent_now == 1) => handle.cancel(),
    }
    // Polled on, because the reset is sent by the call itself; its outcome is the client's affair.
    let _ = call.await;
    let end = engine.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 4).await;
    assert_eq!(end.calls, 4);
}

#[tokio::test]
async fn calls_of_a_lost_connection_count_as_cancelled() {
    let engine = start().await;
    let address = format!("http://{}", engine.address);
    let (lose, lost) = oneshot::channel();
    // A runtime of its own: when it goes, the connection goes with it, and no stream is reset before.
    let client = std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
            let mut speech = SpeechClient::new(channel.clone());
            let mut chat = ChatClient::new(channel);
            // The upload breaks off, which its service sees as an error and answers.
            let (_send, audio) = upload();
            tokio::select! {
                answer = speech.transcribe(audio) => panic!("{answer:?}"),
                // Headers come at once, then nothing.
                _ = async { (chat.generate(with(prompt("a"), &HANG)).await, pending::<()>().await) } => {}
                lost = lost => lost.unwrap(),
            }
        });
    });
    engine.until(|stats| stats.concurrent_now == 2).await;
    lose.send(()).unwrap();
    engine.until(|stats| stats.concurrent_now == 0 && stats.cancelled == 2).await;
    client.join().unwrap();
}

#[tokio::test]
async fn a_call_above_the_slots_fails_and_is_counted() {
    let mut config = config();
    config.slots = Some(2);
    let engine = start_with(config).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let (send, audio) = upload();
        open.push((send, engine.speech().recognize(audio).await.unwrap().into_inner()));
    }
    let status = engine.echo().ping(ping()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "engine over capacity")
    );
    let (_send, audio) = upload();
    let status = engine.speech().transcribe(audio).await.unwrap_err();
    assert_eq!(status.message(), "engine over capacity");
    let stats = engine.stats.read();
    assert_eq!((stats.calls, stats.concurrent_now, stats.max_concurrent_seen), (4, 2, 3));

    // A slot is free again as soon as the end of its call has been seen.
    let (send, mut answers) = open.pop().unwrap();
    drop(send);
    while answers.message().await.unwrap().is_some() {}
    engine.echo().ping(ping()).await.unwrap();
}
