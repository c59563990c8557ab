//! lint: every fault of every file, without a server.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ctl, DEMO, Ran};

/// A folder with these files, and nothing that could lead to a server.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folders");
        std::fs::write(path, text).expect("write");
    }
    home
}

fn lint(home: &Path, args: &[&str]) -> Ran {
    // Nothing listens there: whoever asks a server fails.
    Ctl::new(home, &[&["lint"], args].concat()).env("PIGEON_SERVER", "http://127.0.0.1:1").run()
}

const ROUTE: &str = "kind: route\nname: r\nspec: {match: {listener: default}, engine: web}\n";

#[test]
fn good_files_have_no_findings() {
    let home = folder(&[("a.yaml", DEMO), ("deep/r.yaml", ROUTE)]);
    let ran = lint(home.path(), &["-f", "a.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.stdout, "nothing found: 2 objects in 1 file\n");
    // Files are looked at together, and there is the listener that a proxy has by itself.
    let ran = lint(home.path(), &["-f", ".", "-R"]);
    assert_eq!(ran.stdout, "nothing found: 3 objects in 2 files\n", "{ran:?}");
    assert_eq!(lint(home.path(), &["-f", "a.yaml", "-q"]).stdout, "");
    let ran = Ctl::new(home.path(), &["lint", "-f", "-"]).stdin(DEMO).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn a_finding_names_file_object_field_code_and_what_to_do() {
    let home = folder(&[("r.yaml", ROUTE)]);
    let ran = lint(home.path(), &["-f", "r.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    let wanted = "r.yaml: route/r /spec/engine: there is no engine \"web\"; add it first (pigeon-ctl engine add web --static HOST:PORT) or name another (PGN-R101)\n  next: Add the engine first (`pigeon-ctl engine add`), put both into one `apply`, or name another.\n1 finding in 1 file\n";
    assert_eq!(ran.stdout, wanted);
}

#[test]
fn every_fault_of_every_file_is_found() {
    let home = folder(&[
        ("conf/bad.yaml", "kind: engine\nname: web\nspec: {pool: {queue: many}, nope: 1}\n"),
        ("conf/r.yaml", ROUTE),
        ("conf/same.json", r#"{"kind": "route", "name": "r", "spec": {"engine": "web"}}"#),
        ("conf/tab.yml", "kind: engine\n\tname: t\n"),
        (
            "conf/l.yaml",
            "kind: listener\nname: a\nspec: {address: '127.0.0.1:1'}\n---\nkind: listener\nname: b\nspec: {address: '127.0.0.1:1'}\n",
        ),
    ]);
    let ran = lint(home.path(), &["-f", "conf"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    for part in [
        "conf/bad.yaml: engine/web /spec/pool/queue: is the text \"many\"",
        "conf/bad.yaml: engine/web /spec/nope: there is no field \"nope\"",
        "conf/same.json: route/r /name: route/r is also in conf/r.yaml; keep one (PGN-V107)",
        "conf/tab.yml: line 2: not YAML",
        "conf/l.yaml: listener/b /spec/address: 127.0.0.1:1 is taken by listener \"a\"",
        "5 findings in 4 files; whether what objects refer to exists was not checked",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    // The engine is there, although it is no good.
    assert!(!ran.stdout.contains("PGN-R101"), "{}", ran.stdout);
}

#[test]
fn findings_are_data_too() {
    let home = folder(&[("r.yaml", ROUTE)]);
    let wanted = json!({"file": "r.yaml", "object": "route/r", "pointer": "/spec/engine", "code": "PGN-R101"});
    for (format, read) in [("json", "/items/0"), ("yaml", "/items/0"), ("jsonl", "")] {
        let ran = lint(home.path(), &["-f", "r.yaml", "-o", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
        let all: Value = serde_saphyr::from_str(&ran.stdout).expect(format);
        let found = all.pointer(read).expect("an item");
        for (field, value) in wanted.as_object().expect("object") {
            assert_eq!(&found[field], value, "{format}: {found}");
        }
        for field in ["message", "next"] {
            assert!(found[field].as_str().is_some_and(|text| text.contains("first")), "{found}");
        }
    }
    let home = folder(&[("a.yaml", DEMO)]);
    let ran = lint(home.path(), &["-f", "a.yaml", "-o", "json"]);
    let none: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((ran.code, none), (0, json!({"items": []})));
}

#[test]
fn what_is_suppressed_is_not_found() {
    let other = "---\nkind: route\nname: other\nspec: {match: {path: /o}, engine: web}\n";
    let home = folder(&[("r.yaml", &format!("{ROUTE}{other}"))]);
    let found = |flags: &[&str]| {
        let ran = lint(home.path(), &[&["-f", "r.yaml"], flags].concat());
        (ran.code, ran.stdout.matches("PGN-R101").count())
    };
    assert_eq!(found(&[]), (1, 2));
    assert_eq!(found(&["--suppress", "PGN-R104"]), (1, 2));
    assert_eq!(found(&["--suppress", "PGN-R101=route/other"]), (1, 1));
    assert_eq!(
        found(&["--suppress", "PGN-R101=route/other", "--suppress", "PGN-R101=route/r"]),
        (0, 0)
    );
    assert_eq!(found(&["--suppress", "PGN-R101"]), (0, 0));
    let ran = lint(home.path(), &["-f", "r.yaml", "--suppress", "PGN-R999"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    for part in ["--suppress", "\"PGN-R999\"", "PGN-V100, PGN-V101", "PGN-R101"] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.stderr);
    }
}

#[test]
fn files_that_are_not_there_or_empty_are_a_wrong_call() {
    let home = folder(&[("empty.yaml", "# nothing\n"), ("notes/n.txt", "x")]);
    for (args, says) in [
        (&["-f", "missing.yaml"][..], "missing.yaml"),
        (&["-f", "empty.yaml"], "there is no object in empty.yaml"),
        (&["-f", "notes"], "no *.yaml"),
        (&[], "--filename"),
    ] {
        let ran = lint(home.path(), args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{args:?}: {ran:?}");
    }
}
