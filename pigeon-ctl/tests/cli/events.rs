//! `events`, against an admin that comes and goes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::support::Admin;

/// `events` as it runs.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Following {
    fn start(admin: &Admin, args: &[&str]) -> Self {
        Self::with(admin, &admin.token_file().display().to_string(), args)
    }

    fn with(admin: &Admin, token_file: &str, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
            .arg("events")
            .args(args)
            .env_clear()
            .env("HOME", admin.dir.path())
            .env("PIGEON_SERVER", admin.url())
            .env("PIGEON_TOKEN_FILE", token_file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, lines, errors }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        assert!(line.ends_with('\n'), "it ended: {line:?}");
        line
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).expect("one JSON document per line")
    }

    fn error(&mut self) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).expect("text");
        line
    }

    /// Waits for its end: how it exits, and what else it said to standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.errors.read_to_string(&mut said).expect("text");
        (self.child.wait().expect("an end"), said)
    }

    fn interrupt(self) -> (ExitStatus, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
        self.end()
    }
}

fn add(admin: &Admin, name: &str) {
    admin.ok(&["engine", "add", name, "--static", "a:1", "--no-wait"]);
}

#[test]
fn a_line_for_each_event_until_ctrl_c() {
    let admin = Admin::start();
    let mut events = Following::start(&admin, &[]);
    assert_eq!(
        events.line().split_whitespace().collect::<Vec<_>>(),
        ["RECEIVED", "WHAT", "OBJECT", "REVISION"]
    );
    add(&admin, "a");
    let line = events.line();
    let words: Vec<_> = line.split_whitespace().collect();
    let revision = admin.json(&["engine", "get", "a"])["revision"].to_string();
    assert_eq!(words[1..], ["put", "engine/a", &revision], "{line}");
    assert!(words[0].ends_with('Z') && words[0].contains('T'), "{line}");
    admin.ok(&["engine", "rm", "a", "-y", "--no-wait"]);
    assert!(events.line().contains("  del           engine/a  "));
    let (status, said) = events.interrupt();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn what_is_missed_while_the_server_is_away_comes_when_it_is_back() {
    let mut admin = Admin::start();
    add(&admin, "a");
    let mut events = Following::start(&admin, &["-o", "jsonl", "--since", "1"]);
    let first = events.json();
    assert_eq!((&first["event"], &first["data"]["name"]), (&json!("config"), &json!("a")));
    assert!(first["id"].as_str().is_some_and(|id| id.starts_with("1-")), "{first}");
    assert_eq!(events.json()["event"], "bookmark");
    admin.stop();
    let away = events.error();
    assert!(away.contains("trying again"), "{away}");
    admin.start_again();
    for name in ["b", "c"] {
        add(&admin, name);
    }
    for name in ["b", "c"] {
        let mut next = events.json();
        while next["event"] == "bookmark" {
            next = events.json();
        }
        assert_eq!((&next["event"], &next["data"]["name"]), (&json!("config"), &json!(name)));
        assert_eq!(next["data"]["object"]["spec"]["endpoints"][0]["address"], "a:1");
    }
    let (status, said) = events.interrupt();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""), "said once");
}

#[test]
fn a_store_that_was_put_back_is_said() {
    let mut admin = Admin::start();
    let mut events = Following::start(&admin, &["--topics", "config", "-o", "json"]);
    assert_eq!(events.json()["event"], "bookmark");
    admin.stop();
    assert!(events.error().contains("trying again"));
    let data = admin.dir.path().join("data");
    let place = pigeon_admin::store::Place::File(data.join("pigeon.db"));
    let copy = admin.dir.path().join("copy.db");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        pigeon_admin::store::backup(&place, &copy).await.expect("a backup");
        pigeon_admin::store::restore(&copy, &place, &data).await.expect("a restored store");
    });
    admin.start_again();
    assert_eq!(events.json()["event"], "resync");
    let said = events.error();
    assert!(said.contains("not all there"), "{said}");
    add(&admin, "a");
    let next = events.json();
    assert_eq!((&next["data"]["op"], &next["data"]["name"]), (&json!("put"), &json!("a")));
    assert_eq!(events.interrupt().0.code(), Some(0));
}

#[test]
fn it_ends_with_its_token() {
    let admin = Admin::start();
    let token = admin.ok(&["-q", "token", "create", "t", "--role", "viewer"]);
    let file = admin.write("t.token", &token);
    let mut events = Following::with(&admin, &file, &["--topics", "config"]);
    events.line();
    admin.ok(&["token", "revoke", "t", "-y"]);
    // The next event is not told to it any more.
    add(&admin, "a");
    let (status, said) = events.end();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("PGN-A401") && !said.contains("trying again"), "{said}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let admin = Admin::start();
    let Following { mut child, lines, .. } = Following::start(&admin, &["-o", "jsonl"]);
    drop(lines);
    add(&admin, "a");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn what_cannot_be_followed_is_said_at_once() {
    let admin = Admin::start();
    for (args, code, why) in [
        (&["--since", "9999"][..], 5, "list again"),
        (&["--since", "7-1"], 5, "another store"),
        (&["--since", "soon"], 2, "such as 1-42"),
        (&["--topics", "proxies", "--since", "1"], 2, "topic config"),
        (&["--topics", "config,nope"], 2, "proxies"),
        (&["--server", "http://127.0.0.1:1"], 3, "nothing listens there"),
    ] {
        let ran = admin.ctl(&[&["events"][..], args].concat()).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(why), "{args:?}: {ran:?}");
    }
}
