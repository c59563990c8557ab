//! Bad input through the CLI and REST: one clear message each, and nothing is half-applied.

use std::path::PathBuf;

use pigeon_e2e::http::{self, Reply};
use pigeon_e2e::{Cluster, Ran};
use serde_json::Value;

/// A command with a file: what it is about, the file, the exit code, what stderr must say.
const FILES: [(&str, &str, &[&str]); 9] = [
    (
        "an unknown field",
        "kind: engine\nname: x\nspec: {endpoints: [{address: 'a:1', wieght: 2}]}\n",
        &["engine/x", "/spec/endpoints/0/wieght", "weight"],
    ),
    (
        "a wrong type",
        "kind: engine\nname: x\nspec: {pool: {mode: strict, slots: 4, queue: many}}\n",
        &["engine/x", "/spec/pool/queue", "many", "number"],
    ),
    (
        "an unknown engine",
        "kind: route\nname: x\nspec: {match: {path: /x}, engine: nobody}\n",
        &["route/x", "/spec/engine", "nobody", "engine add nobody"],
    ),
    (
        "the same match as another route",
        "kind: route\nname: twin\nspec: {match: {path: /hello}, engine: demo}\n",
        &["route/twin", "/spec/priority", "hello"],
    ),
    (
        "a host:port that does not parse",
        "kind: engine\nname: x\nspec: {endpoints: [{address: 'asr'}]}\n",
        &["/spec/endpoints/0/address", "asr", "10.0.0.7:50051"],
    ),
    (
        "a name with spaces",
        "kind: engine\nname: my engine\nspec: {}\n",
        &["/name", "my engine", "lower-case"],
    ),
    ("a tab", "kind: engine\nname: x\nspec:\n\tendpoints: []\n", &["line 4", "tab", "spaces"]),
    ("not YAML at all", "kind: [engine\n", &["YAML"]),
    (
        "several errors at once, after a good object",
        "kind: engine\nname: good\nspec: {}\n---\nkind: rout\nname: x\n---\n\
         kind: route\nname: y\nspec: {engine: nobody, timeout: 5}\n",
        &["/kind", "rout", "/spec/timeout", "5"],
    ),
];

fn file(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let file = cluster.dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn said(what: &str, ran: &Ran, code: &[i32], parts: &[&str]) {
    assert!(code.contains(&ran.code), "{what}: exit code {}, wanted {code:?}: {ran:?}", ran.code);
    assert_eq!(ran.stdout, "", "{what}: stdout is empty on an error");
    assert!(!ran.stderr.contains('\u{1b}'), "{what}: colours in a pipe: {:?}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{what}: {part:?} is not in:\n{}", ran.stderr);
    }
}

#[test]
fn files_that_are_wrong() {
    let cluster = Cluster::with_demo_routes(0, 0);
    let revision = cluster.admin.revision();
    for (what, text, parts) in FILES {
        let path = file(&cluster, "bad.yaml", text);
        let path = path.to_str().unwrap();
        said(what, &cluster.ctl.run(&["apply", "-f", path]), &[7], parts);
        let others = ["an unknown engine", "the same match as another route"];
        if !others.contains(&what) {
            // diff reads the same files, but what concerns other objects only the server knows.
            said(what, &cluster.ctl.run(&["diff", "-f", path]), &[7], parts);
        }
        // The same for programs: one JSON document with every error.
        let ran = cluster.ctl.run(&["apply", "-f", path, "-o", "json"]);
        said(what, &ran, &[7], &[]);
        let problem: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("PGN-")), "{problem}");
        assert!(!problem["errors"].as_array().unwrap().is_empty(), "{problem}");
        assert_eq!(cluster.admin.revision(), revision, "{what}");
    }
}

/// A command line: what it is about, the words, the exit codes it may have, what stderr must say.
type Wrong = (&'static str, &'static str, &'static [i32], &'static [&'static str]);

const COMMANDS: [Wrong; 14] = [
    (
        "no such engine",
        "route add r --path /r --engine nobody",
        &[7],
        &["/spec/engine", "nobody", "PGN-R101"],
    ),
    (
        "same match",
        "route add twin --path /hello --engine demo",
        &[7],
        &["/spec/priority", "hello", "PGN-R104"],
    ),
    ("no port", "engine add x --static asr", &[2, 7], &["asr", "host:port"]),
    ("a space", "engine add my_engine --static a:1", &[2, 7], &["my engine", "name"]),
    ("slots as text", "engine add x --static a:1 --slots many", &[2], &["--slots", "many"]),
    ("slots without a mode", "engine add x --static a:1 --slots 3", &[7], &["/spec/pool/mode"]),
    ("no unit", "engine set demo --queue-timeout 100", &[2, 7], &["100", "unit"]),
    ("an unknown flag", "engine add x --statik a:1", &[2], &["--statik", "--static"]),
    ("a stale revision", "engine set demo --lb random --if-match 1", &[6], &["demo"]),
    ("it exists", "engine add demo --static a:1", &[6], &["demo"]),
    ("it is in use", "engine rm demo -y", &[6], &["demo", "PGN-E103"]),
    ("it is not there", "route get nothing", &[5], &["nothing"]),
    ("set of nothing", "route set nothing --priority 1", &[5], &["nothing"]),
    ("a file that is not there", "apply -f /nowhere/x.yaml", &[2, 5], &["/nowhere/x.yaml"]),
];

#[test]
fn commands_that_are_wrong() {
    let cluster = Cluster::with_demo_routes(0, 1);
    let revision = cluster.admin.revision();
    for (what, line, code, parts) in COMMANDS {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        said(what, &cluster.ctl.run(&words), code, parts);
        assert_eq!(cluster.admin.revision(), revision, "{what}");
    }
    let large = format!("kind: engine\nname: x\nlabels: {{a: '{}'}}\n", "x".repeat(34 << 20));
    let large = file(&cluster, "large.yaml", &large);
    let ran = cluster.ctl.run(&["apply", "-f", large.to_str().unwrap()]);
    said("an oversized file", &ran, &[2, 7], &["32 MiB"]);
    assert_eq!(cluster.admin.revision(), revision);
}

#[test]
fn a_wrong_token_and_a_wrong_server() {
    let cluster = Cluster::start(0, 0);
    let elsewhere = file(&cluster, "wrong.token", "wrong\n");
    let wrong = cluster.ctl.with_token_file(&elsewhere);
    said("a wrong token", &wrong.run(&["engine", "list"]), &[4], &["token"]);
    let missing = cluster.ctl.with_token_file(&cluster.dir.path().join("none"));
    said("no token file", &missing.run(&["engine", "list"]), &[2, 4], &["none"]);
    let nobody = format!("http://127.0.0.1:{}", pigeon_e2e::ports::free());
    let ran = cluster.ctl.with_server(&nobody).run(&["engine", "list"]);
    said("no server", &ran, &[3], &[&nobody]);
}

/// A request: what it is about, method, path, body, status, and the pointer of one of its errors.
type Refused = (&'static str, &'static str, &'static str, &'static str, u16, &'static str);

const ENGINE: &str = "/v1/engines/x";
const REQUESTS: [Refused; 14] = [
    ("an unknown field", "PUT", ENGINE, r#"{"spec": {"endpoint": []}}"#, 422, "/spec/endpoint"),
    ("a wrong type", "PUT", ENGINE, r#"{"spec": {"endpoints": "a:1"}}"#, 422, "/spec/endpoints"),
    (
        "a host:port",
        "PUT",
        ENGINE,
        r#"{"spec": {"endpoints": [{"address": "a"}]}}"#,
        422,
        "/spec/endpoints/0/address",
    ),
    ("a space", "POST", "/v1/engines", r#"{"name": "a b", "spec": {}}"#, 422, "/name"),
    ("no name", "POST", "/v1/engines", r#"{"spec": {}}"#, 422, "/name"),
    (
        "no such engine",
        "PUT",
        "/v1/routes/x",
        r#"{"spec": {"engine": "nobody"}}"#,
        422,
        "/spec/engine",
    ),
    ("another name", "PUT", ENGINE, r#"{"name": "y", "spec": {}}"#, 422, "/name"),
    (
        "another kind",
        "PUT",
        ENGINE,
        r#"{"kind": "route", "spec": {"engine": "demo"}}"#,
        422,
        "/kind",
    ),
    ("not JSON", "PUT", ENGINE, "{", 400, ""),
    ("a patch of another sort", "PATCH", "/v1/engines/demo", "{}", 415, ""),
    ("it exists", "POST", "/v1/engines", r#"{"name": "demo", "spec": {}}"#, 409, ""),
    ("it is in use", "DELETE", "/v1/engines/demo", "", 409, ""),
    ("no such kind", "GET", "/v1/pigeons", "", 404, ""),
    ("no such method", "PUT", "/v1/revisions", "{}", 405, ""),
];

fn problem(what: &str, reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    for field in ["type", "title", "detail"] {
        let said = problem[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(said, "{what}: {field} of {problem}");
    }
    problem
}

#[test]
fn rest_requests_that_are_wrong() {
    let cluster = Cluster::with_demo_routes(0, 1);
    let admin = &cluster.admin;
    let revision = admin.revision();
    for (what, method, path, body, status, pointer) in REQUESTS {
        let reply = admin.send(method, path, &[], body.as_bytes()).unwrap();
        let problem = problem(what, &reply, status);
        if !pointer.is_empty() {
            let errors = problem["errors"].as_array().unwrap();
            assert!(errors.iter().any(|error| error["pointer"] == pointer), "{what}: {problem}");
        }
        if method == "PATCH" {
            assert!(reply.header("accept-patch").is_some(), "{what}: {:?}", reply.headers);
        }
        assert_eq!(admin.revision(), revision, "{what}");
    }
}

#[test]
fn rest_bodies_and_conditions_that_are_wrong() {
    let cluster = Cluster::with_demo_routes(0, 1);
    let admin = &cluster.admin;
    let revision = admin.revision();
    let large = format!(r#"{{"labels": {{"a": "{}"}}}}"#, "x".repeat(9 << 20));
    let reply = admin.send("PUT", ENGINE, &[], large.as_bytes()).unwrap();
    problem("too large", &reply, 413);
    let reply = admin.send("PUT", ENGINE, &[("content-type", "text/plain")], b"{}").unwrap();
    problem("not text", &reply, 415);

    let path = "/v1/engines/demo";
    let etag = admin.send("GET", path, &[], b"").unwrap();
    let etag = etag.header("etag").unwrap();
    for (method, body) in [("PUT", r#"{"spec": {}}"#), ("DELETE", "")] {
        let stale = [("if-match", "\"r1\"")];
        let reply = admin.send(method, path, &stale, body.as_bytes()).unwrap();
        assert_eq!(problem("a stale revision", &reply, 412)["etag"], etag, "{}", reply.text());
    }
    let none = [("if-none-match", "*")];
    let reply = admin.send("PUT", path, &none, br#"{"spec": {}}"#).unwrap();
    problem("create only", &reply, 412);
    let same = admin.send("GET", path, &[("if-none-match", etag)], b"").unwrap();
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(admin.revision(), revision);
}

#[test]
fn rest_without_a_token_tells_and_changes_nothing() {
    let cluster = Cluster::with_demo_routes(0, 1);
    let (admin, revision) = (&cluster.admin, cluster.admin.revision());
    let token = admin.token();
    let refused = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let reply = http::send(admin.address(), method, path, headers, b"").unwrap();
        assert!(!reply.text().contains(&token), "{method} {path}");
        problem(&format!("{method} {path} {headers:?}"), &reply, 401);
        assert!(reply.header("www-authenticate").is_some(), "{:?}", reply.headers);
    };
    for (method, path) in [
        ("GET", "/v1/engines"),
        ("GET", "/v1/proxies"),
        ("DELETE", "/v1/routes/hello"),
        ("POST", "/v1/apply"),
        ("GET", "/v1/stream"),
        ("GET", "/v1/whoami"),
        ("GET", "/v1/none"),
    ] {
        refused(method, path, &[]);
    }
    let almost = format!("Bearer {token}x");
    let short = format!("Bearer {}", &token[..token.len() - 1]);
    for value in ["Bearer", "Bearer wrong", &almost, &short, &token, "Basic YTpi"] {
        refused("DELETE", "/v1/routes/hello", &[("authorization", value)]);
    }
    assert_eq!(admin.revision(), revision);
    for open in ["/healthz", "/readyz", "/openapi.json", "/metrics", "/ui/"] {
        assert_eq!(http::get(admin.address(), open).unwrap().status, 200, "{open}");
    }
}

/// Guessing is slowed down; whoever has the token does not notice.
#[test]
fn too_many_wrong_tokens_are_slowed_down() {
    let cluster = Cluster::start(0, 0);
    let admin = &cluster.admin;
    let wrong = [("authorization", "Bearer wrong")];
    let slowed = (0..200)
        .map(|_| http::send(admin.address(), "GET", "/v1/engines", &wrong, b"").unwrap())
        .find(|reply| reply.status != 401)
        .expect("200 wrong tokens in a row");
    problem("too many", &slowed, 429);
    assert!(slowed.header("retry-after").is_some(), "{:?}", slowed.headers);
    admin.get("/v1/whoami");

    let elsewhere = file(&cluster, "wrong.token", "wrong\n");
    let ctl = cluster.ctl.with_token_file(&elsewhere);
    for _ in 0..30 {
        said("the CLI, slowed down or not", &ctl.run(&["engine", "list"]), &[4], &["token"]);
    }
}
