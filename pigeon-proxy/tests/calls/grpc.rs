//! gRPC: all four kinds, metadata, errors, deadlines, cancellation.

use bytes::Bytes;
use futures_util::StreamExt as _;
use pigeon_proto::demo::v1::PingRequest;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic_types::StatusExt as _;

use super::support::*;
use super::told::{Say, told};

on_both_paths! {
    unary_with_metadata_both_ways,
    client_streaming_and_server_streaming,
    bidi_streaming_with_headers_before_the_first_message,
    errors_keep_code_message_and_details,
    the_engine_may_answer_while_the_client_still_sends,
    large_messages_pass,
    unknown_services_and_methods,
    the_callers_deadline_is_kept_and_passed_on_reduced,
    an_engine_that_cancels_at_the_deadline_has_met_it,
    a_deadline_in_the_middle_of_a_stream_ends_it_with_trailers,
    a_deadline_cancels_the_engines_call_while_the_client_still_sends,
    the_routes_timeout_counts_when_it_is_shorter,
    the_deadline_frees_the_slot_even_if_the_client_reads_nothing,
    a_cancelled_call_is_cancelled_at_the_engine_and_its_slot_comes_back,
    an_engine_that_dies_in_the_middle_of_a_stream,
    a_malformed_timeout_is_refused,
    many_calls_share_few_connections,
}

async fn unary_with_metadata_both_ways(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let knobs = [("demo-echo-a", "1"), ("demo-echo-a", "2"), ("pigeon-forged", "x")];
    let mut request = with(ping(), &knobs);
    let bytes = MetadataValue::from_bytes(b"\x00\xff\x80");
    request.metadata_mut().insert_bin("demo-echo-x-bin", bytes.clone());
    let reply = rig.echo().ping(request).await.unwrap();
    assert_eq!(reply.get_ref().payload, "hello");
    let metadata = reply.metadata();
    let all: Vec<_> = metadata.get_all("demo-echo-a").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(all, ["1", "2"]);
    assert_eq!(metadata.get_bin("demo-echo-x-bin"), Some(&bytes));
    assert_eq!(text(metadata, "demo-engine"), Some("demo-1"));
    // tonic puts headers and trailers together; the engine sends each entry in both.
    let knobs = [("demo-echo-a", "1"), ("demo-echo-a", "2")];
    let answer = rig.h2(grpc_request(&rig, PING, &knobs)).await;
    for map in [answer.head.headers, answer.trailers.unwrap()] {
        assert_eq!(map.get_all("demo-echo-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    }
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (2, 0));
}

async fn client_streaming_and_server_streaming(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let audio = tokio_stream::iter(vec![chunk(b"abc"), chunk(b"defg")]);
    let transcript = rig.speech().transcribe(audio).await.unwrap().into_inner();
    assert_eq!(transcript.heard, 7);
    let tokens = rig.chat().generate(with(prompt(50), &[("demo-gap-ms", "0")])).await.unwrap();
    let tokens: Vec<_> = tokens.into_inner().map(|t| t.unwrap().index).collect().await;
    assert_eq!(tokens, (0..50).collect::<Vec<_>>());
    rig.until_free().await;
}

async fn bidi_streaming_with_headers_before_the_first_message(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let (send, audio) = upload();
    // Nothing has been sent yet: the headers alone resolve this.
    let answer = rig.speech().recognize(with(audio, &[("demo-echo-x", "y")])).await.unwrap();
    assert_eq!(text(answer.metadata(), "demo-echo-x"), Some("y"));
    let mut answers = answer.into_inner();
    for heard in 1..=20 {
        send.send(chunk(b"x")).await.unwrap();
        let partial = answers.message().await.unwrap().unwrap();
        assert_eq!((partial.heard, partial.r#final), (heard, false));
    }
    drop(send);
    let last = answers.message().await.unwrap().unwrap();
    assert!(last.r#final);
    assert_eq!(answers.message().await.unwrap(), None);
    rig.until_free().await;
}

async fn errors_keep_code_message_and_details(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let status = rig.echo().ping(with(ping(), &[("demo-fail", "9")])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "demo failure"));
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "DEMO_FAULT");
    assert_eq!(reason(&status), None);
    let knobs = [("demo-fail", "10"), ("demo-fail-after", "2"), ("demo-gap-ms", "0")];
    let mut tokens = rig.chat().generate(with(prompt(9), &knobs)).await.unwrap().into_inner();
    assert!(tokens.message().await.unwrap().is_some());
    assert!(tokens.message().await.unwrap().is_some());
    assert_eq!(tokens.message().await.unwrap_err().code(), Code::Aborted);
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (2, 0), "the engine's own errors");
    let metrics = rig.metrics.render();
    let line = r#"pigeon_calls_total{code="ABORTED",engine="e",route="chat"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

async fn the_engine_may_answer_while_the_client_still_sends(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let (send, audio) = upload();
    send.send(chunk(b"x")).await.unwrap();
    let status = rig.speech().transcribe(with(audio, &[("demo-fail", "9")])).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(!send.is_closed() || send.send(chunk(b"x")).await.is_err());
    rig.until_free().await;
}

async fn large_messages_pass(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let payload = Bytes::from(vec![7; 20 << 20]);
    let reply = rig.echo().ping(PingRequest { payload: payload.clone() }).await.unwrap();
    assert!(reply.into_inner().payload == payload);
}

async fn unknown_services_and_methods(path: Path) {
    let demo = demo().await;
    let only_chat =
        "\n---\nkind: route\nname: chat\nspec: {match: {grpc: pigeon.demo.v1.Chat}, engine: e}\n";
    let rig = Rig::start(path, &(engine(&[demo.address], "") + only_chat)).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unimplemented, Some("no_route")));
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_ROUTE", "pigeon.dev"));
    // A method the engine does not have is the engine's to refuse.
    let answer = rig.h2(grpc_request(&rig, "/pigeon.demo.v1.Chat/Nope", &[])).await;
    assert_eq!(answer.head.headers["grpc-status"], "12");
    assert!(!answer.head.headers.contains_key("pigeon-reason"));
}

/// A bare gRPC request with one empty message, for a client that does nothing by itself.
fn grpc_request(rig: &Rig, path: &str, headers: &[(&str, &str)]) -> http::Request<Bytes> {
    let mut request = http::Request::post(format!("http://{}{path}", rig.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    request.body(Bytes::from_static(&[0; 5])).unwrap()
}

const PING: &str = "/pigeon.demo.v1.Echo/Ping";
const GENERATE: &str = "/pigeon.demo.v1.Chat/Generate";

async fn the_callers_deadline_is_kept_and_passed_on_reduced(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let answer = rig.h2(grpc_request(&rig, PING, &[("grpc-timeout", "20S")])).await;
    let seen = answer.head.headers["demo-seen-timeout"].to_str().unwrap();
    let left: u64 = seen.strip_suffix('u').unwrap().parse().unwrap();
    assert!((15_000_000..20_000_000).contains(&left), "{seen}");
    let slow = [("grpc-timeout", "150m"), ("demo-delay-ms", "60000")];
    let answer = rig.h2(grpc_request(&rig, PING, &slow)).await;
    assert_eq!(answer.head.headers["grpc-status"], "4", "trailers-only");
    assert_eq!(answer.head.headers["pigeon-reason"], "deadline");
    demo.until(|s| s.cancelled == 1).await;
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (2, 1));
}

/// The engine's clock and ours race; the caller is told the same whoever wins.
async fn an_engine_that_cancels_at_the_deadline_has_met_it(path: Path) {
    let engine = told(|n| Say::GiveUp { after_head: n % 2 == 1 }).await;
    let rig = Rig::start(path, &(strict(&[engine.address], 1, "") + ROUTES)).await;
    for n in 0..6 {
        let timeout = format!("{}m", 20 + n);
        let answer = rig.h2(grpc_request(&rig, PING, &[("grpc-timeout", &timeout)])).await;
        let told = answer.trailers.unwrap_or(answer.head.headers);
        assert_eq!(
            (&told["grpc-status"], &told["pigeon-reason"]),
            (&"4".parse().unwrap(), &"deadline".parse().unwrap())
        );
        rig.until_free().await;
    }
}

async fn a_deadline_in_the_middle_of_a_stream_ends_it_with_trailers(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let knobs = [("grpc-timeout", "300m"), ("demo-gap-ms", "60000")];
    let mut request = grpc_request(&rig, GENERATE, &knobs);
    // Prompt { tokens: 5 }
    *request.body_mut() = Bytes::from_static(&[0, 0, 0, 0, 2, 0x10, 5]);
    let answer = rig.h2(request).await;
    assert!(!answer.body.as_ref().unwrap().is_empty(), "the first token");
    let trailers = answer.trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["pigeon-reason"]),
        (&"4".parse().unwrap(), &"deadline".parse().unwrap())
    );
    demo.until(|s| s.cancelled == 1).await;
    rig.until_free().await;
}

async fn a_deadline_cancels_the_engines_call_while_the_client_still_sends(path: Path) {
    let demo = demo().await;
    let route = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e, timeout: 300ms}\n";
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + route)).await;
    let (send, audio) = upload();
    let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
    send.send(chunk(b"x")).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::DeadlineExceeded, Some("deadline")));
    demo.until(|s| s.cancelled == 1).await;
    rig.until_free().await;
    drop(send);
}

async fn the_routes_timeout_counts_when_it_is_shorter(path: Path) {
    let demo = demo().await;
    let route = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e, timeout: 150ms}\n";
    let rig = Rig::start(path, &(engine(&[demo.address], "") + route)).await;
    let slow = [("grpc-timeout", "50S"), ("demo-delay-ms", "60000")];
    let answer = rig.h2(grpc_request(&rig, PING, &slow)).await;
    assert_eq!(answer.head.headers["pigeon-reason"], "deadline");
    let fast = rig.h2(grpc_request(&rig, PING, &[])).await;
    let seen = fast.head.headers["demo-seen-timeout"].to_str().unwrap().to_owned();
    assert!(seen.strip_suffix('u').unwrap().parse::<u64>().unwrap() <= 150_000, "{seen}");
}

async fn the_deadline_frees_the_slot_even_if_the_client_reads_nothing(path: Path) {
    let demo = demo().await;
    let route = "\n---\nkind: route\nname: r\nspec: {match: {}, engine: e, timeout: 2s}\n";
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + route)).await;
    // PingRequest { payload: 8 MiB }: the answer fills every window, and then stands still.
    let mut message = vec![0, 0, 0x80, 0, 5, 0x0a, 0x80, 0x80, 0x80, 0x04];
    message.resize(message.len() + (8 << 20), 7);
    let mut request = grpc_request(&rig, PING, &[]);
    *request.body_mut() = message.into();
    let (_sender, response) = rig.h2_unread(request).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("grpc-status"), "{response:?}");
    assert_eq!(rig.in_use(), 1);
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 1);
}

async fn a_cancelled_call_is_cancelled_at_the_engine_and_its_slot_comes_back(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 1, "") + ROUTES)).await;
    // While it waits for the answer …
    let mut client = rig.echo();
    let call =
        tokio::spawn(async move { client.ping(with(ping(), &[("demo-delay-ms", "60000")])).await });
    demo.until(|s| s.concurrent_now == 1).await;
    call.abort();
    demo.until(|s| s.cancelled == 1).await;
    rig.until_free().await;
    // … in the middle of a server stream …
    let knobs = [("demo-gap-ms", "60000")];
    let mut tokens = rig.chat().generate(with(prompt(9), &knobs)).await.unwrap().into_inner();
    assert!(tokens.message().await.unwrap().is_some());
    assert_eq!(rig.in_use(), 1);
    drop(tokens);
    demo.until(|s| s.cancelled == 2).await;
    rig.until_free().await;
    // … and while both still send.
    let socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = grpc_request(&rig, "/pigeon.demo.v1.Speech/Recognize", &[]).map(|_| ());
    let mut client = client.ready().await.unwrap();
    let (response, mut upload) = client.send_request(request, false).unwrap();
    upload.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    let mut answer = response.await.unwrap().into_body();
    answer.data().await.unwrap().unwrap();
    upload.send_reset(h2::Reason::CANCEL);
    demo.until(|s| s.cancelled == 3).await;
    rig.until_free().await;
    let metrics = rig.metrics.render();
    for route in ["echo", "chat", "grpc"] {
        let line =
            format!(r#"pigeon_calls_total{{code="CANCELLED",engine="e",route="{route}"}} 1"#);
        assert!(metrics.contains(&line), "{route}: {metrics}");
    }
}

async fn an_engine_that_dies_in_the_middle_of_a_stream(path: Path) {
    let mut demo = demo().await;
    let rig = Rig::start(path, &(strict(&[demo.address], 8, "") + ROUTES)).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let (send, audio) = upload();
        let mut answers = rig.speech().recognize(audio).await.unwrap().into_inner();
        send.send(chunk(b"x")).await.unwrap();
        assert!(answers.message().await.unwrap().is_some());
        streams.push((send, answers));
    }
    assert_eq!(rig.in_use(), 5);
    demo.die().await;
    for (_send, answers) in &mut streams {
        let status = answers.message().await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("engine_reset")));
    }
    rig.until_free().await;
    assert_eq!(rig.usage().failures, 5);
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("connect_failed")));
}

async fn a_malformed_timeout_is_refused(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let answer = rig.h2(grpc_request(&rig, PING, &[("grpc-timeout", "soon")])).await;
    assert_eq!(
        (&answer.head.headers["grpc-status"], &answer.head.headers["pigeon-reason"]),
        (&"13".parse().unwrap(), &"bad_request".parse().unwrap())
    );
    assert_eq!(demo.stats.read().calls, 0);
}

async fn many_calls_share_few_connections(path: Path) {
    let demo = demo().await;
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let calls = (0..300).map(|_| {
        let mut client = rig.echo();
        tokio::spawn(async move { client.ping(with(ping(), &[("demo-delay-ms", "100")])).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    rig.until_free().await;
    assert_eq!(demo.stats.read().calls, 300);
}
