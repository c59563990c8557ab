//! `token`, against a running admin.

use crate::support::Admin;

#[test]
fn a_token_is_made_used_listed_and_revoked() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "asr", "--static", "127.0.0.1:1", "--label", "team=a"]);
    let made =
        admin.ctl(&["token", "create", "ci", "--role", "operator", "--expires", "90d"]).run();
    assert_eq!((made.code, made.stdout.lines().count()), (0, 1), "{made:?}");
    assert!(made.stderr.contains("shown this once"), "{made:?}");
    let token = admin.write("ci.token", made.stdout.trim());
    let as_ci = |args: &[&str]| admin.ctl(&[&["--token-file", &token], args].concat()).run();
    assert_eq!(as_ci(&["engine", "drain", "asr"]).code, 0);
    let refused = as_ci(&["engine", "set", "asr", "--lb", "random"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("the role editor"), "{refused:?}");
    assert!(refused.stderr.contains("PGN-A414"), "{refused:?}");
    assert_eq!(as_ci(&["token", "list"]).code, 4);

    let scope = ["--label-scope", "team=b", "--label-scope", "env=x"];
    let quiet =
        admin.ok(&[&["-q", "token", "create", "b", "--role", "editor"], &scope[..]].concat());
    let b = admin.write("b.token", quiet.trim());
    let refused = admin.ctl(&["--token-file", &b, "engine", "set", "asr", "--lb", "random"]).run();
    assert!(refused.code == 4 && refused.stderr.contains("env=x, team=b"), "{refused:?}");
    let list = admin.ok(&["token", "list"]);
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[1].starts_with("b ") && lines[1].contains("env=x team=b"), "{list}");
    assert!(lines[2].contains("operator") && lines[2].contains("ago"), "{list}");
    let told = admin.json(&["token", "list"]);
    assert!(!told.to_string().contains(quiet.trim()), "{told}");

    // Nobody to ask.
    assert_eq!(admin.ctl(&["token", "revoke", "ci"]).run().code, 2);
    assert_eq!(admin.ctl(&["token", "revoke", "ci", "--dry-run"]).run().code, 0);
    admin.ok(&["-y", "token", "revoke", "ci"]);
    assert_eq!(as_ci(&["engine", "list"]).code, 4);
    assert_eq!(admin.ctl(&["-y", "token", "revoke", "ci"]).run().code, 5);
    let audit = admin.ok(&["audit", "--kind", "token"]);
    assert!(audit.contains("delete  token/ci") && audit.contains("create  token/b"), "{audit}");
}

#[test]
fn what_cannot_be_is_said() {
    let admin = Admin::start();
    for (args, code, why) in [
        (&["token", "create", "x", "--role", "king"][..], 2, "viewer"),
        (&["token", "create", "x"], 2, "--role"),
        (&["token", "create", "x", "--role", "admin", "--label-scope", "a="], 2, "NAME=VALUE"),
        (&["token", "create", "X y", "--role", "admin"], 7, "/name"),
        (&["token", "create", "x", "--role", "admin", "--expires", "soon"], 2, "90d"),
    ] {
        let ran = admin.ctl(args).run();
        assert!(ran.code == code && ran.stderr.contains(why), "{args:?}: {ran:?}");
    }
    let dry = admin.ctl(&["token", "create", "x", "--role", "viewer", "--dry-run"]).run();
    assert!(dry.code == 0 && dry.stdout.is_empty() && dry.stderr.contains("would"), "{dry:?}");
    assert_eq!(admin.json(&["token", "list"])["items"], serde_json::json!([]));
}
