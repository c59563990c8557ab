//! apply, diff and export.

use serde_json::json;

use crate::support::{Admin, DEMO};

#[test]
fn apply_diff_and_export_agree() {
    let admin = Admin::start();
    let file = admin.write("a.yaml", DEMO);
    let ran = admin.ctl(&["diff", "-f", &file]).run();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("--- /dev/null\n+++ engine/web "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n+  engine: web\n"), "{}", ran.stdout);

    let text = admin.ok(&["apply", "-f", &file]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["engine/web added", "route/users added"]);
    assert!(lines[2].starts_with("2 added   revision "), "{text}");
    assert!(lines[2].ends_with("   no proxy connected"), "{text}");

    let ran = admin.ctl(&["diff", "-f", &file]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let again = admin.ok(&["apply", "-f", &file]);
    assert!(again.contains("2 unchanged"), "{again}");

    for format in ["yaml", "json"] {
        let exported = admin.ok(&["export", "-o", format]);
        let ran = admin.ctl(&["diff", "-f", "-"]).stdin(&exported).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{format}: {ran:?}");
        let ran = admin.ctl(&["apply", "-f", "-"]).stdin(&exported).run();
        assert!(ran.stdout.contains("3 unchanged"), "{format}: {ran:?}");
    }
    assert_eq!(admin.ok(&["export"]), admin.ok(&["export", "-o", "yaml"]));
    let routes = admin.ok(&["export", "route"]);
    assert!(routes.starts_with("kind: route\nname: users\n"), "{routes}");
    assert!(!routes.contains("kind: engine"), "{routes}");
}

#[test]
fn an_export_makes_another_admin_the_same() {
    let one = Admin::start();
    let file = one.write("a.yaml", DEMO);
    one.ok(&["apply", "-f", &file]);
    let exported = one.ok(&["export"]);
    let two = Admin::start();
    let ran = two.ctl(&["apply", "-f", "-"]).stdin(&exported).run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(two.ok(&["export"]), exported);
}

#[test]
fn diff_shows_the_changed_lines_and_nothing_else() {
    let admin = Admin::start();
    let file = admin.write("a.yaml", DEMO);
    admin.ok(&["apply", "-f", &file]);
    let file = admin.write("a.yaml", &DEMO.replace("queue: 8", "queue: 9"));
    let ran = admin.ctl(&["diff", "-f", &file]).run();
    assert_eq!(ran.code, 1);
    let changed: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with(['+', '-']) && !l.starts_with("+++") && !l.starts_with("---"))
        .collect();
    assert_eq!(changed, ["-    queue: 8", "+    queue: 9"], "{}", ran.stdout);
    assert!(!ran.stdout.contains("route/users"), "{}", ran.stdout);

    let ran = admin.ctl(&["diff", "-f", &file, "-o", "json"]).run();
    assert_eq!(ran.code, 1);
    let items: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(items["items"].as_array().expect("items").len(), 1);
    assert_eq!(items["items"][0]["op"], "changed");
    assert_eq!(items["items"][0]["before"]["spec"]["pool"]["queue"], json!(8));
    let text = admin.ok(&["apply", "-f", &file, "--dry-run"]);
    assert!(text.contains("1 changed, 1 unchanged   dry run"), "{text}");
    let text = admin.ok(&["apply", "-f", &file]);
    assert!(text.starts_with("engine/web changed\nroute/users unchanged\n"), "{text}");
}

#[test]
fn folders_are_read_and_deeper_ones_with_r() {
    let admin = Admin::start();
    let engine = |name: &str| format!("kind: engine\nname: {name}\nspec: {{}}\n");
    admin.write("conf/a.yaml", &engine("a"));
    admin.write("conf/b.yml", &engine("b"));
    admin.write("conf/c.json", r#"{"kind": "engine", "name": "c", "spec": {}}"#);
    admin.write("conf/deep/d.yaml", &engine("d"));
    admin.write("conf/notes.txt", "not: configuration");
    let folder = admin.dir.path().join("conf").display().to_string();
    let text = admin.ok(&["apply", "-f", &folder]);
    assert!(text.contains("3 added"), "{text}");
    let text = admin.ok(&["apply", "-f", &folder, "-R"]);
    assert!(text.contains("1 added, 3 unchanged"), "{text}");
    let empty = admin.dir.path().join("empty");
    std::fs::create_dir(&empty).expect("folder");
    let ran = admin.ctl(&["apply", "-f", &empty.display().to_string()]).run();
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn all_errors_of_all_files_and_nothing_half_applied() {
    let admin = Admin::start();
    let good = admin.write("good.yaml", "kind: engine\nname: good\nspec: {}\n");
    let one = admin.write("one.yaml", "kind: engine\nname: a\nspec: {pool: {queue: many}}\n");
    let two = admin.write("two.yaml", "kind: rout\nname: b\n");
    let tab = admin.write("tab.yaml", "kind: engine\n\tname: t\n");
    let twice = admin.write("twice.yaml", "kind: engine\nname: good\nspec: {}\n");
    let files = ["-f", &good, "-f", &one, "-f", &two, "-f", &tab, "-f", &twice];
    let ran = admin.ctl(&[&["apply"], &files[..]].concat()).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{ran:?}");
    for part in [
        "(4 errors)",
        "one.yaml: engine/a /spec/pool/queue: is the text \"many\"",
        "two.yaml: document 1 /kind: \"rout\" is not a kind",
        "tab.yaml: line 2: not YAML: a tab",
        "twice.yaml: engine/good /name: engine/good is also in",
    ] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.stderr);
    }
    // What only the server can know is said with the file too.
    let route = admin.write("r.yaml", "kind: route\nname: r\nspec: {engine: nope}\n");
    let ran = admin.ctl(&["apply", "-f", &good, "-f", &route]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{ran:?}");
    assert!(ran.stderr.contains("r.yaml: route/r"), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no engine \"nope\""), "{}", ran.stderr);
    assert_eq!(admin.json(&["engine", "list"])["items"], json!([]));
}

#[test]
fn an_owner_prunes_their_own_set_and_nothing_else() {
    let admin = Admin::start();
    admin.ok(&["engine", "add", "by-hand", "--static", "127.0.0.1:1"]);
    let engine = |name: &str| format!("---\nkind: engine\nname: {name}\nspec: {{}}\n");
    let both = admin.write("both.yaml", &(engine("a") + &engine("b")));
    let one = admin.write("one.yaml", &engine("a"));
    admin.ok(&["apply", "-f", &both, "--owner", "speech"]);
    let set = ["--owner", "speech", "--prune"];
    let diff = admin.ctl(&[&["diff", "-f", &one], &set[..]].concat()).run();
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(
        diff.stdout.contains("--- engine/b revision") && diff.stdout.contains("+++ /dev/null"),
        "{diff:?}"
    );
    let told = admin.ctl(&[&["diff", "-o", "json", "-f", &one], &set[..]].concat()).run();
    assert!(told.stdout.contains("\"removed\"") && !told.stdout.contains("by-hand"), "{told:?}");
    let limit =
        admin.ctl(&[&["apply", "-f", &one, "--allow-deletes", "0"], &set[..]].concat()).run();
    assert!(limit.code == 6 && limit.stderr.contains("--allow-deletes 1"), "{limit:?}");
    let done = admin.ok(&[&["apply", "-f", &one], &set[..]].concat());
    assert!(done.contains("engine/b removed") && done.contains("1 removed"), "{done}");
    assert_eq!(admin.ctl(&[&["diff", "-f", &one], &set[..]].concat()).run().code, 0);
    assert!(admin.ok(&["engine", "get", "a"]).contains("# belongs to the owner speech"));
    admin.ok(&["engine", "get", "by-hand"]);
    let other = admin.ctl(&["apply", "-f", &one, "--owner", "llm"]).run();
    assert!(other.code == 6 && other.stderr.contains("PGN-A411"), "{other:?}");
    assert_eq!(admin.ctl(&["apply", "-f", &one, "--prune"]).run().code, 2);
}
