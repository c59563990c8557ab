//! HTTP/1.1 that asks for HTTP/2 (`upgrade: h2c`): where it is granted, what comes of it, and what never does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pigeon_proxy::h2::{Decoder, Fields};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;
use super::wire::{DATA, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire};

on_both_paths! {
    the_request_becomes_stream_1_and_others_follow,
    an_upgraded_request_meets_every_filter,
    it_is_granted_where_it_is_allowed_and_asked_for_properly,
    nothing_that_is_not_http2_follows_101,
    a_client_that_says_nothing_after_101_is_closed,
    what_the_request_says_of_the_client_counts,
}

/// An engine of HTTP/1.1 that answers with the head it got.
#[derive(Clone)]
struct Mirror {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

async fn mirror() -> Mirror {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mirror = Mirror { address: listener.local_addr().unwrap(), heads: Arc::default() };
    let heads = Arc::clone(&mirror.heads);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let heads = Arc::clone(&heads);
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(socket.read_u8().await?);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let length = head.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}");
                    heads.lock().unwrap().push(head);
                    socket.write_all(answer.as_bytes()).await?;
                }
                #[allow(unreachable_code)]
                Ok::<_, std::io::Error>(())
            });
        }
    });
    mirror
}

impl Mirror {
    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

const ROUTES: &str = "
---
kind: route
name: all
spec: {match: {path: '/*'}, engine: e}
---
kind: route
name: locked
spec: {match: {path: '/locked'}, engine: e, auth: api_key}
---
kind: route
name: fixed
spec: {match: {path: '/fixed'}, answer: {status: 418, body: \"no coffee\\n\"}}
---
kind: route
name: scarce
spec: {match: {path: '/scarce'}, engine: e, limits: [{rate: 1/h}]}
";

async fn rig(path: Path, mirror: &Mirror, listener: &str) -> Rig {
    let listener =
        format!("---\nkind: listener\nname: default\nspec: {{address: '127.0.0.1:1'{listener}}}\n");
    let engine = strict(&[mirror.address], 4, "") + ", health: {check: none}";
    let engine = engine.replace("}\n, health: {check: none}", ", health: {check: none}}\n");
    Rig::start(path, &(engine + ROUTES + &listener)).await
}

const ALLOWED: &str = ", h2c_upgrade: true";

/// As curl asks: MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_PUSH.
fn asks(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a.test\r\nX-Mine: yes\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    )
}

/// The head of an answer in HTTP/1.1.
async fn head(socket: &mut TcpStream) -> String {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    };
    tokio::time::timeout(FOR_EVER, read).await.expect("no answer")
}

async fn granted(rig: &Rig, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("upgrade: h2c\r\n") && head.contains("connection: upgrade\r\n"),
        "{head}"
    );
    socket
}

/// The status and the body of a stream's answer. Acknowledgements of SETTINGS that came are counted.
async fn answer(wire: &mut Wire, decoder: &mut Decoder, stream: u32) -> (String, String, u32) {
    let (mut status, mut body, mut acknowledged) = (String::new(), Vec::new(), 0);
    loop {
        let Frame { kind, flags, stream: of, payload } = wire.frame().await.expect("closed");
        match kind {
            HEADERS => {
                let mut fields = Fields::new();
                decoder.decode(&payload, &mut fields, 65_536).unwrap();
                let found = fields.get(b":status").unwrap();
                status = String::from_utf8(found.to_vec()).unwrap();
                assert_eq!(of, stream);
            }
            DATA => body.extend(payload),
            SETTINGS => acknowledged += u32::from(flags & 1),
            _ => {}
        }
        if of == stream && flags & 1 != 0 && matches!(kind, HEADERS | DATA) {
            return (status, String::from_utf8(body).unwrap(), acknowledged);
        }
    }
}

async fn the_request_becomes_stream_1_and_others_follow(path: Path) {
    let mirror = mirror().await;
    let rig = rig(path, &mirror, ALLOWED).await;
    // Also later on a connection, and of a client that does not wait for 101.
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let before = "GET /before HTTP/1.1\r\nhost: a.test\r\n\r\n";
    socket.write_all(before.as_bytes()).await.unwrap();
    let answered = head(&mut socket).await;
    let length = answered.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    socket.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    socket.write_all(asks("/one?a=%20b").as_bytes()).await.unwrap();
    let mut wire = Wire::begin(socket).await;
    let head = head(wire.socket()).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut decoder = Decoder::new(4096);
    let (status, body, acknowledged) = answer(&mut wire, &mut decoder, 1).await;
    assert_eq!(status, "200");
    assert!(body.starts_with("GET /one?a=%20b HTTP/1.1\r\n"), "{body}");
    assert!(body.contains("host: a.test\r\n") && body.contains("x-mine: yes\r\n"), "{body}");
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert!(!body.contains(gone), "{gone}: {body}");
    }
    // GET, http, and literals that are not indexed: path, authority.
    wire.send(HEADERS, 5, 3, b"\x82\x86\x04\x04/two\x01\x01h").await;
    let (status, body, more) = answer(&mut wire, &mut decoder, 3).await;
    assert!(status == "200" && body.starts_with("GET /two HTTP/1.1\r\n"), "{status} {body}");
    assert_eq!(acknowledged + more, 1, "there was one SETTINGS frame of the client");
    rig.until_free().await;
    assert_eq!((rig.usage().calls, rig.usage().failures), (3, 0));
}

async fn an_upgraded_request_meets_every_filter(path: Path) {
    let mirror = mirror().await;
    let rig = rig(path, &mirror, ALLOWED).await;
    for (target, wanted) in [
        ("/locked", "401"),
        ("/fixed", "418"),
        ("/scarce", "200"),
        ("/scarce", "429"),
        ("http://a.test/locked", "401"),
    ] {
        let socket = granted(&rig, &asks(target)).await;
        let mut wire = Wire::begin(socket).await;
        let (status, ..) = answer(&mut wire, &mut Decoder::new(4096), 1).await;
        assert_eq!(status, wanted, "{target}");
    }
    assert_eq!(mirror.heads().len(), 1, "{:?}", mirror.heads());
}

async fn it_is_granted_where_it_is_allowed_and_asked_for_properly(path: Path) {
    let mirror = mirror().await;
    let (allows, not) = (rig(path, &mirror, ALLOWED).await, rig(path, &mirror, "").await);
    let asks = asks("/x");
    let settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let body = "POST /x HTTP/1.1\r\ncontent-length: 0\r\nTransfer-Encoding: chunked";
    for (rig, request) in [
        (&not, asks.clone()),
        (&allows, asks.replace("Upgrade, HTTP2-Settings", "Upgrade")),
        (&allows, asks.replace("Upgrade, HTTP2-Settings", "HTTP2-Settings")),
        (&allows, asks.replace(settings, "")),
        (&allows, asks.replace(settings, &(settings.to_owned() + settings))),
        (&allows, asks.replace("AAMAAABk", "AAMAAABkA")),
        (&allows, asks.replace("Upgrade: h2c", "Upgrade: h2c, h2")),
        (&allows, asks.replace("Upgrade: h2c", "Upgrade: h2")),
        (&allows, asks.replace("Upgrade: h2c", "content-length: 2\r\nUpgrade: h2c") + "hi"),
    ] {
        let before = mirror.heads().len();
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let answered = head(&mut socket).await;
        assert!(answered.starts_with("HTTP/1.1 200 "), "{request}: {answered}");
        let head = mirror.heads().split_off(before).concat();
        assert!(!head.to_ascii_lowercase().contains("h2c"), "{head}");
        assert!(!head.contains("http2-settings"), "{head}");
    }
    // HTTP/1.0 has no upgrades, and two lengths are no request.
    let before = mirror.heads().len();
    let old = allows.raw(&asks.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert!(old.starts_with("HTTP/1.0 200 ") || old.starts_with("HTTP/1.1 200 "), "{old}");
    let two = allows.raw(&asks.replace("GET /x HTTP/1.1", body)).await;
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
    assert_eq!(mirror.heads().len(), before + 1);
}

async fn nothing_that_is_not_http2_follows_101(path: Path) {
    let mirror = mirror().await;
    let rig = rig(path, &mirror, ALLOWED).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a.test\r\n\r\n";
    for follows in [
        hidden.to_owned(),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}"),
        format!("PRI * HTTP/2.0\r\n\r\n{hidden}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\x06\0\0\0\0\0hiddenhi".to_owned(),
    ] {
        // At once with the request, and after 101.
        for at_once in [true, false] {
            let mut socket = TcpStream::connect(rig.address).await.unwrap();
            let asks = asks("/seen");
            let all = if at_once { asks.clone() + &follows } else { asks.clone() };
            socket.write_all(all.as_bytes()).await.unwrap();
            if !at_once {
                head(&mut socket).await;
                socket.write_all(follows.as_bytes()).await.unwrap();
            }
            let end = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut Vec::new())).await;
            let _ = end.expect("it stays open");
        }
    }
    // Stream 1 has been opened, and has ended for the client.
    let mut wire = Wire::begin(granted(&rig, &asks("/seen")).await).await;
    wire.send(HEADERS, 5, 1, b"\x82\x86\x04\x04/hid\x01\x01h").await;
    wire.send(DATA, 1, 1, b"hid").await;
    while let Some(frame) = wire.frame().await {
        if frame.kind == RST_STREAM || frame.kind == GOAWAY {
            break;
        }
    }
    rig.until_free().await;
    let heads = mirror.heads();
    assert!(!heads.iter().any(|head| head.contains("hid")), "{heads:?}");
}

async fn a_client_that_says_nothing_after_101_is_closed(path: Path) {
    let mirror = mirror().await;
    let rig = rig(path, &mirror, ", h2c_upgrade: true, header_timeout: 300ms").await;
    for first in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"] {
        let mut socket = granted(&rig, &asks("/x")).await;
        socket.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(FOR_EVER, socket.read_to_end(&mut rest)).await;
        let _ = end.expect("it stays open");
    }
    assert_eq!(mirror.heads().len(), 0);
    eventually(|| rig.metrics.render().contains("pigeon_connections{listener=\"default\"} 0"))
        .await;
}

async fn what_the_request_says_of_the_client_counts(path: Path) {
    let mirror = mirror().await;
    let rig = rig(path, &mirror, ALLOWED).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 10
    let asks = asks("/x").replace("AAMAAABkAAQAoAAAAAIAAAAA", "AAQAAAAK");
    let mut wire = Wire::begin(granted(&rig, &asks).await).await;
    let mut got = 0;
    while got < 10 {
        let frame = wire.frame().await.expect("closed");
        if frame.kind == DATA {
            got += frame.payload.len();
        }
    }
    assert_eq!(got, 10);
    wire.send(WINDOW_UPDATE, 0, 1, &4096_u32.to_be_bytes()).await;
    let (_, body, _) = answer(&mut wire, &mut Decoder::new(4096), 1).await;
    assert!(mirror.heads()[0].ends_with(&body) && body.len() + 10 == mirror.heads()[0].len());
}
