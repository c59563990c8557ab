//! The admin is gone: proxies go on, also when they are started again.

use pigeon_e2e::{Cluster, grpc, http, until};

fn hello(cluster: &Cluster) -> String {
    let reply = http::get(cluster.proxies[0].address(), "/hello").unwrap();
    format!("{} {}", reply.status, reply.text().trim())
}

#[test]
fn a_proxy_restarted_without_an_admin_serves_what_it_knew() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    assert_eq!(hello(&cluster), "200 hello from demo-1");
    cluster.admin.process.kill();
    assert_eq!(hello(&cluster), "200 hello from demo-1");

    // Ended in good order, and not.
    for signal in ["TERM", "KILL"] {
        let proxy = &mut cluster.proxies[0];
        proxy.process.signal(signal);
        let status = proxy.process.ended();
        assert_eq!(status.success(), signal == "TERM", "{signal}: {status}");
        proxy.start_again();
        // Ready means ready: the first call is already right.
        assert_eq!(hello(&cluster), "200 hello from demo-1", "after {signal}");
        let channel = grpc::channel(cluster.proxies[0].address());
        grpc::block_on(grpc::echo(channel).ping(grpc::ping())).unwrap();
    }

    cluster.admin.start_again();
    cluster.in_sync();
    cluster.ctl.ok(&["route", "rm", "hello", "-y"]);
    until("the proxy follows the admin again", || match hello(&cluster) {
        gone if gone.starts_with("404") => Ok(()),
        other => Err(other),
    });
}

/// What changed while a proxy was away reaches it, too.
#[test]
fn a_proxy_that_was_away_catches_up() {
    let mut cluster = Cluster::with_demo_routes(2, 1);
    cluster.proxies[1].process.kill();
    let gone = |state: &str| {
        until("the admin notices", || {
            let seen = cluster.admin.proxy("edge-2");
            if seen["state"] == state { Ok(()) } else { Err(seen.to_string()) }
        });
    };
    gone("disconnected");
    for n in 0..20 {
        let (name, path) = (format!("r{n}"), format!("/r{n}"));
        cluster.ctl.ok(&["route", "add", &name, "--path", &path, "--engine", "demo"]);
    }
    cluster.ctl.ok(&["route", "rm", "hello", "-y"]);
    cluster.proxies[1].start_again();
    cluster.in_sync();
    let at = cluster.proxies[1].address();
    let reason = |path: &str| {
        let reply = http::get(at, path).unwrap();
        reply.header("pigeon-reason").unwrap_or("").to_owned()
    };
    assert_eq!(reason("/hello"), "no_route");
    assert_eq!(reason("/r19"), "", "the engine's own 404, not the gateway's");
}

/// The first contact needs an admin; without one nothing is served, and the reason is said.
#[test]
fn a_new_proxy_without_an_admin_says_that_it_has_no_configuration() {
    use pigeon_e2e::{Process, ports, programs};
    use std::process::Command;

    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("proxy.token");
    std::fs::write(&token, "not-known-to-anyone\n").unwrap();
    let [nobody, calls, status] = [ports::free(), ports::free(), ports::free()];
    let mut command = Command::new(programs::path("pigeon-proxy"));
    command
        .args(["--admin", &format!("http://127.0.0.1:{nobody}"), "--token-file"])
        .arg(&token)
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .args(["--bind", &format!("default=127.0.0.1:{calls}")])
        .args(["--status-listen", &format!("127.0.0.1:{status}")]);
    let mut proxy = Process::start("new proxy", command);
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("it is alive but not ready", || {
        assert!(proxy.exited().is_none(), "it gave up: {}", proxy.stderr());
        let alive = http::get(at(status), "/healthz").map_err(|error| error.to_string())?;
        let ready = http::get(at(status), "/readyz").map_err(|error| error.to_string())?;
        match (alive.status, ready.status) {
            (200, 503) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
