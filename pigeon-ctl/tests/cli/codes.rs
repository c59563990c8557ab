//! Every command in every format: the exit code is the same, and what is printed parses.

use serde_json::Value;

use crate::support::{Admin, Ctl, DEMO, Ran};

/// Commands against an admin with the objects of [`DEMO`], and their exit codes.
const TABLE: &[(&[&str], i32)] = &[
    (&["status"], 0),
    (&["engine", "list"], 0),
    (&["engine", "get", "web"], 0),
    (&["engine", "get", "nope"], 5),
    (&["engine", "add", "web"], 6),
    (&["engine", "add", "NOPE"], 7),
    (&["engine", "set", "web", "--queue", "8"], 0),
    (&["engine", "set", "web", "--queue", "9", "--dry-run"], 0),
    (&["engine", "set", "web", "--queue", "9", "--if-match", "77777"], 6),
    (&["engine", "rm", "web"], 2),
    (&["engine", "rm", "web", "-y"], 6),
    (&["engine", "rm", "nope", "-y"], 5),
    (&["route", "list"], 0),
    (&["route", "get", "users"], 0),
    (&["route", "get", "a/../b c"], 5),
    (&["route", "add", "r", "--engine", "nope"], 7),
    (&["route", "set", "users", "--priority", "-5"], 0),
    (&["route", "test", "--path", "/users/1", "--method", "GET", "--host", "example.com"], 0),
    (&["route", "test", "--path", "/zzz"], 1),
    (&["listener", "list"], 0),
    (&["listener", "get", "default"], 0),
    (&["listener", "add", "l", "--address", "nope"], 7),
    (&["apply", "-f", "demo.yaml"], 0),
    (&["apply", "-f", "demo.yaml", "--no-wait"], 0),
    (&["apply", "-f", "missing.yaml"], 2),
    (&["apply", "-f", "bad.yaml"], 7),
    (&["diff", "-f", "demo.yaml"], 0),
    (&["diff", "-f", "other.yaml"], 1),
    (&["diff", "-f", "bad.yaml"], 7),
    (&["lint", "-f", "demo.yaml"], 0),
    (&["lint", "-f", "bad.yaml"], 1),
    (&["lint", "-f", "missing.yaml"], 2),
    (&["lint", "-f", "demo.yaml", "--suppress", "PGN-X1"], 2),
    (&["edit", "route/nope"], 5),
    (&["edit", "nope/users"], 2),
    (&["edit", "users"], 2),
    (&["explain", "PGN-R101"], 0),
    (&["explain", "engine.pool"], 0),
    (&["explain", "PGN-X1"], 5),
    (&["explain", "engine.nope"], 5),
    (&["explain"], 2),
    (&["export"], 0),
    (&["export", "route", "engines"], 0),
    (&["proxy", "list"], 0),
    (&["proxy", "get", "nope"], 5),
    (&["revision", "list"], 0),
    (&["revision", "list", "--limit", "1"], 0),
    (&["events", "--since", "9999"], 5),
    (&["events", "--topics", "nope"], 2),
    (&["context", "list"], 0),
    (&["context", "show"], 0),
    (&["context", "use", "nope"], 5),
    (&["version"], 0),
    (&["nonsense"], 2),
    (&["engine", "add"], 2),
    (&["route", "test"], 2),
    (&["engine", "list", "--server", "http://127.0.0.1:1"], 3),
    (&["engine", "list", "--server", "ftp://x"], 2),
    (&["engine", "list", "--token-file", "wrong.token"], 4),
    (&["engine", "list", "--token-file", "missing.token"], 4),
    (&["engine", "list", "-c", "nope"], 5),
];

fn prepared() -> Admin {
    let admin = Admin::start();
    let demo = admin.write("demo.yaml", DEMO);
    admin.write("other.yaml", &DEMO.replace("queue: 8", "queue: 9"));
    admin.write("bad.yaml", "kind: engine\nname: x\nspec: {nope: 1}\n");
    admin.write("wrong.token", "wrong");
    admin.ok(&["apply", "-f", &demo]);
    admin
}

fn run_all(admin: &Admin, flags: &[&str], check: impl Fn(&[&str], &Ran)) {
    for (args, code) in TABLE {
        let ran = admin.ctl(&[args, flags].concat()).run();
        assert_eq!(ran.code, *code, "{args:?} {flags:?}: {ran:?}");
        // 1 is an answer, not an error.
        if *code > 1 {
            assert_eq!(ran.stdout, "", "{args:?} {flags:?}");
            assert_ne!(ran.stderr, "", "{args:?} {flags:?}");
        } else {
            assert_eq!(ran.stderr, "", "{args:?} {flags:?}");
        }
        check(args, &ran);
    }
}

#[test]
fn for_people() {
    let admin = prepared();
    run_all(&admin, &[], |args, ran| {
        if ran.code > 1 {
            assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
        }
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains('\x1b'), "{args:?}: {text:?}");
            assert!(text.is_empty() || text.ends_with('\n'), "{args:?}: {text:?}");
        }
    });
}

#[test]
fn as_json() {
    let admin = prepared();
    run_all(&admin, &["-o", "json"], |args, ran| {
        let text = if ran.code > 1 { &ran.stderr } else { &ran.stdout };
        let value: Value =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"));
        if args[1..].first() == Some(&"list") && ran.code == 0 {
            assert!(value["items"].is_array(), "{args:?}: {value}");
        }
    });
}

#[test]
fn as_json_lines() {
    let admin = prepared();
    let mut lists = 0;
    run_all(&admin, &["-o", "jsonl"], |args, ran| {
        let text = if ran.code > 1 { &ran.stderr } else { &ran.stdout };
        for line in text.lines() {
            let value: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"));
            assert!(value.is_object() && value.get("items").is_none(), "{args:?}: {value}");
        }
    });
    for args in [&["engine", "list"][..], &["export"], &["revision", "list"]] {
        let items = admin.json(args)["items"].as_array().expect("items").len();
        let lines = admin.ok(&[args, &["-o", "jsonl"]].concat()).lines().count();
        assert_eq!(lines, items, "{args:?}");
        lists += items;
    }
    assert!(lists > 3, "{lists} items");
}

#[test]
fn as_yaml() {
    let admin = prepared();
    run_all(&admin, &["-o", "yaml"], |args, ran| {
        let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&ran.stdout);
        let documents = documents.unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ran.stdout));
        if ran.code <= 1 && args[0] != "export" {
            assert_eq!(documents.len(), 1, "{args:?}: {}", ran.stdout);
        }
    });
}

#[test]
fn quiet_prints_only_what_was_asked_for() {
    let admin = prepared();
    assert_eq!(admin.ok(&["engine", "set", "web", "--queue", "3", "-q"]), "");
    assert_eq!(admin.ok(&["apply", "-f", "demo.yaml", "--quiet"]), "");
    assert_ne!(admin.ok(&["engine", "list", "-q"]), "");
}

#[test]
fn the_table_in_help_and_docs_is_the_one_in_the_program() {
    let home = tempfile::tempdir().expect("folder");
    let help = Ctl::new(home.path(), &["help", "exit-codes"]).run();
    assert_eq!(help.code, 0, "{help:?}");
    let docs = include_str!("../../../docs/cli.md");
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "70", "130"] {
        let in_help = help.stdout.lines().any(|l| l.split_whitespace().next() == Some(code));
        assert!(in_help, "{code} is not in\n{}", help.stdout);
        assert!(docs.contains(&format!("| {code} |")), "{code} is not in docs/cli.md");
    }
    let help = Ctl::new(home.path(), &["help", "environment"]).run();
    for name in ["PIGEON_SERVER", "PIGEON_TOKEN_FILE", "PIGEON_CONFIG", "NO_COLOR"] {
        assert!(help.stdout.contains(name), "{name} is not in\n{}", help.stdout);
        assert!(docs.contains(name), "{name} is not in docs/cli.md");
    }
}
