//! Credentials of every kind, good and bad, and what engines are told.

use std::time::{Duration, Instant};

use pigeon_proto::model::{Object, Route, Snapshot, Spec, Versioned, document};

use super::*;
use crate::filter::Certificate;

const SECRET: &str = "pgk_k1_0123456789abcdef";
const OLD: &str = "pgk_k2_0123456789abcdef";

fn snapshot() -> Snapshot {
    let hash = |key: &str| pigeon_proto::model::KeyHash::of(key.as_bytes());
    let text = format!(
        "kind: tenant\nname: acme\nspec:\n  keys:\n  - {{id: k1, sha256: '{}'}}\n  - {{id: k2, sha256: '{}', expires: '2020-01-01T00:00:00Z'}}\n  certificates: ['CN=asr,O=Acme', 'spiffe://acme/asr']\n---\nkind: tenant\nname: other\nspec: {{certificates: [other.example]}}\n",
        hash(SECRET),
        hash(OLD)
    );
    let version = |o: Object| (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) });
    let objects = document::parse(&text).expect("documents").into_iter().map(version).collect();
    Snapshot { revision: 1, objects }
}

fn gate(auth: &str) -> Gate {
    let text = format!("kind: route\nname: r\nspec: {{engine: e, auth: {auth}}}\n");
    let Spec::Route(Route { auth: Some(auth), .. }) =
        document::parse(&text).expect("a route").remove(0).spec
    else {
        panic!("no auth")
    };
    Gate::new(&auth, &Directory::compile(&snapshot(), None, Instant::now()))
}

/// 2021.
fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_609_459_200)
}

fn run(
    gate: &Gate,
    headers: &[(&str, &str)],
    certificate: Option<&Arc<Certificate>>,
) -> Result<Arc<Identity>, Rejection> {
    let header =
        |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_bytes());
    gate.run(&Asked {
        listener: &"default".parse().expect("a name"),
        peer: [127, 0, 0, 1].into(),
        beyond: false,
        certificate,
        authority: "",
        target: "/",
        grpc: false,
        header: &header,
        repeated: &|name| headers.iter().filter(|(n, _)| *n == name).count() > 1,
        wall: &wall,
        now: Instant::now(),
    })
}

#[test]
fn keys() {
    let gate = gate("api_key");
    let asked = |headers: &[(&str, &str)]| {
        run(&gate, headers, None)
            .map(|identity| (identity.tenant.clone(), identity.subject.clone()))
    };
    let acme = || Ok((Some("acme".parse().expect("a name")), "k1".to_owned()));
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(asked(&[("authorization", &bearer)]), acme());
    assert_eq!(asked(&[("x-api-key", SECRET)]), acme());
    assert_eq!(asked(&[("token", SECRET)]), acme());
    let lacks = |lack| Err(Rejection::Unauthenticated(lack));
    assert_eq!(asked(&[]), lacks(Lack::Missing));
    assert_eq!(asked(&[("x-api-key", "theirs")]), lacks(Lack::Missing));
    assert_eq!(asked(&[("x-api-key", OLD)]), lacks(Lack::NotValid));
    for bad in ["pgk_k1_0123456789abcdeF", "pgk_k1_", "pgk_k1", "pgk_k3_0123456789abcdef", "pgk__"]
    {
        assert_eq!(asked(&[("x-api-key", bad)]), lacks(Lack::NotValid), "{bad}");
    }
}

#[test]
fn the_first_method_that_the_call_has_something_for_decides() {
    let certificate = Arc::new(Certificate {
        subject: "CN=x".into(),
        names: vec!["a.example".into(), "other.example".into()],
    });
    let tenant = |auth: &str, key: &str| {
        let identity = run(&gate(auth), &[("x-api-key", key)], Some(&certificate));
        identity.map(|identity| identity.tenant.as_ref().map(ToString::to_string))
    };
    let both = "{methods: [api_key, certificate]}";
    assert_eq!(tenant(both, SECRET), Ok(Some("acme".into())));
    assert_eq!(tenant("{methods: [certificate, api_key]}", SECRET), Ok(Some("other".into())));
    assert_eq!(tenant(both, "theirs"), Ok(Some("other".into())));
    // A bad one is not made good by another.
    assert_eq!(tenant(both, OLD), Err(Rejection::Unauthenticated(Lack::NotValid)));
}

#[test]
fn only_the_tenants_of_the_route_pass() {
    let certificate =
        |subject: &str| Arc::new(Certificate { subject: subject.into(), names: vec![] });
    let only = gate("{methods: [certificate], tenants: [acme]}");
    let any = gate("certificate");
    let known = certificate("CN=asr,O=Acme");
    let nobody = certificate("CN=nobody");
    assert!(run(&only, &[], Some(&known)).is_ok());
    assert_eq!(run(&only, &[], Some(&nobody)), Err(Rejection::Forbidden));
    let identity = run(&any, &[], Some(&nobody)).expect("its authority vouches for it");
    assert_eq!((&identity.tenant, identity.subject.as_str()), (&None, "CN=nobody"));
}

#[test]
fn engines_are_told_in_headers_that_are_ones() {
    let told = |identity: &Identity| {
        identity.headers().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>()
    };
    let tenant = "acme".parse().ok();
    let identity = Identity::new(tenant, "k1", How::ApiKey);
    assert_eq!(
        told(&identity),
        ["pigeon-tenant: acme", "pigeon-subject: k1", "pigeon-auth: api_key"]
    );
    let identity = Identity::new(None, " a b\r\nx: é%", How::Certificate);
    assert_eq!(
        told(&identity),
        ["pigeon-subject: %20a b%0D%0Ax: %C3%A9%25", "pigeon-auth: certificate"]
    );
    assert_eq!(escaped(""), "");
    assert_eq!(escaped(" "), "%20");
}

#[test]
fn callers_live_on_while_they_are_the_same() {
    let first = Directory::compile(&snapshot(), None, Instant::now());
    assert!(Arc::ptr_eq(&first, &Directory::compile(&snapshot(), Some(&first), Instant::now())));
    let mut other = snapshot();
    other.objects.retain(|key, _| key.name.as_str() != "other");
    assert!(!Arc::ptr_eq(&first, &Directory::compile(&other, Some(&first), Instant::now())));
}
