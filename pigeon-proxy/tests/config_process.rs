//! The program itself: its errors, its start line, its signals.
//!
//! Apart from the tests that hold a state directory themselves: a process being started shares their lock
//! for a moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// The folder of one proxy with an admin: its token file and state directory.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a folder"));
        std::fs::write(home.token(), "pgp_secret\n").expect("written");
        home
    }

    fn token(&self) -> PathBuf {
        self.0.path().join("proxy.token")
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("address")
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pigeon-proxy"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("PIGEON_LOG").env_remove("PIGEON_WORKERS");
    command
}

/// Exit code and standard error of a program that ends by itself.
fn fails(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = program(args).output().expect("it starts");
    (status.code(), String::from_utf8(stderr).expect("text"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// Ends the program with the test.
struct Running(Child);

impl Running {
    /// Starts it and waits for its start line.
    fn start(args: &[&str]) -> (Self, String) {
        let mut child = program(args).spawn().expect("it starts");
        let stderr = child.stderr.take().expect("piped");
        let running = Self(child);
        let line =
            BufReader::new(stderr).lines().map_while(Result::ok).find(|l| l.contains("listens on"));
        (running, line.expect("a start line"))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    fn exit_code(mut self) -> Option<i32> {
        let until = Instant::now() + LIMIT;
        loop {
            match self.0.try_wait().expect("waited") {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < until, "it does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_keeps_it_from_starting_is_one_clear_line() {
    let home = Home::new();
    let (token, state) = (home.token(), home.state());
    let admin = format!("http://{}", nowhere());
    let empty = home.0.path().join("empty");
    std::fs::write(&empty, "").expect("written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("address").to_string();
    let args = |token, state, status| {
        vec![
            "--admin",
            &admin,
            "--token-file",
            token,
            "--state-dir",
            state,
            "--status-listen",
            status,
        ]
    };
    let cases = [
        (args("/nonexistent/t", path(&state), "127.0.0.1:0"), "--token-file"),
        (args(path(&empty), path(&state), "127.0.0.1:0"), "is empty"),
        (args(path(&token), "/proc/nonexistent", "127.0.0.1:0"), "--state-dir"),
        (args(path(&token), path(&state), &taken), "--status-listen"),
    ];
    for (args, wanted) in cases {
        let (code, stderr) = fails(&args);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(wanted), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let bad = home.0.path().join("bad.yaml");
    std::fs::write(&bad, "kind: engine\nname: a b\nspec: {balance: best}\n").expect("written");
    let (code, stderr) = fails(&["--config", path(&bad), "--status-listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("/name") && stderr.contains("/spec/balance"), "{stderr}");
}

#[test]
fn one_state_directory_serves_one_proxy() {
    let home = Home::new();
    let admin = format!("http://{}", nowhere());
    let (token, state) = (home.token(), home.state());
    let args = [
        "--admin",
        &admin,
        "--token-file",
        path(&token),
        "--state-dir",
        path(&state),
        "--status-listen",
        "127.0.0.1:0",
        "--bind",
        "default=127.0.0.1:0",
        "--workers",
        "1",
    ];
    let (first, line) = Running::start(&args);
    assert!(line.contains("default=127.0.0.1:") && line.contains(&admin), "{line}");
    let (code, stderr) = fails(&args);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("in use by another pigeon-proxy"), "{stderr}");
    first.signal("-INT");
    assert_eq!(first.exit_code(), Some(0));
}

#[test]
fn it_ends_when_told_and_reads_again_when_told() {
    let home = Home::new();
    let file = home.0.path().join("pigeon.yaml");
    std::fs::write(&file, "kind: engine\nname: e\nspec: {}\n").expect("written");
    let args = [
        "--config",
        path(&file),
        "--status-listen",
        "127.0.0.1:0",
        "--bind",
        "default=127.0.0.1:0",
        "--name",
        "edge-7",
        "--workers",
        "1",
    ];
    let (proxy, line) = Running::start(&args);
    assert!(line.contains("edge-7") && line.contains("http://127.0.0.1:"), "{line}");
    assert!(line.contains(path(&file)), "{line}");
    // It does not end by that; the library's tests show that it reads again.
    proxy.signal("-HUP");
    proxy.signal("-TERM");
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let engine = TcpListener::bind("127.0.0.1:0").expect("a port");
    let home = Home::new();
    let file = home.0.path().join("pigeon.yaml");
    let documents = format!(
        "kind: engine\nname: e\nspec: {{endpoints: [{{address: '{}'}}], protocol: http1}}\n---\n\
         kind: route\nname: r\nspec: {{match: {{path: '/*'}}, engine: e}}\n",
        engine.local_addr().expect("address")
    );
    std::fs::write(&file, documents).expect("written");
    let args = ["--config", path(&file), "--status-listen", "127.0.0.1:0", "--bind"];
    let (proxy, line) = Running::start(&[&args[..], &["default=127.0.0.1:0"]].concat());
    let at = line.split("default=").nth(1).and_then(|l| l.split([' ', ';']).next());
    let mut client = TcpStream::connect(at.expect("an address")).expect("connected");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    // The call runs: the engine has it, and never answers.
    let _call = engine.accept().expect("a call");
    proxy.signal("-TERM");
    let status = line.split("http://").nth(1).and_then(|l| l.split(';').next());
    let status = status.expect("a status address");
    let until = Instant::now() + LIMIT;
    while !get(status, "/readyz").contains("draining") {
        assert!(Instant::now() < until, "it does not drain");
    }
    proxy.signal("-TERM");
    assert_eq!(proxy.exit_code(), Some(130));
}

fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the port is open");
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn sigusr2_replaces_it_by_a_new_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, socket) = (folder.path().join("pigeon.yaml"), folder.path().join("takeover.sock"));
    std::fs::write(&file, "kind: listener\nname: l\nspec: {address: '127.0.0.1:8080'}\n")
        .expect("written");
    let args = ["--config", path(&file), "--takeover-socket", path(&socket)];
    let args = [&args[..], &["--status-listen", "127.0.0.1:0", "--bind", "l=127.0.0.1:0"]].concat();
    let mut child = program(&args).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut line = |said: &str| {
        lines.by_ref().map_while(Result::ok).find(|l| l.contains(said)).expect("it is said")
    };
    let running = Running(child);
    let addresses = |line: &str| {
        let after = |key: &str| {
            let rest = &line[line.find(key).expect("an address") + key.len()..];
            rest.split(';').next().expect("its end").to_owned()
        };
        (after("l=127"), after("status on http://"))
    };
    let before = addresses(&line("listens on"));
    // In use by a process that runs: the second one is told so.
    let (code, error) = fails(&args);
    assert_eq!(code, Some(1));
    assert!(error.contains("--takeover"), "{error}");
    running.signal("-USR2");
    let asks = line("asks to take over");
    let pid: u32 = asks.rsplit("pid=").next().and_then(|p| p.parse().ok()).expect("a pid");
    // It answers where the old one did, port 0 or not.
    assert_eq!(addresses(&line("listens on")), before);
    assert_eq!(running.exit_code(), Some(0));
    let status: SocketAddr = before.1.parse().expect("an address");
    let mut socket = TcpStream::connect(status).expect("the new process listens");
    socket.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
    let ended = Command::new("kill").arg(pid.to_string()).status();
    assert!(ended.expect("kill").success());
    line("stopped");
}
