//! `/v1/stream`: server-sent events.

use std::time::Instant;

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use pigeon_admin::store::{self, Place};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::server::{PATIENCE, Server};

/// One open stream of events.
struct Events {
    body: Incoming,
    text: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Event {
    /// `put engine/a`, `bookmark`…
    fn what(&self) -> String {
        let of = |field: &str| self.data[field].as_str().unwrap_or_default().to_owned();
        match self.name.as_str() {
            "config" => format!("{} {}/{}", of("op"), of("kind"), of("name")),
            name => name.to_owned(),
        }
    }
}

impl Events {
    async fn open(s: &Server) -> Self {
        Self::at(s, "/v1/stream", None).await
    }

    /// With `Last-Event-ID`, if there is one.
    async fn at(s: &Server, path: &str, last: Option<&str>) -> Self {
        let bearer = format!("Bearer {}", s.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(last.map(|id| ("last-event-id", id)));
        Self::of(s.raw("GET", path, &headers, "").await)
    }

    fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        assert!(answer.headers().get("content-encoding").is_none());
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let found = event.lines().find_map(|l| l.strip_prefix(name));
                    found.map(|value| value.trim_start().to_owned())
                };
                let parsed = field("event:").map(|name| {
                    let data = field("data:").expect("data");
                    let data = serde_json::from_str(&data).expect("JSON");
                    Event { name, id: field("id:"), data }
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
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, "summary");
        event.data
    }

    /// The events up to the next bookmark or resync, that one included.
    async fn level(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await.expect("an event");
            let config = event.name == "config";
            all.push(event);
            if !config {
                return all;
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.expect("an event"));
        }
        all
    }
}

const CONFIG: &str = "/v1/stream?topics=config";

async fn add(s: &Server, name: &str) {
    s.send("PUT", &format!("/v1/engines/{name}"), json!({"spec": {}})).await.expect(201);
}

fn whats(events: &[Event]) -> Vec<String> {
    events.iter().map(Event::what).collect()
}

fn last_id(events: &[Event]) -> String {
    events.iter().rev().find_map(|e| e.id.clone()).expect("an id")
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

#[tokio::test]
async fn changes_come_one_by_one_and_in_order() {
    let s = Server::start().await;
    let mut events = Events::at(&s, CONFIG, None).await;
    let at = s.revision().await;
    let id = |revision: u64| Some(format!("1-{revision}"));
    let first = events.level().await;
    let bookmark = Event { name: "bookmark".into(), id: id(at), data: json!({"revision": at}) };
    assert_eq!(first, [bookmark], "it begins with what happens from now on");
    add(&s, "a").await;
    s.apply("kind: engine\nname: b\n---\nkind: route\nname: r\nspec: {engine: b}\n").await;
    s.delete("/v1/routes/r").await.expect(200);
    let told = events.take(4).await;
    assert_eq!(whats(&told), ["put engine/a", "put engine/b", "put route/r", "del route/r"]);
    let ids: Vec<_> = told.iter().map(|e| e.id.clone()).collect();
    assert_eq!(ids, [id(at + 1), None, id(at + 2), id(at + 3)], "the last of a revision has it");
    let revisions: Vec<_> = told.iter().map(|e| e.data["revision"].as_u64()).collect();
    assert_eq!(revisions, [at + 1, at + 2, at + 2, at + 3].map(Some));
    let route = &told[2].data["object"];
    assert_eq!((&route["name"], &route["spec"]["engine"]), (&json!("r"), &json!("b")));
    assert_eq!(told[3].data["object"], Value::Null);
    s.stop().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_hears_nothing_twice() {
    let s = Server::start().await;
    let from = s.revision().await;
    let mut heard = Vec::new();
    let mut id = last_id(&Events::at(&s, CONFIG, None).await.level().await);
    let mut wanted = Vec::new();
    for n in 0..30 {
        add(&s, &format!("e{n}")).await;
        wanted.push(format!("put engine/e{n}"));
        // Connects, reads a little, and goes away without a word.
        if n % 3 == 2 {
            let some = Events::at(&s, CONFIG, Some(&id)).await.take(2).await;
            id = last_id(&some);
            heard.extend(whats(&some));
        }
    }
    // Half of a revision is no place: it comes whole again.
    s.apply("kind: engine\nname: x\n---\nkind: engine\nname: y\n").await;
    wanted.extend(["put engine/x".to_owned(), "put engine/y".to_owned()]);
    let s = s.restart().await;
    add(&s, "after").await;
    wanted.push("put engine/after".into());
    let mut events = Events::at(&s, CONFIG, Some(&id)).await;
    let some = events.take(11).await;
    assert_eq!(whats(&some)[10], "put engine/x");
    id = last_id(&some);
    heard.extend(whats(&some[..10]));
    let rest = Events::at(&s, CONFIG, Some(&id)).await.level().await;
    heard.extend(whats(&rest));
    assert_eq!(heard.pop().as_deref(), Some("bookmark"));
    assert_eq!(heard, wanted);
    // The same by a revision alone; what the header says goes before it.
    let since = format!("{CONFIG}&since={from}");
    let all = Events::at(&s, &since, None).await.level().await;
    assert_eq!(whats(&all)[..33], wanted);
    let newest = last_id(&all);
    assert_eq!(whats(&Events::at(&s, &since, Some(&newest)).await.level().await), ["bookmark"]);
    s.stop().await;
}

#[tokio::test]
async fn where_nobody_can_go_on_from_is_said() {
    let s = Server::start().await;
    add(&s, "a").await;
    let at = s.revision().await;
    for id in ["2-1", "1-99", "nonsense", "99"] {
        let mut events = Events::at(&s, CONFIG, Some(id)).await;
        let first = events.next().await.expect("an event");
        assert_eq!(
            (first.name.as_str(), &first.data),
            ("resync", &json!({"revision": at})),
            "{id}"
        );
        assert_eq!(first.id, Some(format!("1-{at}")), "{id}");
    }
    for since in ["2-1", "999", "1-999"] {
        let problem = s.get(&format!("{CONFIG}&since={since}")).await.problem(410, "PGN-A417");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("list again"), "{problem}");
    }
    for (query, why) in [
        ("topics=config,nope", "there are: summary, config, proxies"),
        ("topics=", "there are: summary, config, proxies"),
        ("topics=config&since=soon", "such as 42"),
        ("since=1", "topics=config"),
        ("topic=config", "the parameters are: topics, since"),
    ] {
        let problem = s.get(&format!("/v1/stream?{query}")).await.problem(400, "PGN-A402");
        assert!(problem["detail"].as_str().unwrap_or_default().contains(why), "{problem}");
    }
    s.stop().await;
}

#[tokio::test]
async fn a_store_that_was_put_back_is_another_one() {
    let s = Server::start().await;
    let mut events = Events::at(&s, CONFIG, None).await;
    let id = last_id(&events.level().await);
    drop(events);
    let (data, copy) = (s.data_dir(), s.data_dir().with_extension("copy"));
    let database = Place::File(data.join("pigeon.db"));
    store::backup(&database, &copy).await.expect("a backup");
    add(&s, "a").await;
    let dir = s.stopped().await;
    store::restore(&copy, &database, &data).await.expect("a restored store");
    let s = Server::on(dir, None).await;
    let first = Events::at(&s, CONFIG, Some(&id)).await.next().await.expect("an event");
    assert_eq!(first.name, "resync");
    assert!(first.id.is_some_and(|id| id.starts_with("2-")));
    s.stop().await;
}

#[tokio::test]
async fn proxies_are_told_when_they_change_and_not_more_than_once_a_second() {
    let s = Server::start().await;
    let mut events = Events::at(&s, "/v1/stream?topics=proxies", None).await;
    let mut proxy = Proxy::connect(&s, "p1").await;
    let first = events.next().await.expect("an event");
    assert_eq!((first.name.as_str(), first.id), ("proxy", None));
    assert_eq!((&first.data["name"], &first.data["connected"]), (&json!("p1"), &json!(true)));
    let begun = Instant::now();
    let at = s.revision().await;
    proxy.ack(&s, at, at, vec![]).await;
    let mut told = 0;
    let mut next = async |wanted: &dyn Fn(&Value) -> bool| loop {
        told += 1;
        let event = events.next().await.expect("an event");
        assert_eq!(event.name, "proxy");
        if wanted(&event.data) {
            return event.data;
        }
    };
    next(&|p| p["state"] == "in_sync").await;
    // What it carries is nothing that is told here.
    proxy.report("e", "a:1", 4, 1).await;
    add(&s, "a").await;
    let behind = next(&|p| p["state"] == "behind").await;
    assert_eq!(behind["lag"], 1);
    let at = proxy.receive(at + 1).await;
    proxy.ack(&s, at, at, vec![]).await;
    next(&|p| p["lag"] == 0).await;
    drop(proxy);
    let away = next(&|p| p["connected"] == false).await;
    assert_eq!(away["state"], "disconnected");
    assert!(told <= begun.elapsed().as_secs() + 1, "{told} events in {:?}", begun.elapsed());
    // Whoever comes later hears first how each is.
    let mut late = Events::at(&s, "/v1/stream?topics=config,proxies", None).await;
    let both = late.take(2).await;
    let mut names: Vec<_> = both.iter().map(|e| e.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bookmark", "proxy"]);
    s.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_gets_it_all_later() {
    let s = Server::start().await;
    let mut slow = Events::at(&s, CONFIG, None).await;
    // Much more than all buffers on the way hold.
    let (rounds, text) = (200, "x".repeat(60_000));
    for n in 0..rounds {
        let route = json!({"spec": {"match": {"path": "/x"},
            "answer": {"status": 200, "body": format!("{n} {text}")}}});
        let answer = s.send("PUT", "/v1/routes/r", route).await;
        assert!(answer.status < 300, "{answer:?}");
    }
    let told = slow.take(rounds + 1).await;
    assert_eq!(told[0].name, "bookmark");
    for (n, event) in told[1..].iter().enumerate() {
        let body = event.data.pointer("/object/spec/answer/body").and_then(Value::as_str);
        assert!(body.is_some_and(|body| body.starts_with(&format!("{n} x"))), "{n}");
    }
    s.stop().await;
}

#[tokio::test]
async fn a_revoked_token_ends_every_topic() {
    let s = Server::start().await;
    let made = s.send("POST", "/v1/tokens", json!({"name": "t", "role": "viewer"})).await;
    let token = made.expect(201)["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {token}");
    let path = "/v1/stream?topics=summary,config,proxies";
    let answer = s.raw("GET", path, &[("authorization", &bearer)], "").await;
    let mut events = Events::of(answer);
    events.take(2).await;
    assert_eq!(s.delete("/v1/tokens/t").await.status, 204);
    add(&s, "a").await;
    let rest = async {
        while let Some(event) = events.next().await {
            assert_ne!(event.what(), "put engine/a", "told with a token that is worth nothing");
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("it ends");
    s.stop().await;
}
