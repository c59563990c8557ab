//! `pigeon-ctl dev`: starts, serves, stops, and says clearly when it cannot.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ctl, Ran};

/// Longest time anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const ANY_PORTS: [&str; 8] =
    ["--port", "0", "--admin-port", "0", "--grpc-port", "0", "--status-port", "0"];

/// A running `dev`.
struct Dev {
    child: Child,
    screen: Value,
}

impl Dev {
    /// Starts it on free ports and waits for its screen.
    fn start(home: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
            .args(["dev", "-o", "json"])
            .args(ANY_PORTS)
            .args(args)
            .env_clear()
            .env("HOME", home)
            .env("TMPDIR", home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let stdout = child.stdout.take().expect("pipe");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                text.push_str(&line);
                if let Ok(screen) = serde_json::from_str::<Value>(&text) {
                    let _ = tell.send(screen);
                }
            }
        });
        match told.recv_timeout(PATIENCE) {
            Ok(screen) => Self { child, screen },
            Err(e) => {
                child.kill().expect("kill");
                let mut stderr = String::new();
                let pipe = child.stderr.take().expect("pipe");
                BufReader::new(pipe).read_to_string(&mut stderr).expect("stderr");
                panic!("no screen ({e}): {stderr}");
            }
        }
    }

    fn text(&self, field: &str) -> &str {
        self.screen[field].as_str().expect(field)
    }

    /// What the gateway answers to `GET path`, head and body.
    fn get(&self, path: &str) -> String {
        let address = self.text("gateway").trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("gateway");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
            .expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        answer
    }

    /// Sends a signal; says how it ended and what it wrote to stderr.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let mut pipe = self.child.stderr.take().expect("pipe");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut stderr = String::new();
            let read = pipe.read_to_string(&mut stderr);
            let _ = tell.send(read.map(|_| stderr));
        });
        // The pipe ends with the process.
        let stderr = told.recv_timeout(PATIENCE).expect("it stops").expect("UTF-8");
        let status = self.child.wait().expect("wait");
        (status.code(), stderr)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
    }
}

fn ctl(home: &Path, args: &[&str]) -> Ran {
    Ctl::new(home, args).env("TMPDIR", &home.display().to_string()).run()
}

fn list(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until every demo engine has finished calls; none may have failed.
fn wait_for_traffic(home: &Path) {
    let end = Instant::now() + PATIENCE;
    loop {
        let ran = ctl(home, &["engine", "list", "-o", "json"]);
        let list: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let engines = list["items"].as_array().expect("items");
        assert_eq!(engines.len(), 3);
        if engines.iter().all(|e| e["status"]["calls"].as_u64() > Some(1)) {
            assert!(engines.iter().all(|e| e["status"]["failures"] == 0), "{list}");
            return;
        }
        assert!(Instant::now() < end, "no traffic: {list}");
    }
}

#[test]
fn from_nothing_to_a_call_through_a_route_made_by_the_cli() {
    let home = tempfile::tempdir().expect("folder");
    let dev = Dev::start(home.path(), &["--ephemeral", "--traffic", "50"]);
    let answer = dev.get("/hello");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("hello from demo-http-1\n"), "{answer}");
    assert!(dev.get("/other").contains("pigeon-reason"));

    // The context "dev" is selected: no flag is needed.
    let ran = ctl(home.path(), &["route", "add", "x", "--path", "/other", "--engine", "demo-http"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("route/x added   revision "), "{ran:?}");
    assert!(ran.stdout.contains("applied by 1/1 proxy in "), "{ran:?}");
    // The gateway sends it on now; it is the engine that knows no such path.
    assert!(!dev.get("/other").contains("pigeon-reason"));

    let ran = ctl(home.path(), &["proxy", "list"]);
    let row: Vec<&str> = ran.stdout.lines().nth(1).expect("row").split_whitespace().collect();
    assert_eq!((row[0], row[row.len() - 2], row[row.len() - 1]), ("dev", "in", "sync"), "{ran:?}");

    wait_for_traffic(home.path());
    let ran = ctl(home.path(), &["status"]);
    assert!(ran.stdout.contains("problems  none"), "{ran:?}");

    let began = Instant::now();
    let (code, stderr) = dev.stop("-INT");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(began.elapsed() < PATIENCE / 2);
    // Nothing is left but the context.
    assert_eq!(list(home.path()), [".config"]);
    assert_eq!(ctl(home.path(), &["engine", "list"]).code, 4);
}

#[test]
fn a_second_start_keeps_what_was_configured_and_what_was_removed() {
    let home = tempfile::tempdir().expect("folder");
    let data = home.path().join("data").display().to_string();
    let args = ["--data-dir", data.as_str()];
    let dev = Dev::start(home.path(), &args);
    for command in [
        &["engine", "set", "demo-speech", "--queue", "3"][..],
        &["route", "rm", "demo-health", "-y"],
        &["route", "add", "mine", "--path", "/mine", "--engine", "demo-http"],
    ] {
        let ran = ctl(home.path(), command);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let routes = ctl(home.path(), &["route", "list"]).stdout;
    assert_eq!(dev.stop("-TERM").0, Some(0));

    let dev = Dev::start(home.path(), &args);
    assert_eq!(ctl(home.path(), &["route", "list"]).stdout, routes);
    let ran = ctl(home.path(), &["engine", "get", "demo-speech", "-o", "json"]);
    let engine: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(engine["spec"]["pool"]["queue"], 3);
    assert!(dev.get("/hello").ends_with("hello from demo-http-1\n"));
    assert_eq!(dev.stop("-TERM").0, Some(0));
}

#[test]
fn without_the_demo_there_is_nothing_but_the_listener() {
    let home = tempfile::tempdir().expect("folder");
    let dev = Dev::start(home.path(), &["--ephemeral", "--no-demo"]);
    let ran = ctl(home.path(), &["export", "-o", "json"]);
    let items: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let port = dev.text("gateway").rsplit(':').next().expect("port").to_owned();
    assert_eq!(items["items"].as_array().expect("items").len(), 1, "{items}");
    assert_eq!(items["items"][0]["spec"]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(dev.stop("-INT").0, Some(0));
}

#[test]
fn a_second_instance_on_the_same_directory_is_refused() {
    let home = tempfile::tempdir().expect("folder");
    let data = home.path().join("data").display().to_string();
    let dev = Dev::start(home.path(), &["--data-dir", &data]);
    let before = list(Path::new(&data));
    let ran = ctl(home.path(), &[&["dev", "--data-dir", &data], &ANY_PORTS[..]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().filter(|l| l.starts_with("error: ")).count(), 1, "{ran:?}");
    assert!(ran.stderr.contains(&data), "{ran:?}");
    assert!(ran.stderr.contains("runs on it"), "{ran:?}");
    // The first one is none the worse.
    assert_eq!(list(Path::new(&data)), before);
    assert!(dev.get("/hello").starts_with("HTTP/1.1 200 "));
    assert_eq!(dev.stop("-INT").0, Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_flag_and_nothing_is_left() {
    let home = tempfile::tempdir().expect("folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = taken.local_addr().expect("address").port().to_string();
    for flag in ["--port", "--admin-port", "--grpc-port", "--status-port"] {
        let mut ports = ANY_PORTS;
        let at = ports.iter().position(|p| *p == flag).expect("flag");
        ports[at + 1] = &port;
        for keep in [&["--ephemeral"][..], &["--data-dir", "data"]] {
            let ran = ctl(home.path(), &[&["dev"], &ports[..], keep].concat());
            assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{flag}: {ran:?}");
            let line = format!("error: port {port} is in use ({flag})");
            assert!(ran.stderr.starts_with(&line), "{flag}: {ran:?}");
            assert_eq!(list(home.path()), Vec::<String>::new(), "{flag}: something is left");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let home = tempfile::tempdir().expect("folder");
    std::fs::write(home.path().join("file"), "").expect("write");
    for data in ["file", "file/below"] {
        let ran = ctl(home.path(), &["dev", "--data-dir", data]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: --data-dir "), "{ran:?}");
        assert!(ran.stderr.contains(data), "{ran:?}");
    }
    let ran = ctl(home.path(), &["dev", "--ephemeral", "--data-dir", "x"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
