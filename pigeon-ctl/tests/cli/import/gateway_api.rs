//! import gateway-api

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{fixtures, import, keys, objects, says, spec};
use crate::support::{Ctl, Ran};

fn run(home: &Path, args: &[&str]) -> Ran {
    let folder = fixtures("gateway-api").display().to_string();
    import(home, &[&["gateway-api", &folder], args].concat())
}

#[test]
fn every_object_is_there_and_valid() {
    let home = tempfile::tempdir().expect("folder");
    let ran = run(home.path(), &[]);
    let found = objects(home.path(), &ran);
    let all = keys(&found);
    let of = |kind: &str| -> Vec<&str> {
        all.iter().filter_map(|key| key.strip_prefix(kind)?.strip_prefix('/')).collect()
    };
    assert_eq!(of("listener"), ["infra-edge-8080", "infra-edge-8443", "infra-edge-8081"]);
    let engines = [
        "shop-web-80",
        "shop-api-8080",
        "shop-api-new-8080",
        "shop-api-read-8080",
        "ops-audit-9000",
        "shop-late-80",
        "speech-asr-50051",
        "speech-asr-batch-50051",
    ];
    assert_eq!(of("engine"), engines);
    // Each rule for each of its matches and hosts; what cannot be matched is not there.
    let routes = of("route");
    for (rule, count) in [(0, 2), (1, 4), (2, 2), (3, 2), (4, 0), (5, 0), (6, 2), (7, 2), (8, 2)] {
        let prefix = format!("shop-shop-{rule}");
        let all = routes.iter().filter(|r| **r == prefix || r.starts_with(&format!("{prefix}-")));
        assert_eq!(all.count(), count, "rule {rule}: {routes:?}");
    }
    assert!(routes.contains(&"speech-asr-1") && !routes.iter().any(|r| r.contains("outside")));
    let json = run(home.path(), &["-o", "json"]);
    assert_eq!(objects(home.path(), &json), found);
}

#[test]
fn what_has_a_counterpart_is_mapped() {
    let home = tempfile::tempdir().expect("folder");
    let found = objects(home.path(), &run(home.path(), &[]));
    says(&spec(&found, "listener/infra-edge-8080"), &[("/address", json!("0.0.0.0:8080"))]);
    says(
        &spec(&found, "listener/infra-edge-8443"),
        &[("/tls/certificates/0/certificate", json!("/etc/pigeon/tls/infra/shop-cert/tls.crt"))],
    );
    says(
        &spec(&found, "engine/shop-api-8080"),
        &[("/endpoints/0/address", json!("api.shop.svc:8080")), ("/pool/mode", json!("off"))],
    );
    says(
        &spec(&found, "route/shop-shop-1"),
        &[
            (
                "/match",
                json!({"listener": "infra-edge-8080", "host": "shop.example", "path": "/api*"}),
            ),
            ("/engine", json!("shop-api-8080")),
            ("/split", json!([{"engine": "shop-api-new-8080", "percent": 10}])),
            ("/timeout", json!("1m30s")),
            ("/retry/attempts", json!(2)),
            ("/retry/on", json!(["502", "503", "reset"])),
            ("/retry/backoff", json!("100ms")),
        ],
    );
    says(
        &spec(&found, "route/shop-shop-3"),
        &[
            ("/match/path", json!("/api/health")),
            ("/request_headers", json!({"remove": ["x-debug"], "set": {"x-env": "live"}})),
            ("/shadow", json!({"engine": "ops-audit-9000", "percent": 20})),
            ("/rewrite", json!({"host": "api.internal", "path": "/healthz"})),
        ],
    );
    says(
        &spec(&found, "route/shop-shop-6"),
        &[
            // The port is the listener's, as the API says of a redirect to another host.
            (
                "/redirect",
                json!({"host": "new.example", "port": 8080, "path": "/new*", "status": 301}),
            ),
        ],
    );
    // Without a backend, and without a filter that may have asked who calls, calls fail.
    for rule in [7, 8] {
        says(&spec(&found, &format!("route/shop-shop-{rule}")), &[("/answer/status", json!(500))]);
    }
    says(
        &spec(&found, "route/shop-secure-0"),
        &[("/match", json!({"listener": "infra-edge-8443", "host": "shop.example", "path": "/*"}))],
    );
    says(
        &spec(&found, "route/speech-asr-0"),
        &[(
            "/match",
            json!({"listener": "infra-edge-8080", "host": "*.speech.example", "grpc": "speech.v1.Recognizer"}),
        )],
    );
}

#[test]
fn what_has_none_is_named_with_object_field_and_reason() {
    let home = tempfile::tempdir().expect("folder");
    let ran = run(home.path(), &[]);
    for (object, line) in [
        (
            "Gateway infra/edge",
            "  spec.listeners[2].tls.certificateRefs[0]: NOT SUPPORTED: proxies read certificates from files",
        ),
        ("Gateway infra/edge", "  spec.listeners[3].protocol: NOT SUPPORTED: TCP is not imported"),
        (
            "Gateway infra/edge",
            "  spec.listeners[2].allowedRoutes.namespaces.selector: NOT SUPPORTED",
        ),
        ("Service shop/web", "  all: not needed"),
        (
            "RatePolicy shop/limits",
            "  all: NOT SUPPORTED: example.com/v1 RatePolicy is not imported",
        ),
        (
            "HTTPRoute shop/shop",
            "  spec.rules[3].filters[0].requestHeaderModifier.set: NOT SUPPORTED: x-forwarded-proto: ",
        ),
        (
            "HTTPRoute shop/shop",
            "  spec.rules[4].matches[0].headers: NOT SUPPORTED: routes do not match headers",
        ),
        ("HTTPRoute shop/shop", "  spec.rules[5].matches[0].path.type: NOT SUPPORTED"),
        ("HTTPRoute shop/shop", "  spec.rules[5].matches[1].queryParams: NOT SUPPORTED"),
        (
            "HTTPRoute shop/shop",
            "  spec.rules[8].filters[0]: NOT SUPPORTED: there is no filter like ExtensionRef",
        ),
        (
            "HTTPRoute shop/shop",
            "the one endpoint web.shop.svc:80; Pigeon does not watch EndpointSlices yet",
        ),
        ("HTTPRoute shop/secure", "  spec.rules[0].sessionPersistence: NOT SUPPORTED"),
        ("GRPCRoute speech/asr", "  spec.rules[1].matches[1].method.method: NOT SUPPORTED"),
        (
            "HTTPRoute shop/outside",
            "  spec.parentRefs[0]: NOT SUPPORTED: no listener of it takes this route",
        ),
    ] {
        let text = format!("\n{}", ran.stderr);
        let section = text.split(&format!("\n{object}\n")).nth(1).expect(object);
        let mut lines = section.lines().take_while(|l| l.starts_with("  "));
        assert!(lines.any(|l| l.contains(line)), "{object}{line}\n{}", ran.stderr);
    }
    let strict = run(home.path(), &["--strict"]);
    assert_eq!((strict.code, strict.stdout.as_str()), (1, ""), "{strict:?}");
    assert_eq!(strict.stderr, ran.stderr);
}

#[test]
fn strict_prints_what_can_be_kept_whole() {
    let home = tempfile::tempdir().expect("folder");
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: List\nitems:\n- apiVersion: gateway.networking.k8s.io/v1\n  kind: Gateway\n  metadata: {name: g}\n  spec: {listeners: [{name: a, port: 80, protocol: HTTP}]}\n- apiVersion: gateway.networking.k8s.io/v1\n  kind: GRPCRoute\n  metadata: {name: r}\n  spec: {parentRefs: [{name: g}], rules: [{matches: [{method: {service: a.B}}], backendRefs: [{name: s, port: 1}]}]}\n";
    let ran = Ctl::new(home.path(), &["import", "gateway-api", "-", "--strict"]).stdin(text).run();
    let found = objects(home.path(), &ran);
    assert_eq!(keys(&found), ["listener/default-g-80", "engine/default-s-1", "route/default-r-0"]);
    // Shares that no whole percents make, and a second Gateway with the same port.
    let thirds =
        text.replace("{name: s, port: 1}", "{name: s, port: 1}, {name: t, port: 1, weight: 2}");
    let gateway = "- apiVersion: gateway.networking.k8s.io/v1\n  kind: Gateway\n  metadata: {name: h}\n  spec: {listeners: [{name: a, port: 80, protocol: HTTP}]}\n";
    let ran =
        Ctl::new(home.path(), &["import", "gateway-api", "-"]).stdin(&(thirds + gateway)).run();
    let found = objects(home.path(), &ran);
    says(
        &spec(&found, "route/default-r-0"),
        &[
            ("/engine", json!("default-t-1")),
            ("/split", json!([{"engine": "default-s-1", "percent": 33}])),
        ],
    );
    for said in ["default-s-1 gets 33 % instead of 1 of 3", "Gateway default/g has port 80 already"]
    {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    // A Gateway that was not read: for every listener, and said.
    let alone = text.replace("parentRefs: [{name: g}]", "parentRefs: [{name: other}]");
    let ran = Ctl::new(home.path(), &["import", "gateway-api", "-"]).stdin(&alone).run();
    let found = objects(home.path(), &ran);
    says(&spec(&found, "route/default-r-0"), &[("/match", json!({"grpc": "a.B"}))]);
    assert!(ran.stderr.contains("Gateway default/other was not read"), "{ran:?}");
}

#[test]
fn files_that_are_not_what_they_should_be_are_errors() {
    let home = tempfile::tempdir().expect("folder");
    fs::write(home.path().join("bad.yaml"), "a: [\n").expect("write");
    fs::write(home.path().join("none.yaml"), "a: 1\n").expect("write");
    let form = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {rules: 7}\n";
    fs::write(home.path().join("form.yaml"), form).expect("write");
    for (file, code, says) in [
        ("bad.yaml", 7, "bad.yaml: is not YAML"),
        ("none.yaml", 2, "there is no Gateway, GRPCRoute or HTTPRoute in none.yaml"),
        ("form.yaml", 7, "form.yaml: HTTPRoute default/r: has another form"),
        ("missing.yaml", 2, "missing.yaml"),
    ] {
        let ran = import(home.path(), &["gateway-api", file]);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{file}: {ran:?}");
        assert!(ran.stderr.contains(says), "{file}: {ran:?}");
    }
}

/// Which backend gets a call: by the rules of the Gateway API, and by the proxy's own matcher.
#[cfg(feature = "dev")]
#[test]
fn the_same_calls_go_to_the_same_backends() {
    use pigeon_proto::model::Spec;
    use pigeon_proxy::table::{Found, Head, Matcher};

    let home = tempfile::tempdir().expect("folder");
    let found = objects(home.path(), &run(home.path(), &[]));
    let routes: Vec<_> = found
        .iter()
        .filter_map(|object| match &object.spec {
            Spec::Route(route) => Some((route, route.engine.as_ref().map(ToString::to_string))),
            _ => None,
        })
        .collect();
    let matcher = Matcher::new(routes.into_iter());
    let goes = |port: u16, host: &str, method: &str, path: &str, grpc: bool| {
        let listener = format!("infra-edge-{port}").parse().expect("a name");
        match matcher.find(&Head { listener: &listener, host, path, method, grpc }) {
            Found::Route(engine) => engine.clone().unwrap_or_else(|| "none".into()),
            _ => "404".into(),
        }
    };
    let http = [
        ("shop.example", "GET", "/", "shop-web-80"),
        ("shop.example", "POST", "/apix", "shop-web-80"),
        // The longest prefix, then a method, then the oldest route and its first rule.
        ("shop.example", "POST", "/api/x", "shop-api-8080"),
        ("shop.example", "GET", "/api/x", "shop-api-read-8080"),
        ("shop.example", "GET", "/api/health", "shop-api-8080"),
        ("shop.example", "GET", "/api/health/x", "shop-api-read-8080"),
        ("shop.example", "POST", "/v2/x", "shop-api-8080"),
        ("shop.example", "GET", "/v2/x", "shop-web-80"),
        ("shop.example", "GET", "/late/x", "shop-late-80"),
        ("a.shop.example", "GET", "/late/x", "shop-web-80"),
        ("a.b.shop.example", "PUT", "/api", "shop-api-8080"),
        ("shop.example", "GET", "/closed", "none"),
        ("other.example", "GET", "/", "404"),
    ];
    for (host, method, path, wanted) in http {
        assert_eq!(goes(8080, host, method, path, false), wanted, "{host} {method} {path}");
    }
    // The other port has its own route only, and the port of the other namespace has none.
    assert_eq!(goes(8443, "shop.example", "GET", "/api/x", false), "shop-web-80");
    assert_eq!(goes(8081, "shop.example", "GET", "/", false), "404");
    for (host, path, wanted) in [
        ("a.speech.example", "/speech.v1.Recognizer/Stream", "speech-asr-50051"),
        ("a.speech.example", "/speech.v1.Recognizer/Batch", "speech-asr-batch-50051"),
        ("a.speech.example", "/speech.v1.Other/Ping", "404"),
        ("speech.example", "/speech.v1.Recognizer/Batch", "404"),
    ] {
        assert_eq!(goes(8080, host, "POST", path, true), wanted, "{host} {path}");
    }
    // Of the two that match the same, the older is first by its priority.
    let priority = |name: &str| spec(&found, name)["priority"].clone();
    assert_eq!(
        (priority("route/shop-shop-1"), priority("route/shop-late-0")),
        (json!(10), json!(0))
    );
    assert_eq!(priority("route/shop-shop-0"), json!(0));
}
