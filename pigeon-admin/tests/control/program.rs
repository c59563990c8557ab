//! The program itself: flags, exit codes, signals.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::proxy::Proxy;
use crate::support::soon;

fn admin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pigeon-admin"));
    command.args(args).env_remove("PIGEON_ADMIN_LISTEN").stderr(Stdio::piped());
    command
}

fn refused(args: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = admin(args).output().expect("run");
    (status.code().expect("code"), String::from_utf8(stderr).expect("text"))
}

/// The address after `name=` in the line that says "ready".
fn field(line: &str, name: &str) -> String {
    let at = line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("{name} in {line}"));
    line[at..].split('=').nth(1).expect("value").split(' ').next().expect("value").to_owned()
}

fn ready(child: &mut Child) -> String {
    let stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mut lines = stderr.lines().map_while(Result::ok);
    let line = lines.find(|l| l.contains("ready")).expect("ready");
    // Keeps reading, so that the program never writes into a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    line
}

#[test]
fn what_cannot_start_says_so_in_one_line() {
    let dir = tempdir().expect("dir");
    let data = dir.path().to_str().expect("path");
    let (code, text) = refused(&["--data-dir", data, "--listen", "0.0.0.0:0"]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.starts_with("pigeon-admin: --listen 0.0.0.0:0: "), "{text}");
    let (code, text) = refused(&["--data-dir", "/dev/null"]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains("is not a directory"), "{text}");
    assert_eq!(refused(&["--data-dir", data, "--listen", "nonsense"]).0, 2);
    assert_eq!(refused(&[]).0, 2);
    let (code, text) = refused(&["--data-dir", data, "--log", "a=b=c"]);
    assert_eq!(code, 1, "{text}");
}

#[tokio::test]
async fn sigterm_stops_it_in_time_although_a_proxy_listens() {
    let dir = tempdir().expect("dir");
    let data = dir.path().to_str().expect("path");
    let free = ["--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
    let mut command = admin(&[&["--data-dir", data][..], &free].concat());
    let mut child = command.spawn().expect("run");
    let line = ready(&mut child);
    let token = std::fs::read_to_string(dir.path().join("proxy.token")).expect("token");
    assert!(!line.contains(token.trim()), "the token is in the log");
    let grpc = format!("http://{}", field(&line, "grpc_listen"));
    let mut proxy = Proxy::connect(&grpc, token.trim(), Proxy::hello("p")).await.expect("connect");
    soon("a snapshot", proxy.follow(1)).await;
    // A connection that never asks anything must not hold it up either.
    let idle = std::net::TcpStream::connect(field(&line, "listen")).expect("connect");
    let begun = Instant::now();
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
    soon("a goodbye", proxy.goodbye()).await;
    let status = child.wait().expect("wait");
    assert_eq!(status.code(), Some(0));
    // The promise is 2 s; a loaded machine gets some more.
    assert!(begun.elapsed() < Duration::from_secs(6), "took {:?}", begun.elapsed());
    drop(idle);
}
