//! What routes change of headers, paths and hosts, on every way through the gateway.

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::support::*;
use super::told::{Say, Seen, told};

on_both_paths! {
    the_engine_of_a_grpc_call_sees_what_the_route_says,
    an_engine_that_speaks_http1_sees_what_the_route_says,
    what_a_caller_repeats_is_edited_anew_when_the_route_changes,
    two_routes_edit_the_same_head_each_in_its_way,
    answers_are_edited_also_those_that_are_nothing_but_a_status,
    answers_of_the_gateway_are_not_edited,
    an_attempt_sends_the_edited_head_again,
    a_request_without_a_host_gets_that_of_the_route,
}

fn grpc(edits: &str) -> String {
    format!(
        "---\nkind: route\nname: r\nspec: {{match: {{grpc: pigeon.demo.v1.Echo}}, engine: e, {edits}}}\n"
    )
}

fn values<'s>(seen: &'s Seen, name: &str) -> Vec<&'s str> {
    seen.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
}

async fn ping_with(rig: &Rig, knobs: &[(&'static str, &str)]) -> tonic::Status {
    rig.echo().ping(with(ping(), knobs)).await.unwrap_err()
}

async fn the_engine_of_a_grpc_call_sees_what_the_route_says(path: Path) {
    let engine_e = told(|_| Say::Grpc(5)).await;
    let edits = "rewrite: {path: other.Svc, host: \"inner.example:81\"}, request_headers: \
        {set: {x-user: gateway}, add: {x-more: b, authorization: Bearer secret}, remove: [x-gone, x-forwarded-for]}";
    let rig = Rig::start(path, &(engine(&[engine_e.address], "") + &grpc(edits))).await;
    // Three times: what a caller repeats is remembered.
    for _ in 0..3 {
        let knobs = [("x-user", "root"), ("x_user", "root"), ("x-more", "a"), ("x-gone", "1")];
        ping_with(&rig, &knobs).await;
    }
    let seen = engine_e.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        assert_eq!(seen.uri.path(), "/other.Svc/Ping");
        assert_eq!(seen.uri.authority().unwrap(), "inner.example:81");
        assert_eq!(values(seen, "x-forwarded-host"), [rig.address.to_string()]);
        assert_eq!(values(seen, "x-user"), ["gateway"]);
        assert_eq!(values(seen, "x_user"), [""; 0]);
        assert_eq!(values(seen, "x-more"), ["a", "b"]);
        assert_eq!(values(seen, "authorization"), ["Bearer secret"]);
        assert_eq!((values(seen, "x-gone").len(), values(seen, "x-forwarded-for").len()), (0, 0));
        assert_eq!(values(seen, "te"), ["trailers"]);
        assert_eq!(values(seen, "x-request-id").len(), 1);
    }
}

/// What an engine that speaks HTTP/1.1 gets of one request, and what the caller gets of its answer.
async fn over_http1(path: Path, route: &str, h2: bool) -> (String, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let rig = Rig::start(path, &(engine(&[listener.local_addr().unwrap()], "") + route)).await;
    let answer = async {
        if h2 {
            let request = http::Request::get(format!("http://{}/old/a?b=c", rig.address));
            let request = request.header("x_user", "root").header("x-user", "root");
            let answer = rig.h2(request.body(Bytes::new()).unwrap()).await;
            format!("{:?}", answer.head)
        } else {
            rig.raw("GET /old/a?b=c HTTP/1.1\r\nHost: a.example\r\nX-User: root\r\nX_User: root\r\nConnection: close\r\n\r\n").await
        }
    };
    let (got, seen) = tokio::join!(answer, async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(socket.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 200 OK\r\nserver: engine/1\r\nx-a: 1\r\nconnection: x-b\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    (seen, got)
}

async fn an_engine_that_speaks_http1_sees_what_the_route_says(path: Path) {
    let route = "---\nkind: route\nname: r\nspec: {match: {path: '/old*'}, engine: e, \
        rewrite: {path: '/v2*', host: inner.example}, request_headers: {set: {x-user: gateway}}, \
        response_headers: {remove: [server], set: {x-b: '2'}, add: {x-a: '3'}}}\n";
    for h2 in [false, true] {
        let (seen, got) = over_http1(path, route, h2).await;
        assert!(seen.starts_with("GET /v2/a?b=c HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("host: inner.example\r\n"), "{seen}");
        assert!(seen.contains("x-user: gateway\r\n") && !seen.contains("root"), "{seen}");
        assert!(!got.contains("engine/1"), "{got}");
        let (once, twice) = if h2 {
            (r#""x-b": "2""#, r#""x-a": "1", "x-a": "3""#)
        } else {
            ("x-b: 2\r\n", "x-a: 1\r\nx-a: 3\r\n")
        };
        assert!(got.contains(once) && got.contains(twice), "{got}");
    }
}

/// The connections on both sides stay, and with them everything that was remembered on them.
async fn what_a_caller_repeats_is_edited_anew_when_the_route_changes(path: Path) {
    let engine_e = told(|_| Say::Grpc(5)).await;
    let config = |value: &str| {
        let edits = format!(
            "request_headers: {{set: {{x-v: '{value}'}}}}, response_headers: {{set: {{x-w: '{value}'}}}}"
        );
        engine(&[engine_e.address], "") + &grpc(&edits)
    };
    let rig = Rig::start(path, &config("0")).await;
    let mut wanted = Vec::new();
    for round in 0..4 {
        for _ in 0..4 {
            let status = ping_with(&rig, &[("x-v", "theirs")]).await;
            assert_eq!(text(status.metadata(), "x-w"), Some(round.to_string().as_str()));
            wanted.push(round.to_string());
        }
        rig.install(&config(&(round + 1).to_string()));
    }
    // And without any.
    rig.install(&(engine(&[engine_e.address], "") + &grpc("priority: 1")));
    for _ in 0..3 {
        let status = ping_with(&rig, &[("x-v", "theirs")]).await;
        assert_eq!(text(status.metadata(), "x-w"), None);
        wanted.push("theirs".to_owned());
    }
    let seen: Vec<_> = engine_e.seen().iter().map(|seen| values(seen, "x-v").join("+")).collect();
    assert_eq!(seen, wanted);
    assert!(engine_e.opened() <= 2, "the engine's connections were kept: {}", engine_e.opened());
}

async fn two_routes_edit_the_same_head_each_in_its_way(path: Path) {
    let engine_e = told(|_| Say::Http(200)).await;
    let route = |name: &str, method: &str| {
        format!(
            "---\nkind: route\nname: {name}\nspec: {{match: {{path: /x, methods: [{method}]}}, engine: e, \
             response_headers: {{set: {{x-route: {name}}}}}}}\n"
        )
    };
    let config =
        engine(&[engine_e.address], "protocol: h2c") + &route("a", "GET") + &route("b", "PUT");
    let rig = Rig::start(path, &config).await;
    let request = |method: &str| {
        let request = http::Request::builder().method(method);
        let request = request.uri(format!("http://{}/x", rig.address));
        request.body(http_body_util::Full::new(Bytes::new())).unwrap()
    };
    let (mut sender, _) = rig.h2_unread(request("GET").map(|_| Bytes::new())).await;
    for _ in 0..4 {
        for (method, name) in [("GET", "a"), ("PUT", "b")] {
            sender.ready().await.unwrap();
            let answer = sender.send_request(request(method)).await.unwrap();
            assert_eq!(answer.headers()["x-route"], name);
        }
    }
}

async fn answers_are_edited_also_those_that_are_nothing_but_a_status(path: Path) {
    let engine_e = told(|n| if n % 2 == 0 { Say::Grpc(5) } else { Say::Message(3, 0) }).await;
    let edits = "response_headers: {set: {x-served-by: pigeon}, remove: [x-none]}";
    let rig = Rig::start(path, &(engine(&[engine_e.address], "") + &grpc(edits))).await;
    for _ in 0..3 {
        let status = rig.echo().ping(ping()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, "mine"));
        assert_eq!(text(status.metadata(), "x-served-by"), Some("pigeon"));
        // Not three bytes of a protobuf message, but its head is what matters here.
        let request =
            http::Request::post(format!("http://{}/pigeon.demo.v1.Echo/Ping", rig.address));
        let request = request.header("content-type", "application/grpc").body(Bytes::new());
        let answer = rig.h2(request.unwrap()).await;
        assert_eq!(answer.head.headers["x-served-by"], "pigeon");
        let trailers = answer.trailers.unwrap();
        assert_eq!((&trailers["grpc-status"], trailers.len()), (&"0".parse().unwrap(), 1));
    }
}

async fn answers_of_the_gateway_are_not_edited(path: Path) {
    let edits = "response_headers: {set: {x-served-by: engine}, remove: [content-type]}";
    let rig = Rig::start(path, &(engine(&[], "") + &grpc(edits))).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!(reason(&status), Some("no_endpoint"));
    assert_eq!(text(status.metadata(), "x-served-by"), None);
}

async fn an_attempt_sends_the_edited_head_again(path: Path) {
    let engine_e = told(|n| if n < 2 { Say::Grpc(14) } else { Say::Grpc(5) }).await;
    let edits = "rewrite: {path: a.B/C}, request_headers: {set: {x-v: '1'}}, \
        retry: {attempts: 2, on: [UNAVAILABLE], backoff: 1ms}";
    let rig = Rig::start(path, &(engine(&[engine_e.address], "") + &grpc(edits))).await;
    ping_with(&rig, &[("x-v", "0")]).await;
    let seen = engine_e.seen();
    assert_eq!(seen.len(), 3);
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!((seen.uri.path(), values(seen, "x-v")), ("/a.B/C", vec!["1"]));
        let before = values(seen, "grpc-previous-rpc-attempts");
        assert_eq!(before, if n == 0 { vec![] } else { vec![n.to_string()] });
    }
}

async fn a_request_without_a_host_gets_that_of_the_route(path: Path) {
    let engine_e = told(|_| Say::Http(200)).await;
    let route = "---\nkind: route\nname: r\nspec: {match: {path: '/*'}, engine: e, rewrite: {host: inner.example}}\n";
    let rig = Rig::start(path, &(engine(&[engine_e.address], "protocol: h2c") + route)).await;
    rig.raw("GET /x HTTP/1.0\r\n\r\n").await;
    let seen = engine_e.seen();
    assert_eq!(seen[0].uri.authority().unwrap(), "inner.example");
    assert_eq!(values(&seen[0], "x-forwarded-host"), [""; 0]);
}
