//! Who may call what: the token, sessions, and neither.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::server::{Answer, PATIENCE, Server};

/// Every call of the reference, with a body where one is needed.
fn calls() -> Vec<(&'static str, String)> {
    let document: serde_json::Value =
        serde_json::from_str(&pigeon_admin::api::reference()).expect("JSON");
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            if item.get(method.to_lowercase()).is_some() {
                calls.push((method, path.replace("{name}", "a").replace("{code}", "PGN-A401")));
            }
        }
    }
    assert!(calls.len() > 30, "{calls:?}");
    calls
}

#[tokio::test]
async fn nothing_under_v1_answers_without_a_token() {
    let s = Server::start().await;
    let body = json!({"name": "a", "spec": {}}).to_string();
    let json_type = ("content-type", "application/json");
    for (method, path) in calls() {
        let open = !path.starts_with("/v1/") || (method, path.as_str()) == ("POST", "/v1/sessions");
        if open {
            continue;
        }
        let a = s.bare(method, &path, &[json_type], body.clone()).await;
        let p = a.problem(401, "PGN-A401");
        assert!(a.header("www-authenticate").expect("a scheme").starts_with("Bearer"), "{path}");
        assert!(p["detail"].as_str().expect("text").contains("<data-dir>/admin.token"), "{p}");
    }
    for path in ["/v1/nothing", "/v1"] {
        s.bare("GET", path, &[], "").await.problem(401, "PGN-A401");
    }
    s.get("/v1/engines/a").await.problem(404, "PGN-A404");
    s.stop().await;
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_slowed() {
    let s = Server::start().await;
    let wrong = format!("Bearer {}x", s.token);
    let basic = format!("Basic {}", s.token);
    let bare = s.token.clone();
    for value in [wrong.as_str(), &basic, &bare, "Bearer", "Bearer ", ""] {
        let a = s.bare("GET", "/v1/engines", &[("authorization", value)], "").await;
        let p = a.problem(401, "PGN-A401").to_string();
        assert!(!p.contains(&s.token), "the token is not repeated");
    }
    let good = format!("bEARER {}", s.token);
    s.bare("GET", "/v1/engines", &[("authorization", &good)], "").await.expect(200);
    let twice = [("authorization", good.as_str()), ("authorization", good.as_str())];
    s.bare("GET", "/v1/engines", &twice, "").await.problem(401, "PGN-A401");
    let header = [("authorization", wrong.as_str())];
    let many = (0..100).map(|_| s.bare("GET", "/v1/engines", &header, ""));
    let answers = futures_util::future::join_all(many).await;
    assert!(answers.iter().all(|a| [401, 429].contains(&a.status)));
    let a = answers.iter().find(|a| a.status == 429).expect("wrong tokens are limited");
    a.problem(429, "PGN-A429");
    let wait: u64 = a.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    s.get("/v1/engines").await.expect(200);
    s.stop().await;
}

/// The status of one call with a wrong token from an address of this machine.
async fn wrong_token_from(s: &Server, source: [u8; 4]) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("an address");
    let mut tcp = socket.connect(s.addr).await.expect("a connection");
    // Only the address of the connection counts, not what a caller says of itself.
    let text = "GET /v1/engines HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\
                x-forwarded-for: 192.0.2.7\r\nforwarded: for=192.0.2.7\r\nconnection: close\r\n\r\n";
    tcp.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_string(&mut answer)).await;
    read.expect("in time").expect("an answer");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn who_guesses_slows_down_nobody_else() {
    let s = Server::start().await;
    let many = (0..200).map(|_| wrong_token_from(&s, [127, 0, 0, 2]));
    let answers = futures_util::future::join_all(many).await;
    assert!(answers.iter().any(|status| status == "429"), "{answers:?}");
    assert_eq!(wrong_token_from(&s, [127, 0, 0, 3]).await, "401");
    let body = json!({"token": "wrong"}).to_string();
    let json_type = [("content-type", "application/json")];
    s.bare("POST", "/v1/sessions", &json_type, body).await.problem(401, "PGN-A401");
    s.stop().await;
}

async fn log_in(s: &Server) -> (Answer, String) {
    let body = json!({"token": s.token}).to_string();
    let a = s.bare("POST", "/v1/sessions", &[("content-type", "application/json")], body).await;
    assert_eq!((a.status, a.body.len()), (204, 0), "{a:?}");
    let cookie = a.header("set-cookie").expect("a cookie").split(';').next().expect("a pair");
    let cookie = cookie.to_owned();
    (a, cookie)
}

#[tokio::test]
async fn a_session_reads_and_ends_and_nothing_else() {
    let s = Server::start().await;
    let (a, cookie) = log_in(&s).await;
    let full = a.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(full.split("; ").any(|p| p == part), "{full}");
    }
    assert!(!full.contains(&s.token));
    let with = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    let who = s.bare("GET", "/v1/whoami", &with, "").await.expect(200);
    assert_eq!(who, json!({"name": "admin", "role": "viewer"}));
    let body = json!({"name": "a", "spec": {}}).to_string();
    for (method, path) in calls() {
        if !path.starts_with("/v1/") || path == "/v1/sessions" || path == "/v1/stream" {
            continue;
        }
        let a = s.bare(method, &path, &with, body.clone()).await;
        if path.starts_with("/v1/tokens") {
            a.problem(403, "PGN-A414");
        } else if method == "GET" {
            assert!([200, 404].contains(&a.status), "{method} {path}: {a:?}");
        } else {
            a.problem(403, "PGN-A403");
        }
    }
    assert_eq!(s.bare("HEAD", "/v1/engines", &with, "").await.status, 200);
    let a = s.bare("DELETE", "/v1/sessions", &with, "").await;
    assert_eq!(a.status, 204);
    assert!(a.header("set-cookie").expect("a cookie").contains("Max-Age=0"));
    s.bare("GET", "/v1/whoami", &with, "").await.problem(401, "PGN-A401");
    s.bare("DELETE", "/v1/sessions", &with, "").await.problem(401, "PGN-A401");
    assert_eq!(s.delete("/v1/sessions").await.status, 204, "a token has no session to end");
    s.stop().await;
}

#[tokio::test]
async fn a_wrong_login_begins_no_session() {
    let s = Server::start().await;
    let log_in = |body: serde_json::Value| {
        let s = &s;
        async move {
            let headers = [("content-type", "application/json")];
            s.bare("POST", "/v1/sessions", &headers, body.to_string()).await
        }
    };
    log_in(json!({"token": "wrong"})).await.problem(401, "PGN-A401");
    log_in(json!({})).await.problem(422, "PGN-V103");
    log_in(json!({"token": 7})).await.problem(422, "PGN-V102");
    log_in(json!([])).await.problem(422, "PGN-V102");
    log_in(json!({"token": "wrong", "user": "x"})).await.problem(422, "PGN-V101");
    s.bare("POST", "/v1/sessions", &[], "token").await.problem(415, "PGN-A415");
    let made_up = [("cookie", "pigeon_session=0000")];
    s.bare("GET", "/v1/whoami", &made_up, "").await.problem(401, "PGN-A401");
    let json_type = [("content-type", "application/json")];
    let wrong = json!({"token": "wrong"}).to_string();
    let many = (0..100).map(|_| s.bare("POST", "/v1/sessions", &json_type, wrong.clone()));
    let answers = futures_util::future::join_all(many).await;
    assert!(answers.iter().any(|a| a.status == 429), "wrong logins are limited");
    let (_, cookie) = self::log_in(&s).await;
    // A wrong token is not made good by a session.
    let both = [("cookie", cookie.as_str()), ("authorization", "Bearer wrong")];
    let a = s.bare("GET", "/v1/whoami", &both, "").await;
    assert!([401, 429].contains(&a.status), "{a:?}");
    s.stop().await;
}

#[tokio::test]
async fn a_session_is_taken_for_a_loopback_name_alone() {
    let s = Server::start().await;
    let (_, cookie) = log_in(&s).await;
    let port = s.addr.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("localhost".into(), 200),
        (format!("pigeon.example:{port}"), 421),
        ("localhost.example".into(), 421),
    ] {
        let headers = [("host", host.as_str()), ("cookie", cookie.as_str())];
        let a = s.bare("GET", "/v1/whoami", &headers, "").await;
        assert_eq!(a.status, status, "{host}");
        if status == 421 {
            a.problem(421, "PGN-A421");
        }
        let body = json!({"token": s.token}).to_string();
        let headers = [("host", host.as_str()), ("content-type", "application/json")];
        let a = s.bare("POST", "/v1/sessions", &headers, body).await;
        assert_eq!(a.status, if status == 200 { 204 } else { 421 }, "{host}");
    }
    // A token is no cookie: nothing sends it by itself.
    s.call("GET", "/v1/whoami", &[("host", "pigeon.example")], "").await.expect(200);
    s.stop().await;
}

#[tokio::test]
async fn the_history_tells_who_wrote_from_where() {
    let s = Server::start().await;
    let id = [("x-request-id", "check-7.a_b")];
    let a = s.send_with("PUT", "/v1/engines/a", &id, json!({"spec": {}})).await;
    assert_eq!(a.header("x-request-id"), Some("check-7.a_b"));
    let bad = [("x-request-id", "no good")];
    let b = s.send_with("PUT", "/v1/engines/b", &bad, json!({"spec": {}})).await;
    let made = b.header("x-request-id").expect("an id");
    assert!(made.len() == 36 && made != "no good", "{made}");
    let list = s.get("/v1/revisions").await.expect(200);
    assert_eq!(list["items"][0]["actor"], "admin");
    assert_eq!(list["items"][0]["source"], "127.0.0.1");
    s.stop().await;
}
