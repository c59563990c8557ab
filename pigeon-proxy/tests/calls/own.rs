//! Routes that answer by themselves: redirects and fixed answers.

use bytes::Bytes;

use super::support::*;

on_both_paths! {
    a_redirect_goes_where_the_route_says,
    a_fixed_answer_is_the_same_for_all,
    grpc_callers_get_a_status_of_the_route,
    what_a_route_answers_is_no_refusal,
    a_short_upload_is_read_before_its_answer,
}

const ROUTES: &str = "
kind: route
name: moved
spec: {match: {path: '/old*'}, redirect: {host: new.example, scheme: https, path: '/new*', status: 308}}
---
kind: route
name: fixed
spec: {match: {path: /robots.txt}, answer: {headers: {cache-control: max-age=60}, body: \"none\\n\"}}
---
kind: route
name: empty
spec: {match: {path: /empty}, answer: {status: 204}}
---
kind: route
name: moved-grpc
spec: {match: {grpc: pigeon.demo.v1.Speech}, redirect: {host: new.example}}
---
kind: route
name: closed
spec: {match: {grpc: pigeon.demo.v1.Echo}, answer: {status: 503, message: closed for ä day}}
";

fn request(rig: &Rig, method: &str, path: &str, body: &'static [u8]) -> http::Request<Bytes> {
    let request = http::Request::builder().method(method);
    let request = request.uri(format!("http://{}{path}", rig.address));
    request.body(Bytes::from_static(body)).unwrap()
}

async fn a_redirect_goes_where_the_route_says(path: Path) {
    let rig = Rig::start(path, ROUTES).await;
    let answer = rig.h2(request(&rig, "GET", "/old/a?b=c", b"")).await;
    assert_eq!(answer.head.status, 308);
    assert_eq!(answer.head.headers["location"], "https://new.example/new/a?b=c");
    assert_eq!(answer.head.headers["content-length"], "0");
    let raw = "GET /old HTTP/1.1\r\nhost: x:9\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(raw).await;
    assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
    assert!(answer.contains("location: https://new.example/new\r\n"), "{answer}");
}

async fn a_fixed_answer_is_the_same_for_all(path: Path) {
    let rig = Rig::start(path, ROUTES).await;
    let answer = rig.h2(request(&rig, "GET", "/robots.txt", b"")).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.headers["cache-control"], "max-age=60");
    assert_eq!(answer.head.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.body.unwrap(), "none\n");
    let answer = rig.h2(request(&rig, "HEAD", "/robots.txt", b"")).await;
    assert_eq!(answer.head.headers["content-length"], "5");
    assert_eq!(answer.body.unwrap(), "");
    let answer = rig.h2(request(&rig, "GET", "/empty", b"")).await;
    assert_eq!(answer.head.status, 204);
    assert!(!answer.head.headers.contains_key("content-length"), "{:?}", answer.head.headers);
    let raw = "GET /empty HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(raw).await;
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

async fn grpc_callers_get_a_status_of_the_route(path: Path) {
    let rig = Rig::start(path, ROUTES).await;
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "closed for ä day");
    // Also in the middle of an upload.
    let (send, upload) = upload();
    send.send(chunk(b"x")).await.unwrap();
    let status = rig.speech().recognize(upload).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("//new.example/pigeon.demo.v1.Speech/"), "{status:?}");
    eventually(|| rig.gateway.calls_open() == 0).await;
}

async fn what_a_route_answers_is_no_refusal(path: Path) {
    let rig = Rig::start(path, ROUTES).await;
    let answer = rig.h2(request(&rig, "GET", "/robots.txt", b"")).await;
    assert!(!answer.head.headers.contains_key("pigeon-reason"), "{:?}", answer.head.headers);
    let status = rig.echo().ping(ping()).await.unwrap_err();
    assert_eq!(reason(&status), None);
    eventually(|| rig.gateway.calls_open() == 0).await;
    let metrics = rig.metrics.render();
    for line in [
        r#"pigeon_calls_total{code="2xx",engine="",route="fixed"} 1"#,
        r#"pigeon_calls_total{code="UNAVAILABLE",engine="",route="closed"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("pigeon_rejections_total{"), "{metrics}");
}

async fn a_short_upload_is_read_before_its_answer(path: Path) {
    let rig = Rig::start(path, ROUTES).await;
    let post = http::Request::post(format!("http://{}/robots.txt", rig.address));
    let post = post.header("content-length", "4").body(Bytes::from_static(b"data")).unwrap();
    let answer = rig.h2(post).await;
    assert_eq!(answer.body.unwrap(), "none\n");
    eventually(|| rig.gateway.calls_open() == 0).await;
    let raw = "POST /robots.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndata";
    assert!(rig.raw(raw).await.ends_with("\r\n\r\nnone\n"));
}
