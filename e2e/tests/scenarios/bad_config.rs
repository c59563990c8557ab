//! A configuration that is not good: refused with the reason, while the one before serves.

use std::net::TcpListener;
use std::path::Path;

use pigeon_e2e::{Cluster, Engine, Proxy, http, until};
use serde_json::Value;

fn status_of(proxy: &Proxy, path: &str) -> String {
    match http::get(proxy.address(), path) {
        Ok(reply) => reply.status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn until_status(proxy: &Proxy, path: &str, wanted: &str) {
    until(&format!("{path} answers {wanted}"), || match status_of(proxy, path) {
        status if status == wanted => Ok(()),
        other => Err(other),
    });
}

#[test]
fn the_admin_refuses_it_and_nothing_changes() {
    let cluster = Cluster::with_demo_routes(2, 1);
    let revision = cluster.admin.revision();
    let file = cluster.dir.path().join("bad.yaml");
    let good = "kind: route\nname: extra\nspec: {match: {path: /extra}, engine: demo}\n";
    let bad = "kind: route\nname: broken\nspec: {match: {path: /broken}, engine: nobody}\n";
    std::fs::write(&file, format!("{good}---\n{bad}")).unwrap();

    let ran = cluster.ctl.run(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{ran:?}");
    for part in ["route/broken", "/spec/engine", "\"nobody\"", "pigeon-ctl engine", "PGN-R101"] {
        assert!(ran.stderr.contains(part), "{part:?} is not in {}", ran.stderr);
    }
    assert_eq!(cluster.admin.revision(), revision, "nothing is half-applied");
    for proxy in &cluster.proxies {
        assert_eq!(status_of(proxy, "/hello"), "200");
        let extra = http::get(proxy.address(), "/extra").unwrap();
        assert_eq!(extra.header("pigeon-reason"), Some("no_route"), "{}", extra.text());
    }
}

const LISTENER: &str = "kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";

fn engine_and_route(engine: &Engine, path: &str) -> String {
    format!(
        "{LISTENER}---\nkind: engine\nname: demo\nspec: {{endpoints: [{{address: '{}'}}]}}\n\
         ---\nkind: route\nname: hello\nspec: {{match: {{path: {path}}}, engine: demo}}\n",
        engine.address()
    )
}

/// As editors do it: written beside, then moved over.
fn save(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, file).unwrap();
}

#[test]
fn a_proxy_with_a_file_keeps_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start("demo-1", &[]);
    let file = dir.path().join("gateway.yaml");
    save(&file, &engine_and_route(&engine, "/hello"));
    let mut proxy = Proxy::from_file("by-file", &file);
    assert_eq!(status_of(&proxy, "/hello"), "200");

    let bad = [
        (
            "no such engine",
            engine_and_route(&engine, "/hello").replace("engine: demo", "engine: nobody"),
            "nobody",
        ),
        (
            "an unknown field",
            engine_and_route(&engine, "/hello").replace("engine: demo", "enginee: demo"),
            "enginee",
        ),
        ("a tab", "kind: engine\n\tname: x\n".to_owned(), "tab"),
    ];
    for (what, text, word) in bad {
        save(&file, &text);
        proxy.process.line(word);
        assert_eq!(status_of(&proxy, "/hello"), "200", "{what}");
    }

    // Saved in place this time, and good again.
    std::fs::write(&file, engine_and_route(&engine, "/hello*")).unwrap();
    until_status(&proxy, "/hello/x", "404");
    until("the new route serves", || {
        let reply = http::get(proxy.address(), "/hello/x").map_err(|error| error.to_string())?;
        // The engine's own 404 comes without a reason of the gateway's.
        match reply.header("pigeon-reason") {
            None => Ok(()),
            Some(reason) => Err(reason.to_owned()),
        }
    });
}

#[test]
fn a_file_that_is_bad_from_the_start_is_an_error() {
    use pigeon_e2e::{Process, programs};
    use std::process::Command;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.yaml");
    std::fs::write(&file, "kind: route\nname: r\nspec: {engine: nobody}\n").unwrap();
    let mut command = Command::new(programs::path("pigeon-proxy"));
    command.arg("--config").arg(&file).args(["--status-listen", "127.0.0.1:0"]);
    let mut proxy = Process::start("pigeon-proxy", command);
    let status = proxy.ended();
    assert_eq!(status.code(), Some(1), "{status}\n{}", proxy.stderr());
    assert!(proxy.stderr().contains("nobody"), "{}", proxy.stderr());
}

/// Only the proxies can know that a port is taken on their machine.
#[test]
fn a_proxy_that_cannot_listen_refuses_that_alone() {
    let cluster = Cluster::with_demo_routes(2, 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let ran = cluster.ctl.run(&["listener", "add", "extra", "--address", &address]);
    assert_eq!(ran.code, 1, "a proxy refused: {ran:?}");
    let said = ran.stdout.clone() + &ran.stderr;
    for part in ["listener/extra", "revision", "edge-1", "edge-2", "in use"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let revision = cluster.admin.revision();
    for proxy in &cluster.proxies {
        let seen = cluster.admin.proxy(proxy.name());
        assert_eq!(seen["state"], "rejected", "{seen}");
        assert_eq!(seen["revision"], revision, "{seen}");
        assert!(seen["effective_revision"].as_u64() < Some(revision), "{seen}");
        let refused = &seen["rejected"][0];
        assert_eq!(
            (&refused["kind"], &refused["name"]),
            (&Value::from("listener"), &Value::from("extra"))
        );
        assert_eq!(refused["code"], "PGN-P301", "{seen}");
        assert!(refused["message"].as_str().unwrap().contains(&address), "{seen}");
        assert_eq!(refused["serving_mod_revision"], 0, "{seen}");
        assert_eq!(status_of(proxy, "/hello"), "200", "calls go on");
    }
    let listed = cluster.ctl.ok(&["proxy", "list"]);
    assert!(listed.contains("extra") && listed.contains("in use"), "{listed}");

    // What comes after is applied all the same.
    let ran = cluster.ctl.run(&["route", "add", "more", "--path", "/hello/*", "--engine", "demo"]);
    assert!([0, 1].contains(&ran.code), "{ran:?}");
    for proxy in &cluster.proxies {
        until("the route serves", || {
            let reply =
                http::get(proxy.address(), "/hello/x").map_err(|error| error.to_string())?;
            reply.header("pigeon-reason").map_or(Ok(()), |reason| Err(reason.to_owned()))
        });
    }

    // A listener that both proxies of one machine are to open is refused by one of them; so that
    // everything is well again it has to go.
    cluster.ctl.ok(&["listener", "rm", "extra", "-y"]);
    cluster.in_sync();
    drop(taken);
}

/// The listener opens by itself once the port is free.
#[test]
fn a_listener_opens_when_its_port_is_free() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let ran = cluster.ctl.run(&["listener", "add", "extra", "--address", &at.to_string()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    drop(taken);
    until("the listener answers", || match http::get(at, "/hello") {
        Ok(reply) if reply.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.in_sync();
}
