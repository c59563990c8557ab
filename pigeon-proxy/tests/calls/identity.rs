//! Who calls: API keys in every place, what engines are told, and what nobody can pretend.

use ::hyper::client::conn::http2::SendRequest;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use pigeon_proto::model::KeyHash;

use super::support::*;
use super::told::{Say, Told, told};

on_both_paths! {
    a_key_is_taken_in_each_place_and_ends_here,
    callers_on_one_connection_are_kept_apart,
    who_is_not_known_or_may_not_is_told_no_more,
    a_revoked_key_is_refused_on_a_live_connection,
    a_route_that_does_not_ask_looks_at_nothing,
    nobody_says_itself_who_it_is,
    nor_in_trailers,
    engines_of_http1_are_told_too,
    a_copy_is_told_no_more_than_the_engine,
}

pub const ACME: &str = "pgk_k1_00000000000000000000000000000000";
pub const OTHER: &str = "pgk_k2_00000000000000000000000000000000";
const OLD: &str = "pgk_k3_00000000000000000000000000000000";

/// Two tenants; one of acme's keys has expired.
fn tenants() -> String {
    let hash = |key: &str| KeyHash::of(key.as_bytes());
    format!(
        "---\nkind: tenant\nname: acme\nspec: {{keys: [{{id: k1, sha256: '{}'}}, {{id: k3, sha256: '{}', expires: '2020-01-01T00:00:00Z'}}]}}\n---\nkind: tenant\nname: other\nspec: {{keys: [{{id: k2, sha256: '{}'}}]}}\n",
        hash(ACME),
        hash(OLD),
        hash(OTHER)
    )
}

fn route(auth: &str) -> String {
    format!("---\nkind: route\nname: r\nspec: {{match: {{path: '/*'}}, engine: e{auth}}}\n")
}

fn config(engine_at: &Told, auth: &str) -> String {
    engine(&[engine_at.address], "protocol: h2c") + &route(auth) + &tenants()
}

pub async fn ok() -> Told {
    told(|_| Say::Http(200)).await
}

/// One connection, on which calls follow each other.
pub struct Caller {
    pub sender: SendRequest<Full<Bytes>>,
    pub address: std::net::SocketAddr,
}

impl Caller {
    pub async fn connect(rig: &Rig) -> Self {
        let (sender, _) = rig
            .h2_unread(
                http::Request::get(format!("http://{}/x", rig.address)).body(Bytes::new()).unwrap(),
            )
            .await;
        Self { sender, address: rig.address }
    }

    /// The status and the reason, if the gateway answers.
    pub async fn call(&mut self, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = http::Request::get(format!("http://{}/x", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.unwrap();
        let answer =
            self.sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        body.collect().await.unwrap();
        let reason = head.headers.get("pigeon-reason").map(|r| r.to_str().unwrap());
        (head.status.as_u16(), reason.unwrap_or_default().to_owned())
    }
}

pub fn good() -> (u16, String) {
    (200, String::new())
}

pub fn refused() -> (u16, String) {
    (401, "unauthenticated".into())
}

/// What the engine was told in its last call.
pub fn last(engine: &Told, name: &str) -> Vec<String> {
    let seen = engine.seen();
    let headers = &seen.last().unwrap().headers;
    headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
}

async fn a_key_is_taken_in_each_place_and_ends_here(path: Path) {
    let engine = ok().await;
    let rig = Rig::start(path, &config(&engine, ", auth: api_key")).await;
    let mut caller = Caller::connect(&rig).await;
    let bearer = format!("Bearer {ACME}");
    for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", ACME), ("token", ACME)]
    {
        // The second and third time everything about the head is known already.
        for _ in 0..4 {
            assert_eq!(caller.call(&[(name, value), ("accept", "a")]).await, good(), "{name}");
            assert_eq!(last(&engine, name), [""; 0], "{name}");
            assert_eq!(last(&engine, "accept"), ["a"]);
            assert_eq!(last(&engine, "pigeon-tenant"), ["acme"]);
            assert_eq!(last(&engine, "pigeon-subject"), ["k1"]);
            assert_eq!(last(&engine, "pigeon-auth"), ["api_key"]);
        }
    }
    // What is not a key of the gateway is the engine's.
    let both = [("x-api-key", "theirs"), ("x-api-key", ACME), ("token", ACME)];
    assert_eq!(caller.call(&both).await, good());
    assert_eq!(
        (last(&engine, "x-api-key"), last(&engine, "token").len()),
        (vec!["theirs".into()], 0)
    );
    let (gets, keys) = (rig.metrics.render(), [ACME, "0000000000000000"]);
    assert!(keys.iter().all(|key| !gets.contains(key)));
}

async fn callers_on_one_connection_are_kept_apart(path: Path) {
    let engine = ok().await;
    let rig = Rig::start(path, &config(&engine, ", auth: api_key")).await;
    let mut caller = Caller::connect(&rig).await;
    for _ in 0..6 {
        for (key, tenant) in [(ACME, "acme"), (OTHER, "other")] {
            assert_eq!(caller.call(&[("x-api-key", key)]).await, good());
            assert_eq!(last(&engine, "pigeon-tenant"), [tenant]);
        }
        assert_eq!(caller.call(&[]).await, refused());
    }
}

async fn who_is_not_known_or_may_not_is_told_no_more(path: Path) {
    let engine = ok().await;
    let rig =
        Rig::start(path, &config(&engine, ", auth: {methods: [api_key], tenants: [acme]}")).await;
    let mut caller = Caller::connect(&rig).await;
    let wrong = format!("{}1", &ACME[..ACME.len() - 1]);
    for bad in [&wrong, OLD, "pgk_k9_00000000", "pgk_", "nothing"] {
        for _ in 0..3 {
            assert_eq!(caller.call(&[("x-api-key", bad)]).await, refused(), "{bad}");
        }
    }
    assert_eq!(caller.call(&[("x-api-key", OTHER)]).await, (403, "forbidden".into()));
    assert_eq!(engine.calls(), 0);
    let get = |key: &str| {
        let request = http::Request::get(format!("http://{}/x", rig.address));
        request.header("x-api-key", key).body(Bytes::new()).unwrap()
    };
    let answer = rig.h2(get(&wrong)).await;
    assert_eq!(answer.head.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    let body = answer.body.unwrap();
    assert!(!body.windows(4).any(|w| w == b"pgk_") && body.starts_with(b"{"), "{body:?}");
    let status = rig.echo().ping(with(ping(), &[("token", &wrong)])).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (tonic::Code::Unauthenticated, Some("unauthenticated"))
    );
    let metrics = rig.metrics.render();
    let line = r#"pigeon_rejections_total{engine="e",reason="unauthenticated",route="r"} "#;
    assert!(metrics.contains(line), "{metrics}");
    // The engine has nothing to do with it.
    eventually(|| rig.gateway.calls_open() == 0).await;
    assert_eq!(rig.usage().failures, 0);
}

async fn a_revoked_key_is_refused_on_a_live_connection(path: Path) {
    let engine = ok().await;
    let config = config(&engine, ", auth: api_key");
    let rig = Rig::start(path, &config).await;
    let mut caller = Caller::connect(&rig).await;
    for _ in 0..3 {
        assert_eq!(caller.call(&[("x-api-key", ACME)]).await, good());
    }
    rig.install(&config.replace("id: k1", "id: k7"));
    assert_eq!(caller.call(&[("x-api-key", ACME)]).await, refused());
    rig.install(&config);
    assert_eq!(caller.call(&[("x-api-key", ACME)]).await, good());
}

async fn a_route_that_does_not_ask_looks_at_nothing(path: Path) {
    let engine = ok().await;
    let config = config(&engine, "");
    let rig = Rig::start(path, &config).await;
    let mut caller = Caller::connect(&rig).await;
    for _ in 0..3 {
        assert_eq!(caller.call(&[("x-api-key", "pgk_k1_wrong")]).await, good());
        assert_eq!(last(&engine, "x-api-key"), ["pgk_k1_wrong"]);
        assert_eq!(last(&engine, "pigeon-auth"), [""; 0]);
    }
    // The same head, known by now, under a route that asks.
    rig.install(&config.replace("engine: e}", "engine: e, auth: api_key}"));
    assert_eq!(caller.call(&[("x-api-key", "pgk_k1_wrong")]).await, refused());
    assert_eq!(caller.call(&[("x-api-key", ACME)]).await, good());
    assert_eq!(last(&engine, "x-api-key"), [""; 0]);
}

async fn nobody_says_itself_who_it_is(path: Path) {
    let engine = ok().await;
    for auth in ["", ", auth: api_key"] {
        let rig = Rig::start(path, &config(&engine, auth)).await;
        let mut caller = Caller::connect(&rig).await;
        for _ in 0..3 {
            let forged = [
                ("x-api-key", ACME),
                ("pigeon-tenant", "root"),
                ("pigeon-subject", "root"),
                ("pigeon-auth", "jwt"),
            ];
            assert_eq!(caller.call(&forged).await, good());
            let wanted: &[&str] = if auth.is_empty() { &[] } else { &["acme"] };
            assert_eq!(last(&engine, "pigeon-tenant"), wanted);
            assert!(!last(&engine, "pigeon-subject").contains(&"root".to_owned()));
        }
    }
}

async fn engines_of_http1_are_told_too(path: Path) {
    let demo = demo().await;
    let config =
        engine(&[demo.address], "protocol: http1") + &route(", auth: api_key") + &tenants();
    let rig = Rig::start(path, &config).await;
    let hello = |key: &str| {
        format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n")
    };
    assert!(rig.raw(&hello(ACME)).await.starts_with("HTTP/1.1 200 "));
    let answer = rig.raw(&hello(OLD)).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    let mut caller = Caller::connect(&rig).await;
    assert_eq!(caller.call(&[]).await, refused());
    let (status, reason) = caller.call(&[("token", ACME)]).await;
    assert_eq!((status, reason.as_str()), (404, ""), "the engine's own");
}

async fn a_copy_is_told_no_more_than_the_engine(path: Path) {
    let (engine, copy) = (ok().await, ok().await);
    let other = self::engine(&[copy.address], "protocol: h2c").replace("name: e\n", "name: c\n");
    let config = config(&engine, ", auth: api_key, shadow: {engine: c, percent: 100}");
    let rig = Rig::start(path, &format!("{config}\n---\n{other}")).await;
    let mut caller = Caller::connect(&rig).await;
    assert_eq!(caller.call(&[("x-api-key", ACME)]).await, good());
    let copied = || copy.seen().iter().any(|seen| seen.headers.contains_key("pigeon-tenant"));
    eventually(copied).await;
    assert_eq!(last(&copy, "x-api-key"), [""; 0]);
    assert_eq!(last(&copy, "pigeon-tenant"), ["acme"]);
}

/// By HTTP/2, and in the chunks of HTTP/1.1.
async fn nor_in_trailers(path: Path) {
    let engine_e = told(|_| Say::Grpc(0)).await;
    let config = engine(&[engine_e.address], "protocol: h2c") + &route("");
    let rig = Rig::start(path, &config).await;
    let trailers = [("pigeon-tenant", "root"), ("x-sum", "1"), ("pigeon-other", "2")];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    for ours_only in [false, true, false] {
        let mut map = http::HeaderMap::from_iter(trailers.clone());
        if ours_only {
            map.remove("x-sum");
        }
        let body =
            Full::new(Bytes::from_static(b"x")).with_trailers(std::future::ready(Some(Ok(map))));
        let socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            ::hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(socket))
                .await
                .unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://x/a").body(body).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
    let raw = "POST /a HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close, te\r\ntransfer-encoding: chunked\r\n\
        trailer: pigeon-tenant, x-sum\r\n\r\n1\r\nx\r\n0\r\nPigeon-Tenant: root\r\nx-sum: 1\r\n\r\n";
    assert!(rig.raw(raw).await.starts_with("HTTP/1.1 200 "));
    let seen = engine_e.seen();
    assert_eq!(seen.len(), 4);
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!(&seen.body[..], b"x");
        let trailers = seen.trailers.clone().unwrap_or_default();
        let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, if n == 1 { vec![] } else { vec!["x-sum"] }, "call {n}");
    }
}
