//! Tokens (JWT): where their keys come from, what callers and engines are told, and who does not get in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pigeon_proxy::config::Timings;
use pigeon_proxy::filter::identity::ShownKeys;
use pigeon_proxy::jwks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::identity::{Caller, good, last, ok, refused};
use super::support::*;
use super::tls::pki::Pki;
use super::told::Told;

#[path = "../../src/filter/identity/tokens/signer.rs"]
mod signer;

use signer::Signer;

on_both_paths! {
    a_token_is_taken_and_what_it_says_is_told,
    callers_on_one_connection_are_kept_apart,
    who_is_not_believed_is_told_so,
    claims_that_a_route_asks_for,
    keys_in_a_file_are_read_again,
    keys_come_from_a_server_that_can_be_trusted,
    a_server_that_fails_takes_nothing_away,
    without_keys_nobody_with_a_token_gets_in,
    limits_of_tenants_and_callers,
    calls_of_a_tenant_go_to_the_same_endpoint,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(subject: &str) -> Value {
    json!({"iss": "idp", "aud": "pigeon", "sub": subject, "exp": now() + 600, "scope": "a b"})
}

/// As a caller sends it.
fn bearer(signer: &Signer, claims: &Value) -> String {
    format!("Bearer {}", signer.token("k", claims))
}

/// A listener that believes `idp`, whose keys are at `jwks`; ann is acme.
fn config(engine: &str, jwks: &str, route: &str) -> String {
    format!(
        "{engine}---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1', jwt: [{{issuer: idp, audiences: [pigeon], jwks: {jwks}, tenant_claim: org}}]}}\n\
         ---\nkind: tenant\nname: acme\nspec: {{subjects: [{{issuer: idp, subject: ann}}]}}\n\
         ---\nkind: tenant\nname: umbrella\nspec: {{}}\n\
         ---\nkind: route\nname: r\nspec: {{match: {{path: '/*'}}, engine: e{route}}}\n"
    )
}

const JWT: &str = ", auth: jwt";

/// A folder with `jwks.json`.
struct Keys(tempfile::TempDir);

impl Keys {
    fn of(signers: &[&Signer]) -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        keys.write(&jwks_of(signers));
        keys
    }

    fn path(&self) -> String {
        self.0.path().join("jwks.json").display().to_string()
    }

    fn write(&self, text: &[u8]) {
        let new = self.0.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}

/// The first is called `k`, the others by their place.
fn jwks_of(signers: &[&Signer]) -> Vec<u8> {
    let name = |n: usize| if n == 0 { "k".to_owned() } else { n.to_string() };
    let keys: Vec<_> = signers.iter().enumerate().map(|(n, s)| s.jwk(&name(n))).collect();
    signer::jwks(&keys)
}

/// Follows the keys as a proxy does.
fn follow(rig: &Rig) -> tokio_util::sync::DropGuard {
    let stop = CancellationToken::new();
    let timings = Timings { file_settle: Duration::from_millis(20), ..Timings::default() };
    tokio::spawn(jwks::run(Arc::clone(&rig.gateway), timings, stop.clone()));
    stop.drop_guard()
}

fn shown(rig: &Rig) -> ShownKeys {
    rig.gateway.key_sources().first().map(|source| source.shown()).unwrap()
}

async fn start(path: Path, config: &str) -> (Rig, tokio_util::sync::DropGuard) {
    let rig = Rig::start(path, config).await;
    let following = follow(&rig);
    (rig, following)
}

/// The same, once there are keys.
async fn ready(path: Path, config: &str) -> (Rig, tokio_util::sync::DropGuard) {
    let (rig, following) = start(path, config).await;
    eventually(|| shown(&rig).count > 0).await;
    (rig, following)
}

fn one(engine_at: &Told) -> String {
    engine(&[engine_at.address], "protocol: h2c")
}

async fn a_token_is_taken_and_what_it_says_is_told(path: Path) {
    let (engine, signer) = (ok().await, Signer::new("RS256"));
    let keys = Keys::of(&[&signer]);
    let (rig, _following) = ready(path, &config(&one(&engine), &keys.path(), JWT)).await;
    let mut caller = Caller::connect(&rig).await;
    let token = bearer(&signer, &claims("ann"));
    let forged = [
        ("authorization", token.as_str()),
        ("pigeon-tenant", "root"),
        ("pigeon-subject", "root"),
        ("pigeon-auth", "certificate"),
    ];
    for _ in 0..4 {
        assert_eq!(caller.call(&forged).await, good());
        assert_eq!(last(&engine, "pigeon-tenant"), ["acme"]);
        assert_eq!(last(&engine, "pigeon-subject"), ["ann"]);
        assert_eq!(last(&engine, "pigeon-auth"), ["jwt"]);
        // Tokens are for engines, too.
        assert_eq!(last(&engine, "authorization"), [token.as_str()]);
    }
    let mut named = claims("bob\u{e9} %");
    named["org"] = json!("umbrella");
    let token = bearer(&signer, &named);
    assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    assert_eq!(last(&engine, "pigeon-tenant"), ["umbrella"]);
    assert_eq!(last(&engine, "pigeon-subject"), ["bob%C3%A9 %25"]);
    // The same head under another configuration: acme is somebody else's.
    let moved = config(&one(&engine), &keys.path(), JWT).replace("subject: ann", "subject: eve");
    rig.install(&moved);
    let token = bearer(&signer, &claims("ann"));
    assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    assert_eq!(last(&engine, "pigeon-tenant"), [""; 0]);
    rig.install(&moved.replace(JWT, ", auth: {methods: [jwt], tenants: [acme]}"));
    assert_eq!(caller.call(&[("authorization", &token)]).await, (403, "forbidden".into()));
}

async fn callers_on_one_connection_are_kept_apart(path: Path) {
    let (engine, signer) = (ok().await, Signer::new("ES256"));
    let keys = Keys::of(&[&signer]);
    let config = config(&one(&engine), &keys.path(), ", auth: {methods: [jwt, api_key]}");
    let (rig, _following) = ready(path, &config).await;
    let mut caller = Caller::connect(&rig).await;
    let tokens = ["ann", "bob", "eve"].map(|who| (who, bearer(&signer, &claims(who))));
    let key = super::identity::ACME;
    for _ in 0..5 {
        for (who, token) in &tokens {
            assert_eq!(caller.call(&[("authorization", token)]).await, good());
            assert_eq!(last(&engine, "pigeon-subject"), [*who]);
        }
        assert_eq!(caller.call(&[]).await, refused());
        // A bad key is not made good by a token, and the other way round.
        assert_eq!(caller.call(&[("authorization", "Bearer nothing")]).await, refused());
        assert_eq!(caller.call(&[("authorization", &format!("Bearer {key}"))]).await, refused());
    }
}

async fn who_is_not_believed_is_told_so(path: Path) {
    let (engine, signer) = (ok().await, Signer::new("EdDSA"));
    let keys = Keys::of(&[&signer]);
    let text = config(&one(&engine), &keys.path(), JWT)
        + "---\nkind: route\nname: g\nspec: {match: {grpc: pigeon.demo.v1.Echo}, engine: e, auth: jwt}\n";
    let (rig, _following) = ready(path, &text).await;
    let mut caller = Caller::connect(&rig).await;
    let token = bearer(&signer, &claims("ann"));
    let mut expired = claims("ann");
    expired["exp"] = json!(now() - 61);
    let stranger = bearer(&Signer::new("EdDSA"), &claims("ann"));
    for bad in ["Bearer .", "Bearer a.b.c", &token.replace("Bearer ", "Bearer x"), &stranger] {
        for _ in 0..3 {
            assert_eq!(caller.call(&[("authorization", bad)]).await, refused(), "{bad}");
        }
    }
    let expired = bearer(&signer, &expired);
    assert_eq!(caller.call(&[("authorization", &expired)]).await, refused());
    for twice in [[&token, &stranger], [&stranger, &token], [&token, &token]] {
        let twice = twice.map(|token| ("authorization", token.as_str()));
        assert_eq!(caller.call(&twice).await, refused());
    }
    assert_eq!(caller.call(&[("x-api-key", &token), ("token", &token)]).await, refused());
    assert_eq!(engine.calls(), 0);
    let get = |token: Option<&str>| {
        let mut request = http::Request::get(format!("http://{}/x", rig.address));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request.body(Bytes::new()).unwrap()
    };
    let challenges =
        [(None, "Bearer"), (Some(stranger.as_str()), "Bearer error=\"invalid_token\"")];
    for (token, challenge) in challenges {
        let answer = rig.h2(get(token)).await;
        assert_eq!(answer.head.headers["www-authenticate"], challenge);
        let body = answer.body.unwrap();
        assert!(!body.windows(3).any(|w| w == b"eyJ") && body.starts_with(b"{"), "{body:?}");
    }
    let metadata = [("authorization", stranger.as_str())];
    let status = rig.echo().ping(with(ping(), &metadata)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unauthenticated, Some("unauthenticated")));
    assert!(status.message().contains("credential") && !status.message().contains("eyJ"));
    assert!(!rig.metrics.render().contains("eyJ"));
}

async fn claims_that_a_route_asks_for(path: Path) {
    let (engine, signer) = (ok().await, Signer::new("PS256"));
    let keys = Keys::of(&[&signer]);
    let auth = ", auth: {methods: [jwt], claims: {scope: b, role: admin}}";
    let (rig, _following) = ready(path, &config(&one(&engine), &keys.path(), auth)).await;
    let mut caller = Caller::connect(&rig).await;
    for (role, passes) in [
        (json!("admin"), true),
        (json!(["user", "admin"]), true),
        (json!("user"), false),
        (json!("admin user"), false),
        (Value::Null, false),
    ] {
        let mut claims = claims("ann");
        claims["role"] = role.clone();
        let token = bearer(&signer, &claims);
        let wanted = if passes { good() } else { (403, "forbidden".into()) };
        for _ in 0..2 {
            assert_eq!(caller.call(&[("authorization", &token)]).await, wanted, "{role}");
        }
    }
    let token = bearer(&signer, &claims("ann"));
    let request = http::Request::get(format!("http://{}/x", rig.address));
    let request = request.header("authorization", &token).body(Bytes::new()).unwrap();
    let answer = rig.h2(request).await;
    let challenge = &answer.head.headers["www-authenticate"];
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\"");
    let body = String::from_utf8(answer.body.unwrap().to_vec()).unwrap();
    assert!(body.contains("does not have the role"), "{body}");
}

async fn keys_in_a_file_are_read_again(path: Path) {
    let (engine, old, new) = (ok().await, Signer::new("ES256"), Signer::new("ES384"));
    let keys = Keys::of(&[&old]);
    let (rig, _following) = ready(path, &config(&one(&engine), &keys.path(), JWT)).await;
    let mut caller = Caller::connect(&rig).await;
    let (of_old, of_new) = (bearer(&old, &claims("ann")), bearer(&new, &claims("ann")));
    assert_eq!(caller.call(&[("authorization", &of_old)]).await, good());
    assert_eq!(caller.call(&[("authorization", &of_new)]).await, refused());
    // Something that is no key set changes nothing, and is told.
    keys.write(b"{\"keys\": [");
    eventually(|| shown(&rig).error.is_some()).await;
    assert_eq!(caller.call(&[("authorization", &of_old)]).await, good());
    let metrics = rig.metrics.render();
    let errors = format!("pigeon_jwks_errors_total{{jwks=\"{}\"}} 1\n", keys.path());
    assert!(metrics.contains(&errors), "{metrics}");
    assert!(shown(&rig).error.unwrap().contains("not a JWKS"));
    keys.write(&jwks_of(&[&new]));
    eventually(|| shown(&rig).error.is_none()).await;
    assert_eq!(caller.call(&[("authorization", &of_new)]).await, good());
    assert_eq!(caller.call(&[("authorization", &of_old)]).await, refused());
    assert!(
        rig.metrics.render().contains(&format!("pigeon_jwks_keys{{jwks=\"{}\"}} 1\n", keys.path()))
    );
}

/// A server of keys that answers with whatever it is told to.
#[derive(Clone)]
struct Server {
    address: std::net::SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, answer: Arc::default(), asked: Arc::default() };
        let own = server.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                own.asked.fetch_add(1, Ordering::SeqCst);
                let answer = own.answer.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(socket.read_u8().await.unwrap());
                    }
                    assert!(request.starts_with(b"GET /keys?v=1 HTTP/1.1\r\n"));
                    let _ = socket.write_all(&answer).await;
                });
            }
        });
        server
    }

    fn say(&self, head: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        *self.answer.lock().unwrap() = [head.as_bytes(), body].concat();
    }

    fn url(&self) -> String {
        format!("'http://{}/keys?v=1'", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn keys_come_from_a_server_that_can_be_trusted(path: Path) {
    let (engine, signer, server) = (ok().await, Signer::new("RS512"), Server::start().await);
    server.say("200 OK", &jwks_of(&[&signer]));
    let (pki, stranger) = (Pki::new(), Pki::new());
    pki.issue("idp", &["localhost"]);
    let front = pki.before("idp", &[b"http/1.1"], false, server.address).await;
    let (port, ca) = (front.address.port(), pki.path("ca.pem"));
    let url = format!("'https://localhost:{port}/keys?v=1', ca: {}", ca.display());
    let (rig, _following) = ready(path, &config(&one(&engine), &url, JWT)).await;
    let mut caller = Caller::connect(&rig).await;
    let token = bearer(&signer, &claims("ann"));
    assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    // Another one's word is worth nothing, and nobody is asked behind it.
    let asked = server.asked();
    let foreign = stranger.path("ca.pem").display().to_string();
    let other = url.replace(&pki.path("ca.pem").display().to_string(), &foreign);
    rig.install(&config(&one(&engine), &other, JWT));
    eventually(|| shown(&rig).error.is_some()).await;
    assert!(shown(&rig).error.unwrap().contains("TLS"), "{:?}", shown(&rig));
    assert_eq!(caller.call(&[("authorization", &token)]).await, (503, "no_keys".into()));
    assert_eq!(server.asked(), asked);
}

async fn a_server_that_fails_takes_nothing_away(path: Path) {
    let (engine, signer, server) = (ok().await, Signer::new("EdDSA"), Server::start().await);
    server.say("200 OK", &jwks_of(&[&signer]));
    let (rig, _following) = ready(path, &config(&one(&engine), &server.url(), JWT)).await;
    let mut caller = Caller::connect(&rig).await;
    let fresh = || bearer(&signer, &claims("ann"));
    assert_eq!(caller.call(&[("authorization", &fresh())]).await, good());
    let large = vec![b' '; 2 << 20];
    for (head, body, why) in [
        ("500 Internal Server Error", &b"no"[..], "500"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", b"", "redirects are not followed"),
        ("200 OK", b"<html>", "not a JWKS"),
        ("200 OK", b"{\"keys\":[]}", "none of its 0 keys"),
        ("200 OK", &large, "cannot be read to its end"),
        ("nonsense", b"", "no good"),
    ] {
        server.say(head, body);
        rig.gateway.reload().ask();
        let told = || shown(&rig).error.is_some_and(|error| error.contains(why));
        eventually(told).await;
        assert_eq!(caller.call(&[("authorization", &fresh())]).await, good(), "{why}");
        let seen = shown(&rig);
        assert_eq!((seen.count, seen.names), (1, vec!["k".to_owned()]));
    }
    let new = Signer::new("ES256");
    server.say("200 OK\r\ncache-control: max-age=60", &jwks_of(&[&new, &signer]));
    rig.gateway.reload().ask();
    eventually(|| shown(&rig).error.is_none()).await;
    assert_eq!(caller.call(&[("authorization", &bearer(&new, &claims("bob")))]).await, good());
}

async fn without_keys_nobody_with_a_token_gets_in(path: Path) {
    let (engine, signer, server) = (ok().await, Signer::new("EdDSA"), Server::start().await);
    server.say("503 Service Unavailable", b"");
    let text = config(&one(&engine), &server.url(), JWT)
        + "---\nkind: route\nname: g\nspec: {match: {grpc: pigeon.demo.v1.Echo}, engine: e, auth: jwt}\n";
    let (rig, _following) = start(path, &text).await;
    let token = bearer(&signer, &claims("ann"));
    let mut caller = Caller::connect(&rig).await;
    for _ in 0..3 {
        let answer = caller.call(&[("authorization", &token)]).await;
        assert_eq!(answer, (503, "no_keys".into()));
    }
    // Who brings none, or one that would be no good anyway, learns what there is to learn.
    assert_eq!(caller.call(&[]).await, refused());
    assert_eq!(caller.call(&[("authorization", "Bearer x")]).await, refused());
    let metadata = [("authorization", token.as_str())];
    let status = rig.echo().ping(with(ping(), &metadata)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("no_keys")));
    assert_eq!(engine.calls(), 0);
    // By itself: it is tried again soon.
    server.say("200 OK", &jwks_of(&[&signer]));
    eventually(|| shown(&rig).count == 1).await;
    assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    // Another configuration keeps the keys that were read.
    let asked = server.asked();
    rig.install(&text.replace("subject: ann", "subject: bob"));
    assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    assert_eq!(server.asked(), asked);
}

async fn limits_of_tenants_and_callers(path: Path) {
    let (engine, signer) = (ok().await, Signer::new("EdDSA"));
    let keys = Keys::of(&[&signer]);
    let limits = ", auth: jwt, limits: [{rate: 1/h, burst: 2, per: caller}, {rate: 1/h, burst: 3, per: tenant}]";
    let (rig, _following) = ready(path, &config(&one(&engine), &keys.path(), limits)).await;
    let mut caller = Caller::connect(&rig).await;
    let of = |subject: &str, n: u32| {
        let mut claims = claims(subject);
        (claims["org"], claims["n"]) = (json!("umbrella"), json!(n));
        bearer(&signer, &claims)
    };
    let limited = || (429, "rate_limited".to_owned());
    // Whatever token a caller brings it is the same caller; a tenant's callers share what the tenant has.
    for (subject, wanted) in [
        ("bob", good()),
        ("bob", good()),
        ("bob", limited()),
        ("eve", good()),
        ("eve", limited()),
        ("ann", good()),
        ("ann", good()),
        ("ann", limited()),
    ] {
        let n = engine.calls() as u32;
        let token = of(subject, n);
        assert_eq!(caller.call(&[("authorization", &token)]).await, wanted, "{subject} {n}");
    }
}

async fn calls_of_a_tenant_go_to_the_same_endpoint(path: Path) {
    let (engines, signer) = ([ok().await, ok().await, ok().await], Signer::new("EdDSA"));
    let keys = Keys::of(&[&signer]);
    let addresses: Vec<_> = engines.iter().map(|engine| engine.address).collect();
    let engine = engine(&addresses, "protocol: h2c, balance: hash, hash_key: tenant");
    let (rig, _following) = ready(path, &config(&engine, &keys.path(), JWT)).await;
    let mut caller = Caller::connect(&rig).await;
    for n in 0..9 {
        let mut claims = claims(&format!("caller-{n}"));
        claims["org"] = json!("umbrella");
        let token = bearer(&signer, &claims);
        assert_eq!(caller.call(&[("authorization", &token)]).await, good());
    }
    let mut calls = engines.each_ref().map(Told::calls);
    calls.sort_unstable();
    assert_eq!(calls, [0, 0, 9]);
}
