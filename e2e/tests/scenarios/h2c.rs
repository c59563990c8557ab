//! curl, which asks for HTTP/2 in the clear by an upgrade (`--http2`): ignored, unless the listener allows it.

use pigeon_e2e::{Cluster, Transport, tools};

over_both_transports!(curl_is_answered_in_http2_where_it_is_allowed);

fn curl_is_answered_in_http2_where_it_is_allowed(transport: Transport) {
    let Some(curl) = tools::find("curl") else {
        return tools::skip("h2c: curl", "curl", "apt-get install curl");
    };
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let base = format!("http://{}", cluster.proxies[0].address());
    let run = |arguments: &[&str]| {
        let written = "%{http_version} %{http_code} %{num_connects}\n";
        let fixed = ["-sS", "--http2", "--max-time", "20", "-w", written];
        let arguments = [&fixed[..], arguments].concat();
        let (code, out, error) =
            tools::run(&curl, &arguments.iter().map(Into::into).collect::<Vec<_>>());
        assert_eq!(code, 0, "{arguments:?}: {error}");
        out
    };
    let (hello, echo) = (format!("{base}/hello"), format!("{base}/echo"));
    assert_eq!(run(&[&hello]), "hello from demo-1\n1.1 200 1\n");
    cluster.ctl.ok(&["listener", "set", "default", "--h2c-upgrade"]);
    cluster.in_sync();
    assert_eq!(run(&[&hello]), "hello from demo-1\n2 200 1\n");
    // The second goes by the same connection, which has been HTTP/2 for a while then.
    let twice = "hello from demo-1\n2 200 1\nhello from demo-1\n2 200 0\n";
    assert_eq!(run(&[&hello, &hello]), twice);
    assert!(run(&["-I", &hello]).ends_with("2 200 1\n"));
    // What has a body stays in HTTP/1.1.
    assert_eq!(run(&["-d", "coo", &echo]), "coo1.1 200 1\n");
    // curl uploads on a connection that has changed before.
    let big = cluster.dir.path().join("big");
    std::fs::write(&big, "coo".repeat(1 << 19)).unwrap();
    let (big, to) = (format!("@{}", big.display()), "/dev/null");
    let both = run(&[&hello, "--next", "--http2", "-sS", "--data-binary", &big, "-o", to, &echo]);
    assert_eq!(both, "hello from demo-1\n2 200 1\n");

    // The filters are the same as of any call.
    cluster.ctl.ok(&["route", "set", "hello", "--auth", "api-key"]);
    cluster.in_sync();
    assert!(run(&["-o", to, &hello]).ends_with("2 401 1\n"));
    cluster.until_idle();
    let log = cluster.proxies[0].process.stdout();
    assert!(log.contains("protocol=HTTP/2 method=GET"), "{log}");

    let refused = cluster.ctl.run(&["listener", "set", "default", "--protocol", "tcp"]);
    assert!(refused.stderr.contains("h2c_upgrade"), "{}", refused.stderr);
}
