//! A tenant gets a key, uses it with clients nobody here wrote, and loses it: from the CLI to every proxy.

use pigeon_e2e::{Cluster, Transport, checks, http, tools, until};

over_both_transports!(a_key_is_made_used_and_revoked,);

fn status(cluster: &Cluster, proxy: usize, headers: &[(&str, &str)]) -> u16 {
    let reply = http::send(cluster.proxies[proxy].address(), "GET", "/hello", headers, b"");
    reply.unwrap().status
}

fn a_key_is_made_used_and_revoked(transport: Transport) {
    let name = "tenants: grpcio with an API key";
    let cluster = Cluster::with_demo_routes_over(transport, 2, 1);
    let ctl = &cluster.ctl;
    ctl.ok(&["tenant", "add", "acme"]);
    ctl.ok(&["tenant", "add", "other"]);
    let key = ctl.ok(&["tenant", "key", "create", "acme", "--id", "k1", "--expires", "90d"]);
    let key = key.trim_end();
    assert!(key.starts_with("pgk_k1_") && !key.contains(char::is_whitespace), "{key:?}");
    let others = ctl.ok(&["tenant", "key", "create", "other"]);
    for route in ["echo", "hello"] {
        ctl.ok(&["route", "set", route, "--auth", "api-key", "--tenant", "acme"]);
    }
    cluster.in_sync();
    for proxy in 0..2 {
        assert_eq!(status(&cluster, proxy, &[]), 401);
        assert_eq!(status(&cluster, proxy, &[("x-api-key", key)]), 200);
        assert_eq!(status(&cluster, proxy, &[("x-api-key", others.trim_end())]), 403);
    }
    let target = cluster.proxies[0].address().to_string();
    checks::run(name, "key_client.py", &["--target", &target, "--key", key], 7);
    match tools::find("curl") {
        None => tools::skip("tenants: curl with an API key", "curl", "apt-get install curl"),
        Some(curl) => {
            let url = format!("http://{target}/hello");
            let header = format!("authorization: Bearer {key}");
            let arguments = ["-sS", "-H", &header, &url].map(std::ffi::OsString::from);
            let (code, stdout, stderr) = tools::run(&curl, &arguments);
            assert_eq!((code, stdout.as_str()), (0, "hello from demo-1\n"), "{stderr}");
        }
    }

    let secret = &key["pgk_k1_".len()..];
    for shown in [
        ctl.ok(&["tenant", "get", "acme"]),
        ctl.ok(&["tenant", "key", "list", "acme"]),
        ctl.ok(&["export"]),
        http::get(cluster.proxies[0].status_address(), "/state").unwrap().text(),
        http::get(cluster.proxies[0].status_address(), "/metrics").unwrap().text(),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }

    ctl.ok(&["-y", "tenant", "key", "revoke", "acme", "k1"]);
    ctl.ok(&["-y", "tenant", "key", "revoke", "acme", "k1"]);
    for proxy in 0..2 {
        until("the key is refused", || match status(&cluster, proxy, &[("x-api-key", key)]) {
            401 => Ok(()),
            other => Err(other.to_string()),
        });
    }
    checks::run(name, "key_client.py", &["--target", &target, "--key", key, "--refused"], 7);
    let ran = ctl.run(&["-y", "tenant", "rm", "acme"]);
    assert!(ran.code != 0 && ran.stderr.contains("route"), "{ran:?}");
}
