//! Measured, not asserted: how long until a route is applied, and how long the CLI takes to start.

use std::time::Duration;

use pigeon_e2e::{Cluster, tools};

const ADDS: usize = 100;

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    format!("median {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(50), at(99), at(100))
}

#[test]
fn a_route_add_on_two_proxies() {
    let cluster = Cluster::with_demo_routes(2, 1);
    let (mut applied, mut whole) = (Vec::new(), Vec::new());
    for n in 0..ADDS {
        let (name, path) = (format!("r{n}"), format!("/r{n}"));
        let ran = cluster.ctl.run(&["route", "add", &name, "--path", &path, "--engine", "demo"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let line = ran.stdout.lines().next().unwrap_or("");
        assert!(line.contains("applied by 2/2 proxies in "), "{line}");
        let ms = line.rsplit(" in ").next().and_then(|text| text.split(' ').next()?.parse().ok());
        applied.push(Duration::from_millis(ms.unwrap_or_else(|| panic!("no time in {line:?}"))));
        whole.push(ran.took);
    }
    let profile = tools::profile_name();
    tools::say(&format!(
        "MEASURED ({profile}): route add, until applied by 2/2: {}",
        shown(applied)
    ));
    tools::say(&format!("MEASURED ({profile}): route add, the whole command: {}", shown(whole)));
}

#[test]
fn the_help_of_the_cli() {
    let cluster = Cluster::start(0, 0);
    let runs = (0..21).map(|_| {
        let ran = cluster.ctl.run(&["--help"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.took
    });
    let profile = tools::profile_name();
    tools::say(&format!("MEASURED ({profile}): pigeon-ctl --help: {}", shown(runs.collect())));
}
