//! Endpoints that are left out: by checks that fail, and by calls that fail. Both are seen with their reason,
//! and both come back.

use pigeon_e2e::{Cluster, Engine, Scripted, Transport, Wire, frames, grpc};
use serde_json::Value;

use crate::endpoints::who;

over_both_transports!(
    an_endpoint_that_hangs_is_left_out_until_it_answers_again,
    an_endpoint_whose_calls_fail_is_ejected_and_returns,
);

/// How the admin shows the endpoint at `address`.
fn shown(status: &Value, address: &str) -> Option<Value> {
    let all = status["endpoints"].as_array()?;
    all.iter().find(|one| one["address"] == address).cloned()
}

fn until_state(cluster: &Cluster, address: &str, states: &[&str]) -> Value {
    let status = cluster.until_engine("demo", &format!("{address} is {states:?}"), |status| {
        let state = shown(status, address).map(|one| one["state"].clone());
        state.is_some_and(|state| states.iter().any(|wanted| state == *wanted))
    });
    shown(&status, address).unwrap()
}

/// Table, JSON and metrics say the same.
fn is_seen(cluster: &Cluster, address: &str, (state, cause): (&str, &str), reason: &str) {
    let listed = cluster.ctl.run(&["engine", "endpoints", "demo", "-o", "json"]).json();
    let listed = listed.to_string();
    assert!(listed.contains(reason) && listed.contains(state), "{listed}");
    let table = cluster.ctl.ok(&["engine", "endpoints", "demo"]);
    let line = table.lines().find(|line| line.contains(address)).unwrap();
    assert!(line.contains(state) && line.contains(reason), "{table}");
    let series = format!(
        r#"pigeon_endpoint_state{{cause="{cause}",endpoint="{address}",engine="demo",state="{state}"}} 1"#
    );
    let metrics = cluster.proxies[0].metrics();
    assert!(metrics.contains(&series), "no {series} in {metrics}");
}

fn an_endpoint_that_hangs_is_left_out_until_it_answers_again(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 2);
    let checks = ["--health-interval", "100ms", "--health-timeout", "200ms", "--health-down", "2"];
    let all = [&["engine", "set", "demo", "--health", "grpc", "--lb", "round-robin"], &checks[..]];
    cluster.ctl.ok(&all.concat());
    cluster.in_sync();
    let address = cluster.engines[0].address().to_string();
    let channel = grpc::channel(cluster.proxies[0].address());
    assert!(who(&channel, 20).iter().any(|engine| engine == "demo-1"));

    // Its sockets stay open, so that nothing but a check can tell.
    cluster.engines[0].process.signal("STOP");
    let seen = until_state(&cluster, &address, &["unhealthy"]);
    let reason = seen["reason"].as_str().unwrap();
    assert!(!reason.is_empty(), "{seen}");
    is_seen(&cluster, &address, ("unhealthy", "check"), reason);
    assert!(who(&channel, 40).iter().all(|engine| engine == "demo-2"));

    cluster.engines[0].process.signal("CONT");
    until_state(&cluster, &address, &["healthy", "starting"]);
    pigeon_e2e::until("calls reach it again", || {
        let answered = who(&channel, 10);
        if answered.iter().any(|engine| engine == "demo-1") {
            Ok(())
        } else {
            Err(answered.join(" "))
        }
    });
    cluster.until_idle();
}

/// An engine that fails its first calls with UNAVAILABLE, and then answers.
fn failing(calls: usize) -> Scripted {
    let seen = std::sync::atomic::AtomicUsize::new(0);
    Scripted::start(move |socket| {
        let mut wire = Wire::accept(socket, &[])?;
        loop {
            let stream = wire.request()?;
            if seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= calls {
                wire.answer(stream)?;
                continue;
            }
            let mut block = vec![0x88];
            frames::literal(&mut block, "content-type", "application/grpc");
            frames::literal(&mut block, "grpc-status", "14");
            wire.send(&frames::frame(frames::HEADERS, 5, stream, &block))?;
        }
    })
}

fn an_endpoint_whose_calls_fail_is_ejected_and_returns(transport: Transport) {
    let (failing, good) = (failing(3), Engine::start("demo-good", &[]));
    let cluster = Cluster::over(transport, 1, 0);
    let eject = ["--eject-failures", "3", "--eject-time", "2s", "--lb", "round-robin"];
    cluster.add_demo_at(&[failing.address(), good.address()], &eject);
    let channel = grpc::channel(cluster.proxies[0].address());
    let call = || grpc::block_on(grpc::echo(channel.clone()).ping(grpc::ping()));

    let (mut failures, mut calls) = (0, 0);
    while failures < 3 {
        failures += usize::from(call().is_err());
        calls += 1;
        assert!(calls < 100, "{failures} failures in {calls} calls");
    }
    // From here on it gets none, however often it is its turn …
    for _ in 0..20 {
        call().unwrap();
    }
    assert_eq!(good.stats().calls as usize, calls + 20 - failures);
    let address = failing.address().to_string();
    let seen = until_state(&cluster, &address, &["ejected"]);
    let reason = seen["reason"].as_str().unwrap();
    assert!(reason.contains("3 calls"), "{seen}");
    is_seen(&cluster, &address, ("ejected", "failures"), reason);
    // … until its time is over.
    until_state(&cluster, &address, &["healthy", "starting"]);
    pigeon_e2e::until("calls reach it again", || {
        let before = good.stats().calls;
        for _ in 0..10 {
            call().map_err(|status| status.to_string())?;
        }
        let elsewhere = 10 - (good.stats().calls - before);
        if elsewhere > 0 { Ok(()) } else { Err("all at the other".to_owned()) }
    });
    cluster.until_idle();
}
