//! `/v1/stream`: server-sent events.

use std::time::Instant;

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::server::{PATIENCE, Server};

/// One open stream of events.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    async fn open(s: &Server) -> Self {
        let bearer = format!("Bearer {}", s.token);
        Self::of(s.raw("GET", "/v1/stream", &[("authorization", &bearer)], "").await)
    }

    fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        assert!(answer.headers().get("content-encoding").is_none());
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event as (name, data); `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name));
                let parsed = field("event: ").map(|name| {
                    let data = field("data: ").expect("data");
                    (name.to_owned(), serde_json::from_str(data).expect("JSON"))
                });
                self.text = rest.to_owned();
                match parsed {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event in time")?.expect("a frame");
            let data = frame.into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("text"));
        }
    }

    async fn summary(&mut self) -> Value {
        let (name, data) = self.next().await.expect("an event");
        assert_eq!(name, "summary");
        data
    }
}

#[tokio::test]
async fn it_begins_with_a_summary_and_follows_changes() {
    let s = Server::start().await;
    let mut events = Events::open(&s).await;
    let first = events.summary().await;
    assert_eq!(first["engines"], json!([]));
    let before = s.revision().await;
    let begun = Instant::now();
    for name in ["a", "b", "c", "d", "e"] {
        s.send("PUT", &format!("/v1/engines/{name}"), json!({"spec": {}})).await.expect(201);
    }
    let mut told = 0;
    let last = loop {
        let summary = events.summary().await;
        told += 1;
        if summary["revision"] == before + 5 {
            break summary;
        }
    };
    assert!(told <= begun.elapsed().as_secs() + 1, "{told} summaries in {:?}", begun.elapsed());
    assert_eq!(last["engines"].as_array().map(Vec::len), Some(5));
    // The end of the admin is the end of the stream, and the stream does not hold the admin up.
    s.stop().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn it_ends_with_the_session_that_opened_it() {
    let s = Server::start().await;
    let body = json!({"token": s.token}).to_string();
    let a = s.bare("POST", "/v1/sessions", &[("content-type", "application/json")], body).await;
    let cookie = a.header("set-cookie").expect("a cookie").split(';').next().expect("a pair");
    let with = [("cookie", cookie)];
    let mut events = Events::of(s.raw("GET", "/v1/stream", &with, "").await);
    events.summary().await;
    assert_eq!(s.bare("DELETE", "/v1/sessions", &with, "").await.status, 204);
    s.send("PUT", "/v1/engines/a", json!({"spec": {}})).await.expect(201);
    assert_eq!(events.next().await, None, "nothing more for a session that has ended");
    s.stop().await;
}

#[tokio::test]
async fn there_are_at_most_a_hundred() {
    let s = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(Events::open(&s).await);
    }
    let a = s.get("/v1/stream").await;
    a.problem(503, "PGN-A430");
    assert!(a.header("retry-after").is_some());
    open.pop();
    let bearer = format!("Bearer {}", s.token);
    crate::server::until(|| async {
        let a = s.raw("GET", "/v1/stream", &[("authorization", &bearer)], "").await;
        (a.status() == 200).then_some(())
    })
    .await;
    s.stop().await;
}
