//! What the programs tell about themselves: metrics, the OpenAPI document, the access log.

use std::collections::BTreeSet;

use pigeon_e2e::{Cluster, grpc, http};

/// Fails unless every line is a comment or a sample, and returns the names.
fn names(metrics: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in metrics.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let kind = comment.split(' ').next();
            assert!(matches!(kind, Some("HELP" | "TYPE")), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        names.insert(name.split('{').next().unwrap().to_owned());
    }
    names
}

#[test]
fn metrics_are_well_formed_and_ours() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let to = cluster.proxies[0].address();
    for _ in 0..3 {
        grpc::block_on(grpc::echo(grpc::channel(to)).ping(grpc::ping())).unwrap();
        http::get(to, "/hello").unwrap();
        http::get(to, "/nothing").unwrap();
    }
    let proxy = cluster.proxies[0].metrics();
    let admin = http::get(cluster.admin.address(), "/metrics").unwrap().text();
    for (program, text) in [("proxy", &proxy), ("admin", &admin)] {
        let names = names(text);
        let ours = names.iter().filter(|name| name.starts_with("pigeon_")).count();
        assert!(ours >= 5, "{program}: {names:?}");
    }
    // Whoever can only see the metrics sees why calls were refused, and which route carried them.
    assert!(proxy.contains("no_route"), "{proxy}");
    for route in ["\"echo\"", "\"hello\""] {
        assert!(proxy.lines().any(|line| line.contains(route)), "{route}: {proxy}");
    }
    assert!(!proxy.contains("/nothing"), "callers cannot make new time series: {proxy}");
}

#[test]
fn the_openapi_document_describes_what_there_is() {
    let cluster = Cluster::start(0, 0);
    let document = http::get(cluster.admin.address(), "/openapi.json").unwrap().json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/listeners",
        "/v1/engines",
        "/v1/routes",
        "/v1/engines/{name}",
        "/v1/apply",
        "/v1/revisions",
        "/v1/proxies",
        "/v1/summary",
        "/v1/route-tests",
    ] {
        assert!(paths.contains_key(path), "{path} is not in {:?}", paths.keys());
    }
}

/// One look at `/v1/summary` has what the first page needs.
#[test]
fn the_summary_has_everything_in_one_answer() {
    let cluster = Cluster::with_demo_routes(2, 1);
    let summary = cluster.admin.get("/v1/summary");
    for (list, count) in [("proxies", 2), ("engines", 1), ("routes", 5)] {
        assert_eq!(summary[list].as_array().map(Vec::len), Some(count), "{list}: {summary}");
    }
    assert_eq!(summary["revision"], cluster.admin.revision());
    for proxy in summary["proxies"].as_array().unwrap() {
        assert_eq!((&proxy["state"], &proxy["lag"]), (&"in_sync".into(), &0.into()), "{proxy}");
        assert_eq!(
            proxy["listen"]["default"].as_str().map(|at| at.starts_with("127.0.0.1:")),
            Some(true)
        );
    }
}
