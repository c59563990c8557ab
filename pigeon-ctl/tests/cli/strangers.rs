//! Servers that answer what a healthy admin seldom does: canned answers over a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use crate::support::{Ctl, Ran};

/// Answers every connection with `answer`, until the test ends; `None` never answers.
fn server(answer: Option<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("connection");
            match &answer {
                Some(answer) => {
                    read_request(&mut stream);
                    // The program may leave early; the test looks at its exit.
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => silent.push(stream),
            }
        }
    });
    address
}

/// Reads head and body, so that closing the connection resets nothing.
fn read_request(stream: &mut std::net::TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |l| l.parse().expect("length"));
            if body.len() >= length {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
}

fn answer(status: &str, media_type: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn ctl(server: SocketAddr, args: &[&str]) -> Ran {
    let home = tempfile::tempdir().expect("folder");
    Ctl::new(home.path(), args)
        .env("PIGEON_SERVER", &format!("http://{server}"))
        .env("PIGEON_TOKEN", "t")
        .run()
}

fn written(applied: &str) -> SocketAddr {
    let body = format!(r#"{{"kind": "route", "name": "x", "applied": {applied}}}"#);
    server(answer("202 Accepted", "application/json", &body))
}

const ADD: [&str; 5] = ["route", "add", "x", "--engine", "e"];

#[test]
fn a_write_that_a_proxy_refused_exits_1_and_says_who_and_why() {
    let at = written(
        r#"{"revision": 42, "proxies": 3, "applied": 2, "ms": 12, "done": false, "pending": [],
            "rejected": [{"proxy": "edge-3", "kind": "listener", "name": "pub", "mod_revision": 41,
                          "serving_mod_revision": 40, "code": "PGN-P301", "message": "address in use"}]}"#,
    );
    let ran = ctl(at, &ADD);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        ran.stdout,
        "route/x added   revision 42   applied by 2/3 proxies (edge-3: PGN-P301 listener/pub: address in use; serving the version of revision 40)\n"
    );
    assert!(ran.stderr.contains("refused by edge-3: listener/pub of revision 41"), "{ran:?}");
    let ran = ctl(at, &[&ADD[..], &["-o", "json"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
}

#[test]
fn a_write_that_is_not_applied_in_time_exits_8() {
    let at = written(
        r#"{"revision": 42, "proxies": 2, "applied": 1, "ms": 10000, "done": false, "pending": ["edge-2"], "rejected": []}"#,
    );
    let ran = ctl(at, &ADD);
    assert_eq!(ran.code, 8, "{ran:?}");
    assert!(ran.stdout.contains("applied by 1/2 proxies (waiting for edge-2)"), "{ran:?}");
    assert_eq!(ctl(at, &[&ADD[..], &["--no-wait"]].concat()).code, 0);
}

#[test]
fn a_write_that_all_have_says_how_fast() {
    let at = written(r#"{"revision": 42, "proxies": 3, "applied": 3, "ms": 38, "done": true}"#);
    let ran = ctl(at, &ADD);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "route/x added   revision 42   applied by 3/3 proxies in 38 ms\n");
}

#[test]
fn what_is_no_admin_is_called_so() {
    for (answer, code, says) in [
        (answer("200 OK", "text/html", "<html>hello</html>"), 3, "not as a Pigeon admin does"),
        (answer("404 Not Found", "text/plain", "nope"), 3, "not as a Pigeon admin does"),
        (answer("200 OK", "application/json", "{}"), 3, "is not a list"),
        (Some("SSH-2.0-OpenSSH_9.0\r\n".into()), 3, "did not answer as HTTP does"),
        (answer("503 Service Unavailable", "text/plain", ""), 3, "503"),
        (
            answer(
                "503 Service Unavailable",
                "application/problem+json",
                r#"{"title": "The store cannot write", "detail": "the disk is full", "status": 503}"#,
            ),
            3,
            "the disk is full",
        ),
    ] {
        let ran = ctl(server(answer.clone()), &["engine", "list"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{answer:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{answer:?}: {ran:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let ran = ctl(server(None), &["engine", "list", "--request-timeout", "200ms"]);
    assert_eq!(ran.code, 8, "{ran:?}");
    assert!(ran.stderr.contains("did not answer within 200ms"), "{ran:?}");
}

#[test]
fn escape_sequences_of_a_server_do_not_reach_the_terminal() {
    let body = r#"{"items": [{"name": "a\u001b[2J", "spec": {}}], "next_page_token": null}"#;
    let ran = ctl(server(answer("200 OK", "application/json", body)), &["engine", "list"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
}

#[test]
fn ctrl_c_exits_130() {
    use std::os::unix::process::CommandExt as _;
    let (connected, seen) = std::sync::mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("connection");
        connected.send(stream).expect("test is there");
    });
    let home = tempfile::tempdir().expect("folder");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
        .args(["engine", "list"])
        .env_clear()
        .env("HOME", home.path())
        .env("PIGEON_SERVER", format!("http://{address}"))
        .env("PIGEON_TOKEN", "t")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("start");
    let _stream = seen.recv().expect("it connects");
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    let output = child.wait_with_output().expect("run");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
}
