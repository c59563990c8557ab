//! The rules that concern several objects of a configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::error::{Errors, FieldError};
use super::object::{Key, Kind, Snapshot};
use super::text::clip;
use super::{AuthMethod, Match, Name, Route, code};

/// Checks every rule between objects.
///
/// # Errors
/// All of them, each with the object and the path of its field.
pub fn validate(snapshot: &Snapshot) -> Result<(), Errors> {
    let mut errors = Errors::default();
    listeners(snapshot, &mut errors);
    references(snapshot, &mut errors);
    overlaps(snapshot, &mut errors);
    raw_routes(snapshot, &mut errors);
    callers(snapshot, &mut errors);
    credentials(snapshot, &mut errors);
    errors.into_result()
}

fn listeners(snapshot: &Snapshot, errors: &mut Errors) {
    let mut by_address: BTreeMap<SocketAddr, &Name> = BTreeMap::new();
    for (name, listener) in oldest_first(snapshot, Kind::Listener, snapshot.listeners()) {
        let address = listener.address.0;
        let wildcard = |a: SocketAddr| a.ip().is_unspecified();
        let taken = by_address.iter().find(|(other, _)| {
            other.port() == address.port()
                && (**other == address || wildcard(**other) || wildcard(address))
        });
        if let Some((other, first)) = taken {
            let message = format!(
                "{address} is taken by listener \"{first}\" ({other}); use another address or port"
            );
            let error = FieldError::new("/spec/address", code::ADDRESS_TAKEN, message);
            errors.push(error.of(key(Kind::Listener, name)).related_to(key(Kind::Listener, first)));
        } else {
            by_address.insert(address, name);
        }
    }
}

fn references(snapshot: &Snapshot, errors: &mut Errors) {
    for (name, route) in snapshot.routes() {
        let me = key(Kind::Route, name);
        let exists = |kind, name: &Name| snapshot.objects.contains_key(&key(kind, name));
        for (i, engine) in route.engines().enumerate().filter(|(_, e)| !exists(Kind::Engine, e)) {
            let pointer = match i.checked_sub(1) {
                None => "/spec/engine".to_owned(),
                Some(i) => format!("/spec/split/{i}/engine"),
            };
            let message = format!(
                "there is no engine \"{engine}\"; add it first (pigeon-ctl engine add {engine} --static HOST:PORT) or name another"
            );
            errors.push(FieldError::new(pointer, code::UNKNOWN_ENGINE, message).of(&me));
        }
        if let Some(shadow) =
            route.shadow.as_ref().filter(|shadow| !exists(Kind::Engine, &shadow.engine))
        {
            let message =
                format!("there is no engine \"{}\"; add it first or name another", shadow.engine);
            let error = FieldError::new("/spec/shadow/engine", code::UNKNOWN_ENGINE, message);
            errors.push(error.of(&me));
        }
        if let Some(listener) =
            route.matches.listener.as_ref().filter(|l| !exists(Kind::Listener, l))
        {
            let message =
                format!("there is no listener \"{listener}\"; add it first or name another");
            let error = FieldError::new("/spec/match/listener", code::UNKNOWN_LISTENER, message);
            errors.push(error.of(&me));
        }
    }
}

/// A route of a tcp listener gets bytes: what only calls of HTTP have it can neither match nor do.
fn raw_routes(snapshot: &Snapshot, errors: &mut Errors) {
    for (name, route) in snapshot.routes() {
        let Some(listener) = &route.matches.listener else { continue };
        if !snapshot.is_raw(listener) {
            continue;
        }
        for (pointer, advice) in only_for_calls(route) {
            let message = format!(
                "cannot be used here: listener \"{listener}\" takes raw connections (protocol: tcp); {advice}"
            );
            let error = FieldError::new(pointer, code::CONFLICTING_FIELDS, message);
            errors.push(error.of(key(Kind::Route, name)).related_to(key(Kind::Listener, listener)));
        }
    }
}

/// What of a route needs a call with a head, and what to do instead.
fn only_for_calls(route: &Route) -> Vec<(&'static str, &'static str)> {
    const REMOVE: &str = "remove it, or name another listener";
    const NAME_ENGINE: &str = "name an engine instead";
    let m = &route.matches;
    let fields = [
        (m.host.is_some(), "/spec/match/host", REMOVE),
        (m.grpc.is_some(), "/spec/match/grpc", REMOVE),
        (m.path.is_some(), "/spec/match/path", REMOVE),
        (!m.methods.is_empty(), "/spec/match/methods", REMOVE),
        (
            route.timeout.is_some(),
            "/spec/timeout",
            "set max_lifetime of the listener, and pool.queue_timeout of the engine",
        ),
        (
            route.retry.attempts > 0,
            "/spec/retry/attempts",
            "remove it; a connection goes to another endpoint until one has taken it",
        ),
        (!route.request_headers.is_empty(), "/spec/request_headers", REMOVE),
        (!route.response_headers.is_empty(), "/spec/response_headers", REMOVE),
        (route.rewrite.is_some(), "/spec/rewrite", REMOVE),
        (route.max_body_bytes.is_some(), "/spec/max_body_bytes", REMOVE),
        (
            route.auth.as_ref().is_some_and(|auth| auth.methods != [AuthMethod::Certificate]),
            "/spec/auth/methods",
            "write [certificate], which is all that a raw connection can show, or remove auth",
        ),
        (route.transcode, "/spec/transcode", REMOVE),
        (route.redirect.is_some(), "/spec/redirect", NAME_ENGINE),
        (route.answer.is_some(), "/spec/answer", NAME_ENGINE),
    ];
    fields.into_iter().filter(|(set, ..)| *set).map(|(_, at, advice)| (at, advice)).collect()
}

/// The tenants that routes rely on.
fn callers(snapshot: &Snapshot, errors: &mut Errors) {
    for (name, route) in snapshot.routes() {
        let Some(auth) = &route.auth else { continue };
        let me = key(Kind::Route, name);
        let known = |t: &Name| snapshot.objects.contains_key(&key(Kind::Tenant, t));
        for (i, tenant) in auth.tenants.iter().enumerate().filter(|(_, t)| !known(t)) {
            let message = format!(
                "there is no tenant \"{tenant}\"; add it first (pigeon-ctl tenant add {tenant}) or name another"
            );
            let pointer = format!("/spec/auth/tenants/{i}");
            errors.push(FieldError::new(pointer, code::UNKNOWN_TENANT, message).of(&me));
        }
        let takes = |listener: &Name| route.matches.listener.as_ref().is_none_or(|l| l == listener);
        let mut believing = snapshot.listeners().filter(|(_, listener)| !listener.jwt.is_empty());
        if auth.methods.contains(&AuthMethod::Jwt) && !believing.any(|(name, _)| takes(name)) {
            // Such a route would refuse every token.
            let (whose, name) = match &route.matches.listener {
                Some(listener) => (format!("listener \"{listener}\" names"), listener.as_str()),
                None => ("no listener names".to_owned(), "NAME"),
            };
            let none = if route.matches.listener.is_some() { "no issuer" } else { "an issuer" };
            let message = format!(
                "has jwt, and {whose} {none} whose tokens are believed; add one first \
                 (pigeon-ctl listener set {name} --jwt issuer=…,audience=…,jwks=…)"
            );
            let error = FieldError::new("/spec/auth/methods", code::NO_ISSUER, message);
            errors.push(error.of(&me));
        }
    }
}

/// What shows that a call is one tenant's must not show that it is another's.
fn credentials(snapshot: &Snapshot, errors: &mut Errors) {
    let mut owners: BTreeMap<String, &Name> = BTreeMap::new();
    for (name, tenant) in oldest_first(snapshot, Kind::Tenant, snapshot.tenants()) {
        let keys = tenant.keys.iter().enumerate().map(|(i, k)| ("keys", i, k.id.to_string()));
        let certificates = tenant.certificates.iter().enumerate();
        let certificates = certificates.map(|(i, c)| ("certificates", i, c.to_string()));
        let subjects = tenant.subjects.iter().enumerate();
        let subjects =
            subjects.map(|(i, s)| ("subjects", i, format!("{} of {}", s.subject, s.issuer)));
        for (field, i, what) in keys.chain(certificates).chain(subjects) {
            match owners.get(&format!("{field} {what}")) {
                Some(first) => {
                    let what = clip(&what);
                    let message = format!(
                        "\"{what}\" is tenant \"{first}\"'s already, and a call can be of one tenant only; \
                         remove it from one of them"
                    );
                    let pointer = format!("/spec/{field}/{i}");
                    let error = FieldError::new(pointer, code::SHARED_CREDENTIAL, message);
                    errors.push(
                        error.of(key(Kind::Tenant, name)).related_to(key(Kind::Tenant, first)),
                    );
                }
                None => {
                    owners.insert(format!("{field} {what}"), name);
                }
            }
        }
    }
}

/// Two routes that match the same calls equally well, with the same priority: nothing decides between them.
fn overlaps(snapshot: &Snapshot, errors: &mut Errors) {
    let mut groups: BTreeMap<String, Vec<(&Name, &Route)>> = BTreeMap::new();
    for (name, route) in oldest_first(snapshot, Kind::Route, snapshot.routes()) {
        let group = groups.entry(identity(&route.matches, route.priority)).or_default();
        if let Some((first, _)) =
            group.iter().find(|(_, r)| share_a_method(&r.matches, &route.matches))
        {
            let message = format!(
                "is {}, as in route \"{first}\", which matches the same calls; \
                 give one of them another priority (pigeon-ctl route set {name} --priority {})",
                route.priority,
                route.priority.saturating_add(10)
            );
            let error = FieldError::new("/spec/priority", code::ROUTE_OVERLAP, message);
            errors.push(error.of(key(Kind::Route, name)).related_to(key(Kind::Route, first)));
        }
        group.push((name, route));
    }
}

/// What must be equal for two routes to compete: all but the methods themselves.
fn identity(m: &Match, priority: i32) -> String {
    let text = |x: Option<String>| x.unwrap_or_default();
    format!(
        "{} {} {} {} {} {priority}",
        text(m.listener.as_ref().map(ToString::to_string)),
        text(m.host.as_ref().map(ToString::to_string)),
        text(m.grpc.as_ref().map(ToString::to_string)),
        text(m.path.as_ref().map(ToString::to_string)),
        m.methods.is_empty(),
    )
}

fn share_a_method(a: &Match, b: &Match) -> bool {
    (a.methods.is_empty() && b.methods.is_empty())
        || a.methods.iter().any(|m| b.methods.contains(m))
}

/// In the order they were last changed, so that of two that contradict each other the newer is named as
/// the one at fault: it is the one somebody is writing.
fn oldest_first<'s, T>(
    snapshot: &Snapshot,
    kind: Kind,
    objects: impl Iterator<Item = (&'s Name, &'s T)>,
) -> Vec<(&'s Name, &'s T)> {
    let mut objects: Vec<_> = objects.collect();
    let changed = |name: &Name| snapshot.objects.get(&key(kind, name)).map(|v| v.mod_revision);
    objects.sort_by_cached_key(|(name, _)| changed(name));
    objects
}

fn key(kind: Kind, name: &Name) -> Key {
    Key { kind, name: name.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::{Object, Versioned, document};
    use super::*;
    use std::sync::Arc;

    fn snapshot(text: &str) -> Snapshot {
        let objects = document::parse(text).expect("well-formed");
        let version = |o: Object| (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) });
        Snapshot { revision: 1, objects: objects.into_iter().map(version).collect() }
    }

    fn codes(text: &str) -> Vec<(String, String)> {
        match validate(&snapshot(text)) {
            Ok(()) => vec![],
            Err(e) => e.0.into_iter().map(|e| (e.object.unwrap_or_default(), e.code)).collect(),
        }
    }

    fn route(name: &str, spec: &str) -> String {
        format!("---\nkind: route\nname: {name}\nspec: {{engine: e, {spec}}}\n")
    }

    const ENGINE: &str = "kind: engine\nname: e\nspec: {}\n";

    #[test]
    fn unknown_references_are_all_named() {
        let text = route("a", "match: {listener: gone}") + &route("b", "match: {path: /b}");
        let found = codes(&text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.contains(&("route/a".into(), code::UNKNOWN_LISTENER.into())));
        assert!(found.contains(&("route/b".into(), code::UNKNOWN_ENGINE.into())));
    }

    #[test]
    fn every_engine_of_a_split_must_exist() {
        let text = ENGINE.to_owned()
            + &route("a", "split: [{engine: gone, percent: 1}, {engine: lost, percent: 2}]");
        let e = validate(&snapshot(&text)).expect_err("two are missing");
        let found: Vec<_> = e.0.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        let at = |p| (p, code::UNKNOWN_ENGINE);
        assert_eq!(found, [at("/spec/split/0/engine"), at("/spec/split/1/engine")]);
        assert!(e.0[1].message.contains("pigeon-ctl engine add lost"), "{e}");
    }

    #[test]
    fn the_engine_of_copies_must_exist_and_be_another() {
        let text = ENGINE.to_owned() + &route("a", "shadow: {engine: gone}");
        let e = validate(&snapshot(&text)).expect_err("it is missing");
        assert_eq!((e.0[0].pointer.as_str(), e.0.len()), ("/spec/shadow/engine", 1));
        for shadow in ["{engine: e}", "{engine: f, percent: 0}", "{engine: f, percent: 101}"] {
            let text = route("a", &format!("shadow: {shadow}"));
            assert!(document::parse(&text).is_err(), "{shadow}");
        }
    }

    #[test]
    fn ties_are_refused_and_anything_that_decides_is_not() {
        let with = |a: &str, b: &str| codes(&(ENGINE.to_owned() + &route("a", a) + &route("b", b)));
        let tie = vec![("route/b".to_owned(), code::ROUTE_OVERLAP.to_owned())];
        assert_eq!(with("match: {path: /x}", "match: {path: /x}"), tie);
        assert_eq!(
            with("match: {path: /x, methods: [GET, PUT]}", "match: {path: /x, methods: [PUT]}"),
            tie
        );
        assert_eq!(with("match: {path: /x*}", "match: {path: /x/*}"), tie);
        assert_eq!(with("match: {}", "match: {}"), tie);
        assert_eq!(
            with("match: {path: /x, methods: [GET]}", "match: {path: /x, methods: [PUT]}"),
            vec![]
        );
        assert_eq!(with("match: {path: /x, methods: [GET]}", "match: {path: /x}"), vec![]);
        assert_eq!(with("match: {path: /x}", "match: {path: /x}, priority: 1"), vec![]);
        assert_eq!(with("match: {path: /x}", "match: {path: /x*}"), vec![]);
        assert_eq!(with("match: {grpc: a.B}", "match: {grpc: a.B/C}"), vec![]);
    }

    #[test]
    fn of_two_that_tie_the_newer_is_at_fault() {
        let mut tied = snapshot(&(ENGINE.to_owned() + &route("a", "") + &route("b", "")));
        let a = tied.objects.iter_mut().find(|(k, _)| k.to_string() == "route/a").expect("a").1;
        a.mod_revision = 2;
        let e = validate(&tied).expect_err("a tie");
        assert_eq!(e.0[0].object.as_deref(), Some("route/a"));
        assert_eq!(e.0[0].related.as_deref(), Some("route/b"));
    }

    #[test]
    fn a_route_of_a_tcp_listener_has_nothing_of_http() {
        let listener =
            "---\nkind: listener\nname: raw\nspec: {address: '127.0.0.1:1', protocol: tcp}\n";
        let with = |spec: &str| ENGINE.to_owned() + listener + &route("a", spec);
        let split = "match: {listener: raw}, limits: [{rate: 1/s}], priority: 3";
        assert_eq!(codes(&with(split)), vec![]);
        // A route for everything is not for raw connections, and in nobody's way.
        assert_eq!(
            codes(&(with(split) + &route("b", "retry: {attempts: 1, on: [reset]}"))),
            vec![]
        );
        assert_eq!(codes(&with("match: {listener: raw}, auth: certificate")), vec![]);
        let wrong = "match: {listener: raw, host: h, path: /x, methods: [GET]}, timeout: 3s, retry: {attempts: 1, on: [reset]}, auth: {methods: [certificate, api_key]}";
        let e = validate(&snapshot(&with(wrong))).expect_err("six faults");
        let found: Vec<_> = e.0.iter().map(|e| e.pointer.as_str()).collect();
        let wanted = [
            "match/host",
            "match/path",
            "match/methods",
            "timeout",
            "retry/attempts",
            "auth/methods",
        ];
        assert_eq!(found, wanted.map(|w| format!("/spec/{w}")));
        assert!(e.0.iter().all(|e| e.code == code::CONFLICTING_FIELDS));
        assert!(e.0[0].message.contains("listener \"raw\" takes raw connections"), "{e}");
    }

    #[test]
    fn a_call_can_be_of_one_tenant_only() {
        let key = format!("{{id: k1, sha256: '{}'}}", "0".repeat(64));
        let tenant =
            |n: &str, spec: &str| format!("---\nkind: tenant\nname: {n}\nspec: {{{spec}}}\n");
        let both = |spec: &str| codes(&(tenant("a", spec) + &tenant("b", spec)));
        let shared = vec![("tenant/b".to_owned(), code::SHARED_CREDENTIAL.to_owned())];
        assert_eq!(both(&format!("keys: [{key}]")), shared);
        assert_eq!(both("certificates: ['CN=x']"), shared);
        assert_eq!(both("subjects: [{issuer: i, subject: s}]"), shared);
        let apart = tenant("a", "subjects: [{issuer: i, subject: s}]")
            + &tenant("b", "subjects: [{issuer: j, subject: s}]");
        assert_eq!(codes(&apart), vec![]);
    }

    #[test]
    fn routes_ask_for_what_there_is() {
        let asks = |auth: &str| ENGINE.to_owned() + &route("r", &format!("auth: {auth}"));
        let of = |c: &str| vec![("route/r".to_owned(), c.to_owned())];
        assert_eq!(codes(&asks("api_key")), vec![]);
        assert_eq!(codes(&asks("{methods: [api_key], tenants: [t]}")), of(code::UNKNOWN_TENANT));
        assert_eq!(codes(&asks("jwt")), of(code::NO_ISSUER));
        let listener = |name: &str, port: u16, more: &str| {
            format!(
                "---\nkind: listener\nname: {name}\nspec: {{address: '127.0.0.1:{port}'{more}}}\n"
            )
        };
        let jwt = ", jwt: [{issuer: i, audiences: [a], jwks: /k}]";
        let both = listener("a", 1, jwt) + &listener("b", 2, "");
        assert_eq!(codes(&(asks("jwt") + &both)), vec![]);
        let at = |listener: &str| {
            let asks = format!("auth: jwt, match: {{listener: {listener}}}");
            codes(&(ENGINE.to_owned() + &route("r", &asks) + &both))
        };
        assert_eq!((at("a"), at("b")), (vec![], of(code::NO_ISSUER)));
    }

    #[test]
    fn listeners_do_not_share_an_address() {
        let listener = |n: &str, a: &str| {
            format!("---\nkind: listener\nname: {n}\nspec: {{address: '{a}'}}\n")
        };
        let tie = vec![("listener/b".to_owned(), code::ADDRESS_TAKEN.to_owned())];
        assert_eq!(codes(&(listener("a", "127.0.0.1:1") + &listener("b", "127.0.0.1:1"))), tie);
        assert_eq!(codes(&(listener("a", "0.0.0.0:1") + &listener("b", "127.0.0.1:1"))), tie);
        assert_eq!(codes(&(listener("a", "127.0.0.2:1") + &listener("b", "127.0.0.1:1"))), vec![]);
    }
}
