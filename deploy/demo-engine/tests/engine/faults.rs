//! The fault knobs, what the answer echoes, and what a malformed knob gets.

use std::time::{Duration, Instant};

use pigeon_proto::demo::v1::Prompt;
use tokio_stream::StreamExt;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{chunk, config, ping, prompt, start, start_with, text, upload, with};

fn assert_demo_failure(status: &Status, code: Code) {
    assert_eq!((status.code(), status.message()), (code, "demo failure"));
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("DEMO_FAULT", "pigeon.demo"));
    assert_eq!(info.metadata["engine"], "demo-1");
}

#[tokio::test]
async fn delay_comes_before_the_first_message_of_every_method() {
    let engine = start().await;
    let delay = [("demo-delay-ms", "30"), ("demo-gap-ms", "0")];
    let at_least = Duration::from_millis(30);

    let start = Instant::now();
    engine.echo().ping(with(ping(), &delay)).await.unwrap();
    assert!(start.elapsed() >= at_least);

    let start = Instant::now();
    let audio = tokio_stream::once(chunk(b"one"));
    engine.speech().transcribe(with(audio, &delay)).await.unwrap();
    assert!(start.elapsed() >= at_least);

    let start = Instant::now();
    let audio = tokio_stream::once(chunk(b"one"));
    let mut answers = engine.speech().recognize(with(audio, &delay)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    assert!(start.elapsed() >= at_least);

    let start = Instant::now();
    let mut answers = engine.chat().generate(with(prompt("a"), &delay)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    assert!(start.elapsed() >= at_least);
}

#[tokio::test]
async fn the_engines_own_delay_adds_to_the_calls() {
    let mut config = config();
    config.delay = Duration::from_millis(20);
    let engine = start_with(config).await;
    let start = Instant::now();
    engine.echo().ping(with(ping(), &[("demo-delay-ms", "20")])).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn gap_comes_between_messages() {
    let engine = start().await;
    let gap = [("demo-gap-ms", "25")];
    let start = Instant::now();
    let audio = tokio_stream::iter([chunk(b"one"), chunk(b"two")]);
    let answers = engine.speech().recognize(with(audio, &gap)).await.unwrap().into_inner();
    // Two partials and the final, so two gaps.
    assert_eq!(answers.map(Result::unwrap).collect::<Vec<_>>().await.len(), 3);
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn fail_fails_every_method_with_details_before_anything_is_heard() {
    let engine = start().await;
    let fail = [("demo-fail", "14")];
    let status = engine.echo().ping(with(ping(), &fail)).await.unwrap_err();
    assert_demo_failure(&status, Code::Unavailable);
    assert_eq!(text(status.metadata(), "demo-engine"), Some("demo-1"));

    let status = engine.chat().generate(with(prompt("a b"), &fail)).await.unwrap_err();
    assert_demo_failure(&status, Code::Unavailable);

    let (_send, audio) = upload();
    let status = engine.speech().recognize(with(audio, &fail)).await.unwrap_err();
    assert_demo_failure(&status, Code::Unavailable);

    let (_send, audio) = upload();
    let status = engine.speech().transcribe(with(audio, &fail)).await.unwrap_err();
    assert_demo_failure(&status, Code::Unavailable);
}

#[tokio::test]
async fn every_failing_code_can_be_asked_for() {
    let engine = start().await;
    for code in 1..=16 {
        let number = code.to_string();
        let status = engine.echo().ping(with(ping(), &[("demo-fail", &number)])).await.unwrap_err();
        assert_demo_failure(&status, Code::from_i32(code));
    }
}

#[tokio::test]
async fn fail_after_lets_that_many_messages_by() {
    let engine = start().await;
    for (after, said) in [("0", 0), ("2", 2), ("3", 3)] {
        let knobs = [("demo-fail", "13"), ("demo-fail-after", after), ("demo-gap-ms", "0")];
        // The headers go out, unlike those of a call that fails without `demo-fail-after`.
        let answers = engine.chat().generate(with(prompt("a b c"), &knobs)).await.unwrap();
        let mut answers: Vec<_> = answers.into_inner().collect().await;
        assert_demo_failure(&answers.pop().unwrap().unwrap_err(), Code::Internal);
        assert_eq!(answers.into_iter().map(Result::unwrap).count(), said);
    }
    let knobs = [("demo-fail", "13"), ("demo-fail-after", "4"), ("demo-gap-ms", "0")];
    let answers = engine.chat().generate(with(prompt("a b c"), &knobs)).await.unwrap();
    assert_eq!(answers.into_inner().map(Result::unwrap).collect::<Vec<_>>().await.len(), 3);
}

#[tokio::test]
async fn fail_after_counts_what_was_heard_where_the_answer_is_one_message() {
    let engine = start().await;
    let knobs = |after| [("demo-fail", "8"), ("demo-fail-after", after)];

    let (send, audio) = upload();
    send.send(chunk(b"one")).await.unwrap();
    send.send(chunk(b"two")).await.unwrap();
    // It does not wait for the end of the upload.
    let status = engine.speech().transcribe(with(audio, &knobs("2"))).await.unwrap_err();
    assert_demo_failure(&status, Code::ResourceExhausted);
    let audio = tokio_stream::once(chunk(b"one"));
    engine.speech().transcribe(with(audio, &knobs("2"))).await.unwrap();

    for after in ["0", "1"] {
        let status = engine.echo().ping(with(ping(), &knobs(after))).await.unwrap_err();
        assert_demo_failure(&status, Code::ResourceExhausted);
    }
    engine.echo().ping(with(ping(), &knobs("2"))).await.unwrap();
}

#[tokio::test]
async fn echoes_come_back_in_headers_and_trailers() {
    let engine = start().await;
    let mut request = with(prompt("a"), &[("demo-echo-a", "1"), ("demo-echo-a", "2"), ("x", "y")]);
    let bytes = MetadataValue::from_bytes(&[0, 200, 255]);
    request.metadata_mut().insert_bin("demo-echo-b-bin", bytes.clone());
    let mut reply = engine.chat().generate(request).await.unwrap();
    let headers = reply.metadata().clone();
    while reply.get_mut().message().await.unwrap().is_some() {}
    let trailers = reply.into_inner().trailers().await.unwrap().unwrap();
    for metadata in [headers, trailers] {
        let values: Vec<_> = metadata.get_all("demo-echo-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(metadata.get_bin("demo-echo-b-bin"), Some(&bytes));
        assert_eq!(text(&metadata, "demo-engine"), Some("demo-1"));
        assert!(metadata.get("x").is_none());
    }
}

#[tokio::test]
async fn a_failure_echoes_as_well() {
    let engine = start().await;
    let knobs = [("demo-fail", "5"), ("demo-echo-a", "1")];
    let status = engine.echo().ping(with(ping(), &knobs)).await.unwrap_err();
    assert_eq!(text(status.metadata(), "demo-echo-a"), Some("1"));
}

#[tokio::test]
async fn the_timeout_is_shown_as_it_came() {
    let engine = start().await;
    let reply = engine.echo().ping(with(ping(), &[("grpc-timeout", "7S")])).await.unwrap();
    assert_eq!(text(reply.metadata(), "demo-seen-timeout"), Some("7S"));
    let reply = engine.echo().ping(ping()).await.unwrap();
    assert_eq!(text(reply.metadata(), "demo-seen-timeout"), None);
}

#[tokio::test]
async fn a_malformed_knob_is_named() {
    let engine = start().await;
    let malformed = [
        ("demo-delay-ms", "soon"),
        ("demo-gap-ms", "-1"),
        ("demo-gap-ms", "99999999999"),
        ("demo-fail", "0"),
        ("demo-fail", "17"),
        ("demo-fail", "UNAVAILABLE"),
        ("demo-fail-after", "x"),
        ("demo-fail-after", "3"),
    ];
    for (key, value) in malformed {
        let knobs = [(key, value)];
        let in_ping = engine.echo().ping(with(ping(), &knobs)).await.unwrap_err();
        let prompt = with(Prompt::default(), &knobs);
        let in_chat = engine.chat().generate(prompt).await.unwrap_err();
        for status in [in_ping, in_chat] {
            assert_eq!(status.code(), Code::InvalidArgument);
            let message = status.message();
            assert!(message.contains(key) && message.contains(value), "{message}");
        }
    }
}
