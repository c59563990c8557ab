//! Every bad input gets one clear message: the field, the value, what to do. Nothing is half done.

use serde_json::{Value, json};

use crate::support::{Admin, Ctl};

struct Case {
    args: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        args: &["route", "add", "x", "--grpc", "a.B", "--engine", "nope"],
        code: 7,
        says: &["route/x: there is no engine \"nope\"", "engine add", "PGN-R101"],
    },
    Case {
        args: &["route", "add", "dup", "--path", "/users*", "--engine", "web"],
        code: 7,
        says: &["/spec/priority: is 0", "dup", "users", "another priority", "PGN-R104"],
    },
    Case {
        args: &["engine", "add", "x", "--static", "nonsense"],
        code: 7,
        says: &["/spec/endpoints/0/address", "nonsense", "port is missing", "PGN-V105"],
    },
    Case {
        args: &["engine", "add", "has space", "--static", "a:1"],
        code: 7,
        says: &["has space", "lower-case letters", "PGN-V105"],
    },
    Case {
        args: &["engine", "set", "web", "--queue-timeout", "5"],
        code: 7,
        says: &["engine/web", "\"5\" is not a duration", "unit is missing"],
    },
    Case {
        args: &["engine", "set", "web", "--slots", "9"],
        code: 7,
        says: &["pool.mode is off, but slots is set", "PGN-E102"],
    },
    Case {
        args: &["listener", "add", "x", "--address", "localhost:80"],
        code: 7,
        says: &["localhost:80", "IP:port"],
    },
    Case {
        args: &["engine", "set", "web", "--queue", "3", "--if-match", "99999"],
        code: 6,
        says: &["error: "],
    },
    Case {
        args: &["engine", "add", "web", "--static", "a:1"],
        code: 6,
        says: &["\"web\" exists already", "engine set web"],
    },
    Case { args: &["engine", "rm", "web", "-y"], code: 6, says: &["users", "PGN-E103"] },
    Case {
        args: &["engine", "set", "nope", "--queue", "3"],
        code: 5,
        says: &["nope", "engine list"],
    },
    Case { args: &["engine", "set", "web"], code: 2, says: &["nothing to change"] },
    Case { args: &["engine", "add", "x", "--slots", "many"], code: 2, says: &["--slots", "many"] },
    Case {
        args: &["engine", "add", "x", "--static", "a:1=z"],
        code: 2,
        says: &["HOST:PORT=SLOTS"],
    },
    Case { args: &["engine", "set", "web", "--lb", "rr"], code: 2, says: &["rr", "round-robin"] },
    Case {
        args: &["engine", "set", "web", "--lb", "hash"],
        code: 7,
        says: &["/spec/hash_key: is missing", "header:NAME", "PGN-V106"],
    },
    Case {
        args: &["engine", "set", "web", "--health", "ping"],
        code: 7,
        says: &["/spec/health/check", "\"ping\" is not a health check", "http:/path"],
    },
    Case {
        args: &["engine", "set", "web", "--max-requests", "few"],
        code: 2,
        says: &["--max-requests", "few"],
    },
    Case {
        args: &["engine", "drain", "web", "--endpoint", "z:1"],
        code: 5,
        says: &["engine \"web\" has no endpoint \"z:1\"", "engine endpoints web"],
    },
    Case { args: &["engine", "drain", "nope"], code: 5, says: &["nope", "engine list"] },
    Case { args: &["engine", "endpoints", "nope"], code: 5, says: &["nope", "engine list"] },
    Case {
        args: &["route", "set", "users", "--to", "web2"],
        code: 2,
        says: &["web2", "ENGINE=PERCENT"],
    },
    Case {
        args: &["route", "set", "users", "--to", "nope=10%"],
        code: 7,
        says: &["no engine \"nope\"", "PGN-R101"],
    },
    Case {
        args: &["route", "set", "users", "--to", "web=10%"],
        code: 7,
        says: &["/spec/split", "\"web\" twice"],
    },
    Case {
        args: &["route", "set", "users", "--retries", "2"],
        code: 7,
        says: &["/spec/retry/on: is empty", "UNAVAILABLE"],
    },
    Case {
        args: &["route", "set", "users", "--retries", "1", "--retry-on", "SOMETIMES"],
        code: 7,
        says: &["/spec/retry/on/0", "\"SOMETIMES\" is nothing to retry on"],
    },
    Case { args: &["apply", "-f", "nope.yaml"], code: 2, says: &["nope.yaml"] },
];

fn prepared() -> Admin {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "web", "--static", "a:1"]);
    admin.ok(&["route", "add", "users", "--path", "/users*", "--engine", "web"]);
    admin
}

#[test]
fn each_is_refused_with_a_clear_message_and_changes_nothing() {
    let admin = prepared();
    let before = admin.ok(&["export"]);
    for Case { args, code, says } in CASES {
        let ran = admin.ctl(args).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (*code, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
        for part in *says {
            assert!(ran.stderr.contains(part), "{args:?} without {part:?}:\n{}", ran.stderr);
        }
    }
    assert_eq!(admin.ok(&["export"]), before);
}

#[test]
fn as_json_the_same_is_one_problem_document_on_stderr() {
    let admin = prepared();
    for Case { args, code, .. } in CASES {
        let ran = admin.ctl(&[args, &["-o", "json"][..]].concat()).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (*code, ""), "{args:?}: {ran:?}");
        let problem: Value = serde_json::from_str(&ran.stderr)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ran.stderr));
        assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{args:?}: {problem}");
    }
    let ran = admin.ctl(&["route", "add", "x", "--engine", "nope", "-o", "json"]).run();
    let problem: Value = serde_json::from_str(&ran.stderr).expect("JSON");
    assert_eq!(problem["status"], 422);
    assert_eq!(problem["errors"][0]["pointer"], "/spec/engine");
    assert_eq!(problem["errors"][0]["object"], "route/x");
    assert_eq!(problem["code"], json!("PGN-R101"));
}

#[test]
fn a_wrong_token_is_refused() {
    let admin = prepared();
    let wrong = admin.write("wrong", "pgn_wrong");
    let ran = admin.ctl(&["engine", "list", "--token-file", &wrong]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    assert!(!ran.stderr.contains("pgn_wrong"), "{ran:?}");
}

#[test]
fn an_address_that_cannot_work_is_named() {
    let admin = prepared();
    for (server, code, says) in [
        ("ftp://127.0.0.1:9800", 2, "https://"),
        ("127.0.0.1:9800", 2, "http://"),
        ("http://127.0.0.1:1", 3, "nothing listens there"),
        ("http://no-such-host.invalid:9800", 3, "cannot reach http://no-such-host.invalid:9800"),
    ] {
        let args = ["engine", "list", "--server", server];
        let ran = Ctl::new(admin.dir.path(), &args).env("PIGEON_TOKEN", "t").run();
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{server}: {ran:?}");
        assert!(ran.stderr.contains(says), "{server}: {ran:?}");
    }
}
