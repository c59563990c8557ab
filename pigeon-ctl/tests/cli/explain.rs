//! explain: codes and fields, without a server.

use serde_json::{Value, json};

use crate::support::{Admin, Ctl, Ran};

fn explain(args: &[&str]) -> Ran {
    let home = tempfile::tempdir().expect("folder");
    Ctl::new(home.path(), &[&["explain"], args].concat()).run()
}

fn as_json(what: &str) -> Value {
    let ran = explain(&[what, "-o", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{what}: {ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// What the admin serves at a path, which needs no token.
fn served(admin: &Admin, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(admin.rest).expect("connect");
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", admin.rest);
    stream.write_all(request.as_bytes()).expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[test]
fn a_code_is_explained_as_the_admin_does() {
    let admin = Admin::start();
    for code in ["PGN-R101", "PGN-A412", "PGN-P301"] {
        let ran = explain(&[code]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert!(ran.stdout.starts_with(&format!("# {code}\n\n")), "{}", ran.stdout);
        assert_eq!(ran.stdout, served(&admin, &format!("/help/{code}")));
        assert_eq!(explain(&[&code.to_lowercase()]).stdout, ran.stdout);
    }
    let code = as_json("PGN-R101");
    assert_eq!(code["code"], "PGN-R101");
    assert!(code["next"].as_str().is_some_and(|t| t.starts_with("Add the engine")), "{code}");
}

#[test]
fn a_field_is_explained_with_type_default_and_what_is_in_it() {
    let text = explain(&["engine.pool.idle_timeout"]).stdout;
    let start = "engine.spec.pool.idle_timeout\n  type     text\n  form     a number with a unit, such as 100ms, 2s or 5m\n  default  5m\n\nA connection to an endpoint idle";
    assert!(text.starts_with(start), "{text}");

    let text = explain(&["route.spec.match"]).stdout;
    assert!(text.starts_with("route.spec.match\n  type     object\n"), "{text}");
    assert!(text.contains("\nFIELD     TYPE"), "{text}");
    assert!(text.contains("\ngrpc      text"), "{text}");
    assert_eq!(explain(&["route.match"]).stdout, text);

    for kind in ["engine", "route", "listener", "tenant"] {
        let field = as_json(kind);
        let fields = field["fields"].as_array().expect("fields");
        assert!(fields.iter().any(|f| f["field"] == format!("{kind}.labels")), "{field}");
        assert!(fields.len() > 4, "{field}");
    }
    let field = as_json("engine.pool.slots");
    assert_eq!(
        (&field["field"], &field["type"]),
        (&json!("engine.spec.pool.slots"), &json!("whole number"))
    );
    assert_eq!(field["fields"], json!([]));
    assert_eq!(
        as_json("engine/spec/endpoints/0/weight")["field"],
        "engine.spec.endpoints[].weight"
    );
}

#[test]
fn what_does_not_exist_is_answered_with_the_nearest_names() {
    for (what, nearest) in [
        ("engine.pool.slot", "engine.pool.slots"),
        ("route.spec.match.gprc", "route.match.grpc"),
        ("engin", "engine"),
        ("pool.slots", "engine.pool.slots"),
        ("PGN-R109", "PGN-R101"),
    ] {
        let ran = explain(&[what]);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{what}: {ran:?}");
        assert!(ran.stderr.contains(&format!("\"{what}\"; the nearest are")), "{}", ran.stderr);
        let next = format!("  pigeon-ctl explain {nearest}\n");
        assert!(ran.stderr.contains(&next), "{what}: {}", ran.stderr);
    }
}
