//! Two admins on one Postgres: one is killed while both are written to. What was acknowledged is there, its proxies
//! are with the other, and no call notices.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pigeon_e2e::{Admin, Ctl, Engine, Postgres, Proxy, http, postgres, tools, until};
use serde_json::json;
use tempfile::TempDir;

const WRITERS: usize = 3;

/// Has the others stop when the test fails, too: it waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The second of two admins has the tokens of the first.
fn beside(first: &Admin, data_dir: &Path, url: &str) -> Admin {
    std::fs::create_dir(data_dir).unwrap();
    for file in [first.token_file(), first.proxy_token_file()] {
        std::fs::copy(&file, data_dir.join(file.file_name().unwrap())).unwrap();
    }
    Admin::start_on(data_dir, Some(url))
}

#[test]
fn an_admin_is_killed_under_load_and_nobody_loses_anything() {
    let Some(server) = Postgres::start() else {
        return tools::skip("several admins", "Postgres", postgres::INSTALL);
    };
    let url = server.database("pigeon");
    let dir = TempDir::with_prefix("pigeon-e2e-").unwrap();
    let mut dies = Admin::start_on(&dir.path().join("a"), Some(&url));
    let lives = beside(&dies, &dir.path().join("b"), &url);
    let engine = Engine::start("demo-1", &[]);
    let ctl = Ctl::new(&dies, dir.path());
    let address = engine.address().to_string();
    ctl.ok(&["engine", "add", "demo", "--static", &address]);
    ctl.ok(&["route", "add", "hello", "--path", "/hello", "--engine", "demo"]);
    let proxies: Vec<Proxy> = (0..4)
        .map(|n| Proxy::start_with(&format!("edge-{n}"), &[&dies, &lives], dir.path(), None))
        .collect();
    until("every proxy is with an admin", || {
        let both = (connected(&dies), connected(&lives));
        if both.0 + both.1 == proxies.len() { Ok(()) } else { Err(format!("{both:?}")) }
    });

    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (calls, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut all: Vec<(String, u64)> = Vec::new();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let writers: Vec<_> = [&dies, &lives]
            .into_iter()
            .enumerate()
            .flat_map(|(at, admin)| (0..WRITERS).map(move |writer| (at, admin, writer)))
            .map(|(at, admin, writer)| {
                let (stop, acknowledged) = (&stop, &acknowledged);
                scope.spawn(move || write(admin, &format!("w{at}{writer}"), stop, acknowledged))
            })
            .collect();
        for proxy in &proxies {
            let (stop, calls, failures) = (&stop, &calls, &failures);
            scope.spawn(move || call(proxy, stop, calls, failures));
        }
        let until_written = |more: usize| {
            let wanted = acknowledged.load(Ordering::Relaxed) + more;
            until("writes are acknowledged", || {
                let now = acknowledged.load(Ordering::Relaxed);
                if now >= wanted { Ok(()) } else { Err(format!("{now} of {wanted}")) }
            });
        };
        until_written(60);
        dies.process.signal("KILL");
        // The other goes on: whatever the dead one had locked is free.
        until_written(60);
        stop.store(true, Ordering::Relaxed);
        all.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
    });
    dies.process.kill();

    are_there(&all, &lives);
    let newest = lives.revision();
    until("every proxy has it from the admin that lives", || {
        let behind = lives.proxies();
        let there = behind.iter().filter(|proxy| proxy["state"] == "in_sync").count();
        if there == proxies.len() { Ok(()) } else { Err(format!("{newest}: {behind:?}")) }
    });
    assert_eq!(failures.load(Ordering::Relaxed), 0, "of {} calls", calls.load(Ordering::Relaxed));
    assert!(calls.load(Ordering::Relaxed) > 100);

    // It comes back, and is one of two again.
    dies.start_again();
    assert!(dies.revision() >= newest);
    ctl.ok(&["route", "add", "late", "--path", "/late", "--engine", "demo"]);
    until("the other has it", || {
        let there = lives.list("/v1/routes").iter().any(|route| route["name"] == "late");
        if there { Ok(()) } else { Err("not yet".to_owned()) }
    });
    drop(proxies);
    server.stop();
}

/// How many proxies are with this admin.
fn connected(admin: &Admin) -> usize {
    admin.proxies().iter().filter(|proxy| proxy["connected"] == true).count()
}

/// Every route that was acknowledged is there, as of the revision that was.
fn are_there(acknowledged: &[(String, u64)], admin: &Admin) {
    let routes = admin.list("/v1/routes");
    for (name, revision) in acknowledged {
        let route = routes.iter().find(|route| route["name"] == name.as_str());
        let route = route.unwrap_or_else(|| panic!("{name} of revision {revision} is lost"));
        assert_eq!(route["revision"], *revision, "{route}");
    }
}

/// Calls the engine until told to stop.
fn call(proxy: &Proxy, stop: &AtomicBool, calls: &AtomicUsize, failures: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let well = http::get(proxy.address(), "/hello").is_ok_and(|reply| reply.status == 200);
        calls.fetch_add(1, Ordering::Relaxed);
        failures.fetch_add(usize::from(!well), Ordering::Relaxed);
    }
}

/// Makes routes until told to stop or until the admin is gone; says which were acknowledged.
fn write(
    admin: &Admin,
    prefix: &str,
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> Vec<(String, u64)> {
    let mut made = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{n}");
        let route = json!({
            "kind": "route", "name": name, "spec": {"match": {"path": format!("/{name}")}, "engine": "demo"},
        });
        match admin.send("POST", "/v1/routes", &[], route.to_string().as_bytes()) {
            Ok(reply) if reply.status == 201 => {
                let revision = reply.json()["revision"].as_u64().unwrap();
                made.push((name, revision));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(reply) => panic!("{name}: {} {}", reply.status, reply.text()),
            // Killed: what it was about to say nobody knows.
            Err(_) => break,
        }
    }
    made
}
