//! `audit`, against a running admin.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::Admin;

#[test]
fn who_changed_what_is_listed_and_filtered() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "asr", "--static", "127.0.0.1:1"]);
    admin.ok(&["engine", "set", "asr", "--lb", "p2c"]);
    let table = admin.ok(&["audit"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("AT") && lines[0].contains("REVISION"), "{table}");
    assert!(lines[1].contains("admin") && lines[1].contains("update  engine/asr"), "{table}");
    let updates = admin.json(&["audit", "--kind", "engine", "--action", "update", "--since", "1h"]);
    assert_eq!(updates["items"].as_array().map(Vec::len), Some(1), "{updates}");
    assert_eq!(updates["items"][0]["after"]["spec"]["balance"], "p2c");
    assert_eq!(admin.json(&["audit", "--actor", "nobody"])["items"], serde_json::json!([]));
    let wrong = admin.ctl(&["audit", "--since", "yesterday"]).run();
    assert!(wrong.code == 2 && wrong.stderr.contains("such as"), "{wrong:?}");
}

#[test]
fn a_watch_goes_on_with_what_comes() {
    let admin = Admin::start();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"));
    watch.args(["audit", "-w", "-o", "json", "--kind", "engine"]).stdout(Stdio::piped());
    watch.env("PIGEON_SERVER", admin.url()).env("PIGEON_TOKEN_FILE", admin.token_file());
    let mut watch = watch.spawn().expect("it starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    for name in ["a", "b"] {
        admin.ok(&["engine", "add", name, "--static", "127.0.0.1:1"]);
        let line = lines.next().expect("a line").expect("text");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&event["action"], &event["name"]), (&"create".into(), &name.into()));
    }
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
}
