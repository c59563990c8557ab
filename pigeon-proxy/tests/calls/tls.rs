//! Calls by TLS, on either side and on both: who is trusted, what is agreed on, and what changes while it runs.

#[path = "tls/pki.rs"]
pub mod pki;

use std::sync::Arc;
use std::time::Duration;

use ::hyper::client::conn::http2::SendRequest;
use ::hyper_util::rt::{TokioExecutor, TokioIo};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::echo_client::EchoClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proxy::config::Timings;
use pigeon_proxy::tls::reload;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use self::pki::{Front, Pki, channel, connect};
use super::support::*;

const H2: &[&[u8]] = &[b"h2"];
const H1: &[&[u8]] = &[b"http/1.1"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

on_both_paths! {
    every_kind_of_call_by_tls_on_both_sides,
    http1_and_http2_by_tls_to_every_kind_of_engine,
    what_is_agreed_on_is_what_is_spoken,
    a_client_that_agrees_on_nothing_is_looked_at,
    bytes_in_the_clear_and_tls_are_told_apart,
    certificates_are_chosen_by_name,
    client_certificates_are_asked_for,
    old_versions_are_refused,
    sessions_are_resumed,
    sessions_with_engines_are_resumed,
    new_files_are_for_new_connections,
    broken_files_change_nothing,
    files_that_cannot_be_used_leave_the_listener_as_it_was,
    silent_and_slow_clients_are_closed,
    large_bodies_by_tls_wait_for_slow_readers,
    small_records_and_new_keys,
    a_drain_says_goodbye,
    engines_that_are_not_trusted_get_no_calls,
    an_engine_that_comes_to_speak_tls_gets_no_more_calls_in_the_clear,
    health_is_checked_by_tls,
}

fn listener(pki: &Pki, names: &[&str], rest: &str) -> String {
    let files: Vec<_> = names.iter().map(|name| pki.files(name)).collect();
    let files = files.join(", ");
    format!(
        "\n---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1', header_timeout: 5s, \
         tls: {{certificates: [{files}]{rest}}}}}\n"
    )
}

fn tls_engine(front: &Front, pki: &Pki, rest: &str) -> String {
    let ca = pki.path("ca.pem").display().to_string();
    engine(&[front.address], &format!("tls: {{ca: {ca}, server_name: engine.test}}{rest}"))
}

/// A root, a listener with a certificate for a.test, and an engine in the clear.
async fn plain_engine(path: Path, pki: &Pki, rest: &str) -> (Rig, Demo) {
    pki.issue("a", &["a.test"]);
    let demo = demo().await;
    let text = engine(&[demo.address], "") + ROUTES + &listener(pki, &["a"], rest);
    (Rig::start(path, &text).await, demo)
}

type H2Sender = SendRequest<Full<Bytes>>;

async fn h2(stream: TlsStream<TcpStream>) -> H2Sender {
    let io = TokioIo::new(stream);
    let (sender, connection) =
        ::hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut H2Sender, path: &str) -> http::Result<(u16, Bytes)> {
    let request = http::Request::get(format!("https://a.test{path}")).body(Full::default())?;
    sender.ready().await.unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await.unwrap().to_bytes()))
}

/// Sends text, and reads up to the end of the connection.
async fn raw(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(FOR_EVER, stream.read_to_end(&mut answer));
    let _ = read.await.expect("never ends");
    String::from_utf8_lossy(&answer).into_owned()
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

async fn every_kind_of_call_by_tls_on_both_sides(path: Path) {
    let pki = Pki::new();
    pki.issue("a", &["a.test"]);
    pki.issue("engine", &["engine.test"]);
    pki.issue("proxy", &["proxy.test"]);
    let demo = demo().await;
    let front = pki.before("engine", H2, true, demo.address).await;
    let own = pki.files("proxy");
    let ca = pki.path("ca.pem").display().to_string();
    let own = own.trim_matches(['{', '}']).to_owned();
    let tls = format!("tls: {{ca: {ca}, server_name: engine.test, {own}}}");
    let text = engine(&[front.address], &tls) + ROUTES + &listener(&pki, &["a"], "");
    let rig = Rig::start(path, &text).await;
    let to = channel(pki.client(None, H2), "a.test", rig.address);
    let knobs = [("demo-echo-headers", "x-forwarded-proto")];
    let reply = EchoClient::new(to.clone()).ping(with(ping(), &knobs)).await.unwrap();
    assert_eq!(reply.get_ref().payload, "hello");
    let audio = tokio_stream::iter(vec![chunk(b"abc"), chunk(b"defg")]);
    let heard = SpeechClient::new(to.clone()).transcribe(audio).await.unwrap().into_inner().heard;
    assert_eq!(heard, 7);
    let tokens = ChatClient::new(to.clone()).generate(prompt(50)).await.unwrap().into_inner();
    assert_eq!(tokens.count().await, 50);
    let (send, audio) = upload();
    let mut answers = SpeechClient::new(to.clone()).recognize(audio).await.unwrap().into_inner();
    for heard in 1..=20 {
        send.send(chunk(b"x")).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().heard, heard);
    }
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (4, 0));
    let met = front.met();
    assert!(met.iter().all(|m| m.alpn.as_deref() == Some("h2") && m.certificate), "{met:?}");
    assert_eq!(met[0].host.as_deref(), Some("engine.test"));
}

async fn http1_and_http2_by_tls_to_every_kind_of_engine(path: Path) {
    let pki = Pki::new();
    pki.issue("a", &["a.test"]);
    pki.issue("engine", &["engine.test"]);
    let demo = demo().await;
    for (protocol, alpn) in [("auto", "http/1.1"), ("http1", "http/1.1"), ("h2", "h2")] {
        let front = pki.before("engine", BOTH, false, demo.address).await;
        let text = tls_engine(&front, &pki, &format!(", protocol: {protocol}"))
            + ROUTES
            + &listener(&pki, &["a"], "");
        let rig = Rig::start(path, &text).await;
        let config = Arc::new(pki.client(None, H1));
        let mut stream = connect(&config, "a.test", rig.address).await.unwrap();
        let answer = raw(&mut stream, HELLO).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{protocol}: {answer}");
        let config = Arc::new(pki.client(None, H2));
        let mut sender = h2(connect(&config, "a.test", rig.address).await.unwrap()).await;
        let (status, body) = get(&mut sender, "/hello").await.unwrap();
        assert_eq!((status, &body[..]), (200, &b"hello from demo-1\n"[..]), "{protocol}");
        let met = front.met();
        assert!(met.iter().all(|m| m.alpn.as_deref() == Some(alpn)), "{protocol}: {met:?}");
        rig.until_free().await;
    }
}

async fn what_is_agreed_on_is_what_is_spoken(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    for (alpn, agreed) in [(H2, "h2"), (H1, "http/1.1"), (BOTH, "h2")] {
        let config = Arc::new(pki.client(None, alpn));
        let stream = connect(&config, "a.test", rig.address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
    }
    // Agreed on HTTP/2, then HTTP/1.1: closed without an answer.
    let config = Arc::new(pki.client(None, H2));
    let mut stream = connect(&config, "a.test", rig.address).await.unwrap();
    assert_eq!(raw(&mut stream, HELLO).await, "");
    let nothing_in_common = Arc::new(pki.client(None, &[b"smtp"]));
    assert!(connect(&nothing_in_common, "a.test", rig.address).await.is_err());
}

async fn a_client_that_agrees_on_nothing_is_looked_at(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    let config = Arc::new(pki.client(None, &[]));
    let mut stream = connect(&config, "a.test", rig.address).await.unwrap();
    assert!(raw(&mut stream, HELLO).await.ends_with("hello from demo-1\n"));
    let mut sender = h2(connect(&config, "a.test", rig.address).await.unwrap()).await;
    assert_eq!(get(&mut sender, "/hello").await.unwrap().0, 200);
}

async fn bytes_in_the_clear_and_tls_are_told_apart(path: Path) {
    let pki = Pki::new();
    let (rig, demo) = plain_engine(path, &pki, "").await;
    // An alert may come, an answer does not.
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(HELLO.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let line = r#"pigeon_tls_handshakes_total{listener="default",result="failed"} 1"#;
    eventually(|| rig.metrics.render().contains(line)).await;
    let plain = Rig::start(path, &(engine(&[demo.address], "") + ROUTES)).await;
    let config = Arc::new(pki.client(None, BOTH));
    let shaken = tokio::time::timeout(FOR_EVER, connect(&config, "a.test", plain.address)).await;
    assert!(shaken.expect("hangs").is_err());
}

async fn certificates_are_chosen_by_name(path: Path) {
    let pki = Pki::new();
    for (name, hosts) in
        [("a", &["a.test"][..]), ("wild", &["*.b.test"]), ("exact", &["x.b.test", "c.test"])]
    {
        pki.issue(name, hosts);
    }
    let demo = demo().await;
    let text = engine(&[demo.address], "") + ROUTES + &listener(&pki, &["a", "wild", "exact"], "");
    let rig = Rig::start(path, &text).await;
    let config = Arc::new(pki.client(None, BOTH));
    let shown = async |host: &str| {
        let stream = connect(&config, host, rig.address).await.ok()?;
        Some(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
    };
    let exact = shown("x.b.test").await.unwrap();
    assert_eq!(shown("c.test").await.as_ref(), Some(&exact));
    let wild = shown("y.b.test").await.unwrap();
    assert!(wild != exact && shown("a.test").await.unwrap() != wild);
    // The first, which is not for this name.
    assert_eq!(shown("other.test").await, None);
}

async fn client_certificates_are_asked_for(path: Path) {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("client", &["client.test"]);
    other.issue("stranger", &["client.test"]);
    let ca = pki.path("ca.pem").display().to_string();
    for (wanted, without) in [("required", false), ("optional", true)] {
        let rest = format!(", client_ca: {ca}, client_certificates: {wanted}");
        let (rig, _demo) = plain_engine(path, &pki, &rest).await;
        let call = async |own: Option<(&Pki, &str)>| {
            let to = channel(pki.client(own, H2), "a.test", rig.address);
            EchoClient::new(to).ping(ping()).await.is_ok()
        };
        assert!(call(Some((&pki, "client"))).await, "{wanted}");
        assert_eq!(call(None).await, without, "{wanted}");
        assert!(!call(Some((&other, "stranger"))).await, "{wanted}");
    }
}

async fn old_versions_are_refused(path: Path) {
    let pki = Pki::new();
    let old: &[_] = &[&rustls::version::TLS12];
    for (least, old_is_fine) in [("1.2", true), ("1.3", false)] {
        let (rig, _demo) = plain_engine(path, &pki, &format!(", min_version: '{least}'")).await;
        let config = Arc::new(pki.client_of(old, None, BOTH));
        assert_eq!(connect(&config, "a.test", rig.address).await.is_ok(), old_is_fine);
        let config = Arc::new(pki.client(None, BOTH));
        let stream = connect(&config, "a.test", rig.address).await.unwrap();
        let version = stream.get_ref().1.protocol_version();
        assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

/// Makes a call on a new connection; how its hands were shaken.
async fn call_anew(config: &Arc<ClientConfig>, rig: &Rig) -> Option<HandshakeKind> {
    let mut stream = connect(config, "a.test", rig.address).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind();
    assert!(raw(&mut stream, HELLO).await.ends_with("hello from demo-1\n"));
    kind
}

async fn sessions_are_resumed(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = Arc::new(pki.client_of(versions, None, H1));
        assert_eq!(call_anew(&config, &rig).await, Some(HandshakeKind::Full));
        // On whichever worker, and also after the certificate was renewed.
        for _ in 0..8 {
            assert_eq!(call_anew(&config, &rig).await, Some(HandshakeKind::Resumed));
        }
        pki.issue("a", &["a.test"]);
        let stop = watch_files(&rig);
        rig.gateway.reload().ask();
        until_shown(&pki, &rig).await;
        assert_eq!(call_anew(&config, &rig).await, Some(HandshakeKind::Resumed));
        stop.cancel();
    }
    let line = r#"pigeon_tls_handshakes_total{listener="default",result="resumed"} 18"#;
    assert!(rig.metrics.render().contains(line));
}

async fn sessions_with_engines_are_resumed(path: Path) {
    let pki = Pki::new();
    pki.issue("engine", &["engine.test"]);
    let demo = demo().await;
    let front = pki.before("engine", H2, false, demo.address).await;
    let one_each = ", pool: {reuse: exclusive, max_requests: 1}";
    let rig = Rig::start(path, &(tls_engine(&front, &pki, one_each) + ROUTES)).await;
    for _ in 0..4 {
        rig.echo().ping(ping()).await.unwrap();
    }
    let met = front.met();
    assert!(met.iter().any(|m| m.resumed), "{met:?}");
}

/// Follows the files as a proxy does.
fn watch_files(rig: &Rig) -> CancellationToken {
    let stop = CancellationToken::new();
    let timings = Timings { file_settle: Duration::from_millis(20), ..Timings::default() };
    tokio::spawn(reload::run(Arc::clone(&rig.gateway), timings, stop.clone()));
    stop
}

/// Waits until new connections are shown the certificate that is in the file.
async fn until_shown(pki: &Pki, rig: &Rig) {
    let waited = tokio::time::timeout(FOR_EVER, async {
        let text = std::fs::read(pki.path("a.pem")).unwrap();
        let wanted = rustls::pki_types::pem::PemObject::from_pem_slice(&text).unwrap();
        loop {
            let config = Arc::new(pki.client(None, BOTH));
            let stream = connect(&config, "a.test", rig.address).await.unwrap();
            let shown: &rustls::pki_types::CertificateDer =
                &stream.get_ref().1.peer_certificates().unwrap()[0];
            if *shown == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the new certificate is never shown");
}

async fn new_files_are_for_new_connections(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    let _stop = watch_files(&rig);
    let to = channel(pki.client(None, H2), "a.test", rig.address);
    let (send, audio) = upload();
    let mut answers = SpeechClient::new(to).recognize(audio).await.unwrap().into_inner();
    for heard in 1..=4 {
        send.send(chunk(b"x")).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().heard, heard);
        pki.issue("a", &["a.test"]);
        until_shown(&pki, &rig).await;
    }
    drop(send);
    assert!(answers.message().await.unwrap().unwrap().r#final);
}

async fn broken_files_change_nothing(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    let _stop = watch_files(&rig);
    let error = || rig.gateway.tls_shown().remove(0).1.error;
    let errors = |n: u32| {
        let line = format!("pigeon_tls_reload_errors_total{{object=\"listener/default\"}} {n}\n");
        rig.metrics.render().contains(&line)
    };
    let good = std::fs::read(pki.path("a.key")).unwrap();
    pki.issue("b", &["b.test"]);
    let foreign = std::fs::read(pki.path("b.key")).unwrap();
    for (n, (text, why)) in
        [(&b"no key"[..], "no private key"), (&foreign, "does not fit")].into_iter().enumerate()
    {
        std::fs::write(pki.path("a.key"), text).unwrap();
        eventually(|| error().is_some_and(|e| e.contains(why))).await;
        assert!(error().unwrap().contains("a.key"), "{:?}", error());
        // Once each.
        eventually(|| errors(n as u32 + 1)).await;
        until_shown(&pki, &rig).await;
    }
    std::fs::write(pki.path("a.key"), good).unwrap();
    eventually(|| error().is_none()).await;
    let metrics = rig.metrics.render();
    assert!(metrics.contains("pigeon_tls_certificate_expiry_seconds{certificate="), "{metrics}");
}

async fn files_that_cannot_be_used_leave_the_listener_as_it_was(path: Path) {
    let pki = Pki::new();
    let (mut rig, demo) = plain_engine(path, &pki, "").await;
    let text = engine(&[demo.address], "") + ROUTES + &listener(&pki, &["missing"], "");
    let listeners = rig.listeners.as_mut().unwrap();
    let errors = listeners.reconcile(&snapshot(&text));
    assert!(errors[0].message.contains("missing.pem"), "{errors:?}");
    until_shown(&pki, &rig).await;
    pki.issue("missing", &["a.test"]);
    std::fs::copy(pki.path("missing.pem"), pki.path("a.pem")).unwrap();
    assert_eq!(rig.listeners.as_mut().unwrap().reconcile(&snapshot(&text)), []);
    until_shown(&pki, &rig).await;
}

async fn silent_and_slow_clients_are_closed(path: Path) {
    let pki = Pki::new();
    pki.issue("a", &["a.test"]);
    let demo = demo().await;
    let listener = listener(&pki, &["a"], "").replace("5s", "300ms");
    let rig = Rig::start(path, &(engine(&[demo.address], "") + ROUTES + &listener)).await;
    let closed = async |mut socket: TcpStream| {
        let end = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut Vec::new())).await;
        let _ = end.expect("stays open");
    };
    closed(TcpStream::connect(rig.address).await.unwrap()).await;
    let mut slow = TcpStream::connect(rig.address).await.unwrap();
    // The first bytes of a ClientHello.
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    closed(slow).await;
    let config = Arc::new(pki.client(None, BOTH));
    let silent = connect(&config, "a.test", rig.address).await.unwrap();
    closed(silent.into_inner().0).await;
    eventually(|| rig.metrics.render().contains(r#"pigeon_connections{listener="default"} 0"#))
        .await;
}

async fn large_bodies_by_tls_wait_for_slow_readers(path: Path) {
    let pki = Pki::new();
    pki.issue("a", &["a.test"]);
    pki.issue("engine", &["engine.test"]);
    let demo = demo().await;
    let front = pki.before("engine", H2, false, demo.address).await;
    let text = tls_engine(&front, &pki, ", protocol: h2") + ROUTES + &listener(&pki, &["a"], "");
    let rig = Rig::start(path, &text).await;
    let config = Arc::new(pki.client(None, H2));
    let mut sender = h2(connect(&config, "a.test", rig.address).await.unwrap()).await;
    let big = Bytes::from((0..24 << 20).map(|i: u32| (i / 7) as u8).collect::<Vec<_>>());
    let echo = http::Request::post("https://a.test/echo").body(Full::new(big.clone())).unwrap();
    let mut body = sender.send_request(echo).await.unwrap().into_body();
    let mut got = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            got.extend_from_slice(&frame.unwrap().into_data().unwrap());
            if got.len() % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(FOR_EVER * 2, read).await.expect("hangs");
    assert!(got == big);
    // Another call on the same connections.
    assert_eq!(get(&mut sender, "/hello").await.unwrap().0, 200);
    rig.until_free().await;
}

async fn small_records_and_new_keys(path: Path) {
    let pki = Pki::new();
    let (rig, _demo) = plain_engine(path, &pki, "").await;
    let config = Arc::new(pki.client(None, &[]));
    let mut stream = connect(&config, "a.test", rig.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // SETTINGS, a PING, and before each byte of another one new keys.
    stream.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0pigeons1").await.unwrap();
    for byte in b"\0\0\x08\x06\0\0\0\0\0pigeons2" {
        if byte % 2 == 0 {
            stream.get_mut().1.refresh_traffic_keys().unwrap();
        }
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut heard = Vec::new();
    let answered = async {
        while !heard.windows(8).any(|w| w == b"pigeons2") {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "closed: {heard:?}");
        }
    };
    tokio::time::timeout(FOR_EVER, answered).await.expect("no answer");
    assert!(heard.windows(8).any(|w| w == b"pigeons1"));
}

async fn a_drain_says_goodbye(path: Path) {
    let pki = Pki::new();
    let (mut rig, _demo) = plain_engine(path, &pki, "").await;
    let config = Arc::new(pki.client(None, &[]));
    let mut stream = connect(&config, "a.test", rig.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its SETTINGS are there: it is served.
    let mut heard = vec![stream.read_u8().await.unwrap()];
    let listeners = rig.listeners.take().unwrap();
    let drained = tokio::spawn(listeners.drain(FOR_EVER, FOR_EVER));
    // It is asked whether it has seen the first GOAWAY; then comes the last, and the end.
    let ping = async {
        loop {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "closed: {heard:?}");
            if let Some(at) = heard.windows(9).position(|w| w == b"\0\0\x08\x06\0\0\0\0\0")
                && let Some(payload) = heard.get(at + 9..at + 17)
            {
                return [b"\0\0\x08\x06\x01\0\0\0\0", payload].concat();
            }
        }
    };
    let pong = tokio::time::timeout(FOR_EVER, ping).await.expect("no PING");
    stream.write_all(&pong).await.unwrap();
    // An end without close_notify would be an error.
    let read = tokio::time::timeout(FOR_EVER, stream.read_to_end(&mut heard)).await;
    read.expect("stays open").expect("the end is not cut");
    let goaway = |w: &[u8]| w[3] == 7 && w[4..9] == [0; 5];
    assert_eq!(heard.windows(9).filter(|w| goaway(w)).count(), 2, "{heard:?}");
    drained.await.unwrap();
}

async fn engines_that_are_not_trusted_get_no_calls(path: Path) {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("engine", &["engine.test"]);
    pki.issue("wrong", &["wrong.test"]);
    other.issue("engine", &["engine.test"]);
    let demo = demo().await;
    let fronts = [
        (other.before("engine", H2, false, demo.address).await, "invalid peer certificate"),
        (pki.before("wrong", H2, false, demo.address).await, "not valid for name"),
        (pki.before("engine", H1, false, demo.address).await, "does not choose HTTP/2"),
        (pki.before("engine", &[], false, demo.address).await, "does not choose HTTP/2"),
    ];
    for (front, why) in fronts {
        let rig = Rig::start(path, &(tls_engine(&front, &pki, ", health: none") + ROUTES)).await;
        let status = rig.echo().ping(ping()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Unavailable, Some("connect_failed")));
        rig.until(|u| u.endpoints[0].reason.contains("TLS")).await;
        let said = rig.usage().endpoints[0].reason.clone();
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(demo.stats.read().calls, 0);
}

async fn an_engine_that_comes_to_speak_tls_gets_no_more_calls_in_the_clear(path: Path) {
    let pki = Pki::new();
    pki.issue("engine", &["engine.test"]);
    let demo = demo().await;
    let front = pki.before("engine", BOTH, false, demo.address).await;
    // The same address, first something that takes both.
    let plain = engine(&[demo.address], "") + ROUTES;
    let rig = Rig::start(path, &plain).await;
    rig.echo().ping(ping()).await.unwrap();
    let ca = pki.path("ca.pem").display().to_string();
    let tls = format!("tls: {{ca: {ca}, server_name: engine.test}}");
    rig.install(&(engine(&[demo.address], &tls) + ROUTES));
    // The endpoint speaks no TLS, and the connection that is open is not for this.
    assert_eq!(rig.echo().ping(ping()).await.unwrap_err().code(), Code::Unavailable);
    rig.install(&(engine(&[front.address], &tls) + ROUTES));
    rig.echo().ping(ping()).await.unwrap();
    assert!(!front.met().is_empty());
}

async fn health_is_checked_by_tls(path: Path) {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("engine", &["engine.test"]);
    other.issue("engine", &["engine.test"]);
    let demo = demo().await;
    for check in ["auto", "grpc", "tcp", "http:/hello"] {
        let front = pki.before("engine", BOTH, false, demo.address).await;
        let bad = other.before("engine", BOTH, false, demo.address).await;
        let health = format!(", health: {{check: '{check}', interval: 100ms, down: 1, up: 1}}");
        for (front, state) in [(&front, "healthy"), (&bad, "unhealthy")] {
            let rig = Rig::start(path, &(tls_engine(front, &pki, &health) + ROUTES)).await;
            let stop = CancellationToken::new();
            tokio::spawn(pigeon_proxy::health::run(Arc::clone(&rig.gateway), stop.clone()));
            if state == "healthy" {
                eventually(|| front.met().len() >= 2).await;
            }
            rig.until(|u| u.endpoints[0].state.as_str() == state).await;
            stop.cancel();
        }
    }
}
