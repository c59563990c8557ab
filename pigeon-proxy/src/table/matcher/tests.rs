//! The matcher against cases written down, and against a naive reference that looks at every route.

use pigeon_proto::model::{GrpcTarget, document};
use proptest::prelude::*;

use super::*;

fn routes(specs: &[&str]) -> Vec<Route> {
    let parse = |(i, spec): (usize, &&str)| {
        let text = format!("kind: route\nname: r{i}\nspec: {{engine: e, {spec}}}\n");
        match document::parse(&text).expect("a route").remove(0).spec {
            pigeon_proto::model::Spec::Route(route) => route,
            other => panic!("{other:?}"),
        }
    };
    specs.iter().enumerate().map(parse).collect()
}

fn matcher(routes: &[Route]) -> Matcher<usize> {
    Matcher::new(routes.iter().enumerate().map(|(i, r)| (r, i)))
}

#[derive(Debug)]
struct Call {
    listener: Name,
    authority: String,
    path: String,
    method: String,
    grpc: bool,
}

fn call(method: &str, authority: &str, path: &str) -> Call {
    Call {
        listener: "default".parse().expect("name"),
        authority: authority.into(),
        path: path.into(),
        method: method.into(),
        grpc: false,
    }
}

fn grpc(authority: &str, path: &str) -> Call {
    Call { grpc: true, ..call("POST", authority, path) }
}

impl Call {
    fn found<'m>(&self, matcher: &'m Matcher<usize>) -> Found<'m, usize> {
        let host = host_of(&self.authority);
        matcher.find(&Head {
            listener: &self.listener,
            host: &host,
            path: &self.path,
            method: &self.method,
            grpc: self.grpc,
        })
    }
}

fn winner(specs: &[&str], call: &Call) -> Option<usize> {
    match call.found(&matcher(&routes(specs))) {
        Found::Route(i) => Some(*i),
        _ => None,
    }
}

#[test]
fn the_more_specific_host_wins_and_falls_through() {
    let specs = [
        "match: {}",
        "match: {host: '*.example.com'}",
        "match: {host: '*.eu.example.com'}",
        "match: {host: a.eu.example.com, path: /only}",
    ];
    for (host, path, wanted) in [
        ("other.org", "/", 0),
        ("x.example.com", "/", 1),
        ("EXAMPLE.com", "/", 0),
        ("a.b.Example.COM:8080", "/", 1),
        ("x.eu.example.com.", "/", 2),
        ("a.eu.example.com", "/only", 3),
        ("a.eu.example.com:443", "/other", 2),
        ("", "/", 0),
        ("[::1]:8080", "/", 0),
    ] {
        assert_eq!(winner(&specs, &call("GET", host, path)), Some(wanted), "{host}{path}");
    }
}

#[test]
fn the_more_specific_path_wins_on_segment_borders() {
    let specs = [
        "match: {}",
        "match: {path: /*}",
        "match: {path: /users*}",
        "match: {path: /users/7*}",
        "match: {path: /users/7/name}",
    ];
    for (path, wanted) in [
        ("/", 1),
        ("/usersx", 1),
        ("/users", 2),
        ("/users/", 2),
        ("/users/8", 2),
        ("/users/7", 3),
        ("/users/7/", 3),
        ("/users/7/name", 4),
        ("/users/7/name/", 3),
        ("//users", 1),
        ("*", 1),
    ] {
        assert_eq!(winner(&specs, &call("GET", "h", path)), Some(wanted), "{path}");
    }
}

#[test]
fn grpc_routes_take_grpc_calls_only_and_win_over_paths() {
    let specs = [
        "match: {path: /a.B/C}",
        "match: {grpc: a.B}",
        "match: {grpc: a.B/D}",
        "match: {path: /*}",
    ];
    assert_eq!(winner(&specs, &grpc("h", "/a.B/C")), Some(1));
    assert_eq!(winner(&specs, &grpc("h", "/a.B/D")), Some(2));
    assert_eq!(winner(&specs, &grpc("h", "/x.Y/Z")), Some(3));
    assert_eq!(winner(&specs, &grpc("h", "/a.B/C/D")), Some(3));
    assert_eq!(winner(&specs, &call("POST", "h", "/a.B/C")), Some(0));
    assert_eq!(winner(&specs, &call("POST", "h", "/a.B/D")), Some(3));
}

#[test]
fn methods_then_listener_then_priority_decide() {
    let specs = [
        "match: {path: /x}, priority: 5",
        "match: {path: /x}, priority: 9",
        "match: {path: /x, listener: default}",
        "match: {path: /x, methods: [GET]}",
        "match: {path: /y, listener: other}",
    ];
    assert_eq!(winner(&specs, &call("GET", "h", "/x")), Some(3));
    assert_eq!(winner(&specs, &call("PUT", "h", "/x")), Some(2));
    let elsewhere = Call { listener: "other".parse().expect("name"), ..call("PUT", "h", "/x") };
    assert_eq!(winner(&specs, &elsewhere), Some(1));
    assert_eq!(winner(&specs, &call("GET", "h", "/y")), None);
}

#[test]
fn a_wrong_method_is_told_with_the_right_ones() {
    let specs = [
        "match: {path: /x, methods: [PUT, GET]}",
        "match: {path: /x*, methods: [DELETE, GET]}",
        "match: {path: /x, methods: [PATCH], listener: other}",
    ];
    let routes = routes(&specs);
    let matcher = matcher(&routes);
    let found = call("POST", "h", "/x").found(&matcher);
    assert_eq!(found, Found::MethodNotAllowed(vec!["DELETE", "GET", "PUT"]));
    assert_eq!(call("POST", "h", "/z").found(&matcher), Found::NoRoute);
    assert_eq!(call("DELETE", "h", "/x").found(&matcher), Found::Route(&1));
}

/// The rules once more, as a filter and a sort over all routes.
fn reference(routes: &[Route], call: &Call) -> Result<usize, Vec<String>> {
    let host = host_of(&call.authority).into_owned();
    let fits = |r: &&(usize, &Route)| {
        let m = &r.1.matches;
        m.listener.as_ref().is_none_or(|l| *l == call.listener)
            && match &m.host {
                None => true,
                Some(HostPattern::Exact(h)) => *h == host,
                Some(HostPattern::Suffix(h)) => host.ends_with(&format!(".{h}")),
            }
            && match (&m.grpc, &m.path) {
                (Some(g), _) => call.grpc && grpc_fits(g, &call.path),
                (None, Some(PathPattern::Exact(p))) => *p == call.path,
                (None, Some(PathPattern::Prefix(p))) => {
                    p.is_empty() || call.path == *p || call.path.starts_with(&format!("{p}/"))
                }
                (None, None) => true,
            }
    };
    let all: Vec<_> = routes.iter().enumerate().collect();
    let fitting: Vec<_> = all.iter().filter(fits).collect();
    let takes = |r: &Route| {
        let methods = &r.matches.methods;
        methods.is_empty() || methods.iter().any(|m| m.as_str() == call.method)
    };
    let best = fitting.iter().filter(|(_, r)| takes(r)).min_by_key(|(i, r)| (rank(r), *i));
    best.map(|(i, _)| *i).ok_or_else(|| {
        let methods = fitting.iter().flat_map(|(_, r)| &r.matches.methods);
        let mut methods: Vec<_> = methods.map(|m| m.as_str().to_owned()).collect();
        methods.sort();
        methods.dedup();
        methods
    })
}

fn grpc_fits(g: &GrpcTarget, path: &str) -> bool {
    match &g.method {
        Some(m) => path == format!("/{}/{m}", g.service),
        None => {
            let rest = path.strip_prefix(&format!("/{}/", g.service));
            rest.is_some_and(|rest| !rest.contains('/'))
        }
    }
}

type Rank = (u8, isize, u8, isize, bool, bool, std::cmp::Reverse<i32>);

fn rank(r: &Route) -> Rank {
    let m = &r.matches;
    let long = |s: &str| -isize::try_from(s.len()).expect("short");
    let host = match &m.host {
        Some(HostPattern::Exact(_)) => (0, 0),
        Some(HostPattern::Suffix(h)) => (1, long(h)),
        None => (2, 0),
    };
    let target = match (&m.grpc, &m.path) {
        (Some(g), _) => (u8::from(g.method.is_none()), 0),
        (None, Some(PathPattern::Exact(_))) => (2, 0),
        (None, Some(PathPattern::Prefix(p))) => (3, long(p)),
        (None, None) => (4, 0),
    };
    let last = (m.methods.is_empty(), m.listener.is_none(), std::cmp::Reverse(r.priority));
    (host.0, host.1, target.0, target.1, last.0, last.1, last.2)
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", ""]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 1..4).prop_map(|words| format!("/{}", words.join("/")))
}

fn host() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "ab"]);
    prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
}

fn a_match() -> impl Strategy<Value = Match> {
    let listener = prop::option::of(prop::sample::select(vec!["l", "m"]));
    let host = prop::option::of((host(), any::<bool>()));
    let method = prop::sample::select(vec!["GET", "PUT", "POST"]);
    let methods = prop::collection::btree_set(method, 0..3);
    (listener, host, 0..5_u8, path(), methods).prop_map(|(listener, host, kind, path, methods)| {
        let grpc = |s: &str| s.parse().expect("a gRPC target");
        let pattern = |s: String| Some(s.parse().expect("a path"));
        let mut m = Match {
            listener: listener.map(|l| l.parse().expect("name")),
            host: host.map(|(host, suffix)| {
                let text = if suffix { format!("*.{host}") } else { host };
                text.parse().expect("a host")
            }),
            ..Match::default()
        };
        match kind {
            0 => m.grpc = Some(grpc(if path.len() % 2 == 0 { "a/b" } else { "b/a" })),
            1 => m.grpc = Some(grpc(if path.len() % 2 == 0 { "a" } else { "b" })),
            2 => m.path = pattern(path),
            3 => m.path = pattern(format!("{path}*")),
            _ => {}
        }
        if m.grpc.is_none() {
            m.methods = methods.into_iter().map(|m| m.parse().expect("a method")).collect();
        }
        m
    })
}

fn a_route() -> impl Strategy<Value = Route> {
    (a_match(), -1..2_i32).prop_map(|(matches, priority)| Route {
        matches,
        priority,
        ..Route::to("e".parse().expect("name"))
    })
}

fn a_call() -> impl Strategy<Value = Call> {
    let listener = prop::sample::select(vec!["l", "m", "n"]);
    let method = prop::sample::select(vec!["GET", "PUT", "POST", "DELETE"]);
    (listener, host(), path(), method, any::<bool>()).prop_map(|(l, host, path, method, grpc)| {
        Call {
            listener: l.parse().expect("name"),
            authority: if path.len() % 2 == 0 {
                format!("{}:80", host.to_uppercase())
            } else {
                host
            },
            path,
            method: method.into(),
            grpc,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn finds_what_looking_at_every_route_finds(
        routes in prop::collection::vec(a_route(), 0..24),
        calls in prop::collection::vec(a_call(), 1..8),
    ) {
        let matcher = matcher(&routes);
        for call in calls {
            let found = match call.found(&matcher) {
                Found::Route(i) => Ok(*i),
                Found::MethodNotAllowed(methods) => {
                    Err(methods.into_iter().map(str::to_owned).collect())
                }
                Found::NoRoute => Err(vec![]),
            };
            prop_assert_eq!(found, reference(&routes, &call), "{} {}{}", call.method, call.authority, call.path);
        }
    }
}
