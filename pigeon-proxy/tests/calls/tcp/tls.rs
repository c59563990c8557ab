//! Raw connections by TLS, from clients, to engines, and both.

use std::sync::Arc;

use pigeon_proxy::config::Timings;
use pigeon_proxy::tls::reload;
use rustls::ClientConfig;
use tokio_rustls::{TlsAcceptor, client, server};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tls::pki::{Pki, connect};

type FromClient = client::TlsStream<TcpStream>;
type AtEngine = server::TlsStream<TcpStream>;

/// Certificates for the listener, the engine, the proxy and a client.
fn pki() -> Pki {
    let pki = Pki::new();
    for (name, host) in [
        ("a", "a.test"),
        ("b", "b.test"),
        ("engine", "engine.test"),
        ("proxy", "proxy.test"),
        ("client", "client.test"),
    ] {
        pki.issue(name, &[host]);
    }
    pki
}

/// What a tcp listener has beside its address.
fn by_tls(pki: &Pki, rest: &str) -> String {
    let (a, b) = (pki.files("a"), pki.files("b"));
    format!(", tls: {{certificates: [{a}, {b}]{rest}}}")
}

/// `tls` of an engine.
fn trusted(pki: &Pki, rest: &str) -> String {
    format!(", tls: {{ca: {}, server_name: engine.test{rest}}}", pki.path("ca.pem").display())
}

/// An engine with one slot per connection that speaks TLS.
fn engine_by_tls(server: &Server, pki: &Pki, pool: &str, rest: &str) -> String {
    let pool = format!("pool: {{mode: strict, slots: 2{pool}}}");
    engine(&[server.address], &(pool + &trusted(pki, rest)))
}

async fn from(config: &Arc<ClientConfig>, host: &str, rig: &Rig) -> FromClient {
    connect(config, host, rig.address).await.unwrap()
}

async fn accept(server: &Server, acceptor: &TlsAcceptor) -> AtEngine {
    let shaken = acceptor.accept(server.accept().await);
    tokio::time::timeout(FOR_EVER, shaken).await.unwrap().unwrap()
}

#[tokio::test]
async fn bytes_pass_both_ways_by_tls_and_each_side_closes_for_itself() {
    let (pki, server) = (pki(), server().await);
    let own = pki.files("proxy");
    let own = format!(", {}", own.trim_matches(['{', '}']));
    let text = engine_by_tls(&server, &pki, "", &own);
    let rig = rig(&text, &by_tls(&pki, ""), "").await;
    // What a client offers is for whoever it wants to reach; here nobody answers it.
    let config = Arc::new(pki.client(None, &[b"h2", b"redis"]));
    let acceptor = pki.acceptor("engine", &[], true);
    for (host, certificate) in [("a.test", "a"), ("b.test", "b")] {
        let mut client = from(&config, host, &rig).await;
        let (_, session) = client.get_ref();
        assert_eq!(session.alpn_protocol(), None);
        let shown = std::fs::read(pki.path(&format!("{certificate}.pem"))).unwrap();
        let shown = rustls::pki_types::pem::PemObject::from_pem_slice(&shown).unwrap();
        assert_eq!(session.peer_certificates().unwrap()[0], shown);
        let mut upstream = accept(&server, &acceptor).await;
        let (_, session) = upstream.get_ref();
        assert_eq!((session.server_name(), session.alpn_protocol()), (Some("engine.test"), None));
        assert!(session.peer_certificates().is_some());
        upstream.write_all(b"welcome").await.unwrap();
        says(&mut client, b"welcome").await;
        let large: Vec<u8> = (0..3 << 20).map(|i: u32| (i / 5) as u8).collect();
        let (sent, got) = tokio::join!(
            async {
                client.write_all(&large).await.unwrap();
                client.shutdown().await.unwrap();
            },
            rest_of(&mut upstream)
        );
        assert!(got == large, "{sent:?}");
        assert_eq!(rig.in_use(), 1);
        let (sent, got) = tokio::join!(
            async {
                upstream.write_all(&large).await.unwrap();
                upstream.shutdown().await.unwrap();
            },
            rest_of(&mut client)
        );
        assert!(got == large, "{sent:?}");
        rig.until_free().await;
    }
    rig.until_counted(r#"pigeon_calls_total{code="closed",engine="e",route="r"} 2"#).await;
    let full = r#"pigeon_tls_handshakes_total{listener="default",result="full"} 2"#;
    rig.until_counted(full).await;
    // Of what was sealed, not of what sealed it.
    let bytes = r#"pigeon_tcp_bytes_total{direction="in",engine="e",route="r"} 6291456"#;
    rig.until_counted(bytes).await;
}

#[tokio::test]
async fn one_side_may_be_in_the_clear() {
    let (pki, server) = (pki(), server().await);
    let config = Arc::new(pki.client(None, &[]));
    let acceptor = pki.acceptor("engine", &[], false);
    let front = rig(&strict(&[server.address], 1, ""), &by_tls(&pki, ""), "").await;
    let mut client = from(&config, "a.test", &front).await;
    let mut upstream = server.accept().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest_of(&mut upstream).await, b"question");
    upstream.write_all(b"answer").await.unwrap();
    drop(upstream);
    assert_eq!(rest_of(&mut client).await, b"answer");
    front.until_free().await;

    let back = rig(&engine_by_tls(&server, &pki, "", ""), "", "").await;
    let mut client = back.connect().await;
    let mut upstream = accept(&server, &acceptor).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest_of(&mut upstream).await, b"question");
    upstream.write_all(b"answer").await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(rest_of(&mut client).await, b"answer");
    back.until_free().await;
}

/// Ends without a last word.
async fn is_cut(socket: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    rest
}

async fn rest_if_any(socket: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
    let mut rest = Vec::new();
    tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await.expect("stays open")
}

async fn says_and_leaves(stream: impl Into<tokio_rustls::TlsStream<TcpStream>>, words: &[u8]) {
    let mut stream = stream.into();
    stream.write_all(words).await.unwrap();
    stream.flush().await.unwrap();
    stream.get_mut().0.shutdown().await.unwrap();
    // To close with unread bytes, such as tickets, would be a reset.
    let _ = stream.get_mut().0.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn an_end_without_a_last_word_loses_nothing_and_is_none_in_order() {
    let (pki, server) = (pki(), server().await);
    let config = Arc::new(pki.client(None, &[]));
    let acceptor = pki.acceptor("engine", &[], false);
    let large = vec![5; 4 << 20];
    let text = engine_by_tls(&server, &pki, ", cancel_cooldown: 0s", "");
    let by_both = rig(&text, &by_tls(&pki, ""), "").await;
    let mut client = from(&config, "a.test", &by_both).await;
    let upstream = accept(&server, &acceptor).await;
    let (_, got) = tokio::join!(says_and_leaves(upstream, &large), is_cut(&mut client));
    assert!(got == large, "{}", got.len());
    by_both.until_free().await;
    let client = from(&config, "a.test", &by_both).await;
    let mut upstream = accept(&server, &acceptor).await;
    let (_, got) = tokio::join!(says_and_leaves(client, &large), is_cut(&mut upstream));
    assert!(got == large, "{}", got.len());
    by_both.until_free().await;
    // In the clear there is no such word: the other side is reset.
    let clear = rig(&text, "", "").await;
    let mut client = clear.connect().await;
    let upstream = accept(&server, &acceptor).await;
    drop(upstream.into_inner().0);
    is_reset(&mut client).await;
    let clear = rig(&strict(&[server.address], 1, ""), &by_tls(&pki, ""), "").await;
    let client = from(&config, "a.test", &clear).await;
    let mut upstream = server.accept().await;
    says_and_leaves(client, b"").await;
    is_reset(&mut upstream).await;
}

#[tokio::test]
async fn who_is_killed_is_gone_and_no_end() {
    let (pki, server) = (pki(), server().await);
    let config = Arc::new(pki.client(None, &[]));
    let acceptor = pki.acceptor("engine", &[], false);
    let text = engine_by_tls(&server, &pki, ", cancel_cooldown: 10m", "");
    let rig = rig(&text, &by_tls(&pki, ""), "").await;
    // An engine that was killed: the system closes for it, and TLS tells.
    let mut client = from(&config, "a.test", &rig).await;
    let mut upstream = accept(&server, &acceptor).await;
    upstream.write_all(b"half an ans").await.unwrap();
    says(&mut client, b"half an ans").await;
    drop(upstream.into_inner().0);
    is_cut(&mut client).await;
    rig.until_free().await;
    let failed = r#"pigeon_rejections_total{engine="e",reason="engine_reset",route="r"} 1"#;
    rig.until_counted(failed).await;
    // A client that was.
    let mut client = from(&config, "a.test", &rig).await;
    let mut upstream = accept(&server, &acceptor).await;
    client.write_all(b"half a ques").await.unwrap();
    says(&mut upstream, b"half a ques").await;
    // With what it has not read it is a reset, else an end without a last word.
    drop(client.into_inner().0);
    rest_if_any(&mut upstream).await.unwrap_err();
    rig.until_counted(r#"pigeon_calls_total{code="cancelled",engine="e",route="r"} 1"#).await;
    assert_eq!(rig.in_use(), 1, "it rests");
}

#[tokio::test]
async fn a_handshake_takes_no_slot_and_has_its_time() {
    let (pki, server) = (pki(), server().await);
    let listener = by_tls(&pki, "") + ", header_timeout: 400ms";
    let rig = rig(&strict(&[server.address], 1, ""), &listener, "").await;
    let silent = rig.connect().await;
    let mut slow = rig.connect().await;
    // The first bytes of a ClientHello.
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut clear = rig.connect().await;
    clear.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    eventually(|| {
        rig.metrics.render().contains("pigeon_connections_total{listener=\"default\"} 3")
    })
    .await;
    assert_eq!((rig.in_use(), rig.gateway.calls_open()), (0, 0));
    assert!(server.is_left_alone().await);
    for mut socket in [silent, slow, clear] {
        // With an alert, an end or a reset.
        let _ = rest_if_any(&mut socket).await;
    }
    let failed = r#"pigeon_tls_handshakes_total{listener="default",result="failed"} 3"#;
    rig.until_counted(failed).await;
    assert_eq!(rig.usage().calls, 0);
    // Nothing of it limits what comes after the handshake.
    let mut client = from(&Arc::new(pki.client(None, &[])), "a.test", &rig).await;
    let mut upstream = server.accept().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.write_all(b"here").await.unwrap();
    says(&mut upstream, b"here").await;
}

#[tokio::test]
async fn who_leaves_by_tls_before_a_word_has_no_place_in_line() {
    let (pki, server) = (pki(), server().await);
    let pool = ", queue: 9, queue_timeout: 60s";
    let rig = rig(&strict(&[server.address], 1, pool), &by_tls(&pki, ""), "").await;
    let config = Arc::new(pki.client(None, &[]));
    let held = (from(&config, "a.test", &rig).await, server.accept().await);
    // Closed in order, and closed without a word.
    for in_order in [true, false] {
        let mut waiter = from(&config, "a.test", &rig).await;
        rig.until(|u| u.waiting == 1).await;
        if in_order {
            waiter.shutdown().await.unwrap();
        } else {
            drop(waiter.into_inner().0);
        }
        rig.until(|u| u.waiting == 0).await;
    }
    rig.until_counted(r#"pigeon_calls_total{code="cancelled",engine="e",route="r"} 2"#).await;
    assert!(server.is_left_alone().await);
    let mut patient = from(&config, "a.test", &rig).await;
    patient.write_all(b"question").await.unwrap();
    patient.shutdown().await.unwrap();
    rig.until(|u| u.waiting == 1).await;
    drop(held);
    let mut upstream = server.accept().await;
    assert_eq!(rest_of(&mut upstream).await, b"question");
}

#[tokio::test]
async fn client_certificates_say_who_connects() {
    let (pki, other) = (pki(), pki());
    let server = server().await;
    let ca = pki.path("ca.pem").display().to_string();
    let call = async |rig: &Rig, own: Option<(&Pki, &str)>| {
        let config = Arc::new(pki.client(own, &[]));
        let Ok(mut client) = connect(&config, "a.test", rig.address).await else { return false };
        tokio::select! {
            upstream = server.accept() => { drop(upstream); true }
            // By TLS 1.3 a refusal comes after the client's handshake.
            read = client.read_u8() => { read.unwrap_err(); false }
        }
    };
    for (wanted, without) in [("required", false), ("optional", true)] {
        let asks = format!(", client_ca: {ca}, client_certificates: {wanted}");
        let rig = rig(&strict(&[server.address], 9, ""), &by_tls(&pki, &asks), "").await;
        assert!(call(&rig, Some((&pki, "client"))).await, "{wanted}");
        assert_eq!(call(&rig, None).await, without, "{wanted}");
        assert!(!call(&rig, Some((&other, "client"))).await, "{wanted}");
    }
    let asks = format!(", client_ca: {ca}, client_certificates: optional");
    let tenant = "\n---\nkind: tenant\nname: acme\nspec: {certificates: ['CN=client,O=Example']}";
    let known = ", auth: {methods: [certificate], tenants: [acme]}";
    let engine = strict(&[server.address], 9, "") + tenant;
    let rig = rig(&engine, &by_tls(&pki, &asks), known).await;
    assert!(call(&rig, Some((&pki, "client"))).await);
    for (own, reason) in [(None, "unauthenticated"), (Some((&pki, "proxy")), "forbidden")] {
        assert!(!call(&rig, own).await, "{reason}");
        let line =
            format!(r#"pigeon_rejections_total{{engine="e",reason="{reason}",route="r"}} 1"#);
        rig.until_counted(&line).await;
    }
}

#[tokio::test]
async fn an_engine_that_is_not_trusted_gets_nothing_until_its_files_say_so() {
    let (pki, other) = (pki(), pki());
    let server = server().await;
    let acceptor = other.acceptor("engine", &[], false);
    let rig = rig(&engine_by_tls(&server, &pki, "", ""), "", "").await;
    let mut client = rig.connect().await;
    client.write_all(b"secret").await.unwrap();
    let shaken = acceptor.accept(server.accept().await);
    assert!(tokio::time::timeout(FOR_EVER, shaken).await.unwrap().is_err());
    is_reset(&mut client).await;
    let failed = r#"pigeon_rejections_total{engine="e",reason="connect_failed",route="r"} 1"#;
    rig.until_counted(failed).await;
    rig.until_free().await;

    let stop = CancellationToken::new();
    let timings = Timings { file_settle: Duration::from_millis(20), ..Timings::default() };
    tokio::spawn(reload::run(Arc::clone(&rig.gateway), timings, stop.clone()));
    std::fs::copy(other.path("ca.pem"), pki.path("new.pem")).unwrap();
    std::fs::rename(pki.path("new.pem"), pki.path("ca.pem")).unwrap();
    let taken = async {
        loop {
            let client = rig.connect().await;
            if let Ok(upstream) = acceptor.accept(server.accept().await).await {
                return (client, upstream);
            }
        }
    };
    let (mut client, mut upstream) = tokio::time::timeout(FOR_EVER, taken).await.unwrap();
    client.write_all(b"secret").await.unwrap();
    says(&mut upstream, b"secret").await;
    stop.cancel();
}

#[tokio::test]
async fn an_engine_that_agrees_on_a_protocol_of_its_own_is_healthy() {
    let (pki, server) = (pki(), server().await);
    let acceptor = pki.acceptor("engine", &[b"redis"], false);
    let health = ", health: {check: auto, interval: 100ms, down: 1}";
    let text = engine(&[server.address], &format!("pool: {{mode: strict, slots: 2}}{health}"));
    let text = text.replace(health, &(health.to_owned() + &trusted(&pki, "")));
    let rig = rig(&text, "", "").await;
    let checks = CancellationToken::new();
    tokio::spawn(pigeon_proxy::health::run(Arc::clone(&rig.gateway), checks.clone()));
    // HTTP/2 is refused by ALPN; a connection without one is taken.
    let met = async {
        loop {
            let socket = server.accept().await;
            if let Ok(stream) = acceptor.accept(socket).await {
                return stream;
            }
        }
    };
    tokio::time::timeout(FOR_EVER, met).await.expect("it is never asked without a protocol");
    rig.until(|u| u.endpoints[0].state.as_str() == "healthy").await;
    checks.cancel();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let (pki, server) = (pki(), server().await);
    let listener = by_tls(&pki, "") + ", header_timeout: 60s";
    let mut rig = rig(&strict(&[server.address], 1, ""), &listener, "").await;
    let mut silent = rig.connect().await;
    eventually(|| rig.metrics.render().contains("pigeon_connections{listener=\"default\"} 1"))
        .await;
    let listeners = rig.listeners.take().unwrap();
    let drained = tokio::spawn(listeners.drain(FOR_EVER * 2, Duration::ZERO));
    let _ = rest_if_any(&mut silent).await;
    tokio::time::timeout(FOR_EVER, drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_reader_by_tls_holds_the_sender_back() {
    let (pki, server) = (pki(), server().await);
    let acceptor = pki.acceptor("engine", &[], false);
    let rig = rig(&engine_by_tls(&server, &pki, "", ""), &by_tls(&pki, ""), "").await;
    let mut client = from(&Arc::new(pki.client(None, &[])), "a.test", &rig).await;
    let mut upstream = accept(&server, &acceptor).await;
    let mut sent = 0_usize;
    let chunk = vec![1; 1 << 20];
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(300), upstream.write(&chunk)).await
    {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "somebody holds it all");
    }
    let (end, got) = tokio::join!(upstream.shutdown(), rest_of(&mut client));
    end.unwrap();
    assert_eq!(got.len(), sent);
}
