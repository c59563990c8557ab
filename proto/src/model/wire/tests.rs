//! Any object survives the wire and its documents, and what older and newer versions send is read as meant.

use proptest::option::of;
use proptest::prelude::*;

use super::super::*;
use super::*;

fn time(least: u64) -> impl Strategy<Value = Millis> {
    (least..100_000_000).prop_map(Millis::new)
}

fn a_pool() -> impl Strategy<Value = Pool> {
    let slots = prop_oneof![
        Just((PoolMode::Off, None, 0)),
        (1..=100_000_u32, 0..=100_000_u32).prop_map(|(s, q)| (PoolMode::Strict, Some(s), q)),
        (1..=100_000_u32, 0..=100_000_u32).prop_map(|(s, q)| (PoolMode::Loose, Some(s), q)),
    ];
    let times = (time(0), time(1), time(0), time(0), time(100), time(1));
    let some = (of(time(1_000)), of(1..u32::MAX), of(time(0)), of(time(1_000)), of(1..u32::MAX));
    let numbers =
        (1..=100_u32, 1..=10_000_u32, 65_535..=16_777_216_u32, 65_535..=1_073_741_824_u32);
    let rest = (any::<bool>(), any::<bool>(), 0..=100_u32);
    (slots, times, some, numbers, rest).prop_map(|(slots, t, some, n, rest)| Pool {
        mode: slots.0,
        slots: slots.1,
        queue: slots.2,
        loose_factor: n.0,
        queue_timeout: t.0,
        dial_timeout: t.1,
        idle_timeout: t.2,
        cancel_cooldown: t.3,
        dial_backoff_max: t.4,
        keepalive_timeout: t.5,
        reuse: if rest.0 { Reuse::Exclusive } else { Reuse::Multiplex },
        max_streams_per_connection: n.1,
        max_lifetime: some.0,
        max_requests: some.1,
        drain_timeout: some.2,
        keepalive_time: some.3,
        keepalive_without_calls: rest.1,
        stream_window: n.2,
        connection_window: n.3,
        max_message_bytes: some.4,
        warm: rest.2,
    })
}

fn a_check() -> impl Strategy<Value = HealthCheck> {
    prop_oneof![
        Just(HealthCheck::Auto),
        Just(HealthCheck::Tcp),
        Just(HealthCheck::None),
        "[!-~]{0,20}".prop_map(|service| HealthCheck::Grpc { service }),
        "/([a-z?=&%.-][!\"$-~]{0,20})?".prop_map(|path| HealthCheck::Http { path }),
    ]
}

fn a_health() -> impl Strategy<Value = Health> {
    (a_check(), time(100), time(1), 1..=100_u32, 1..=100_u32).prop_map(
        |(check, interval, timeout, up, down)| Health { check, interval, timeout, up, down },
    )
}

fn an_ejection() -> impl Strategy<Value = Ejection> {
    (any::<u32>(), any::<bool>(), time(1), 0..1_000_u64, 0..=100_u32).prop_map(
        |(failures, outliers, time, more, max_ejected)| Ejection {
            failures,
            outliers,
            time,
            max_time: Millis::new(time.as_ms() + more),
            max_ejected,
        },
    )
}

fn a_balance() -> impl Strategy<Value = (Balance, Option<HashKey>)> {
    prop_oneof![
        Just((Balance::LeastConnections, None)),
        Just((Balance::Random, None)),
        Just((Balance::RoundRobin, None)),
        Just((Balance::P2c, None)),
        Just((Balance::Hash, Some(HashKey::Source))),
        Just((Balance::Hash, Some(HashKey::Tenant))),
        "[a-z0-9!#$%&'*+.^_`|~-]{1,20}".prop_map(|h| (Balance::Hash, Some(HashKey::Header(h)))),
    ]
}

fn an_engine() -> impl Strategy<Value = Engine> {
    let endpoint = (1..=1_000_u32, of(1..=100_000_u32), any::<bool>());
    let endpoints = prop::collection::vec(endpoint, 0..5);
    let protocol = prop::sample::select(vec![Protocol::Auto, Protocol::Http1]);
    let rest = (a_health(), an_ejection(), an_engine_tls());
    (endpoints, a_balance(), protocol, time(0), a_pool(), rest).prop_map(
        |(endpoints, (balance, hash_key), protocol, slow_start, pool, (health, ejection, tls))| {
            let (protocol, tls) = tls.unwrap_or((protocol, None));
            let endpoint =
                |(i, (weight, slots, drain)): (usize, (u32, Option<u32>, bool))| Endpoint {
                    address: format!("h{i}:1").parse().expect("an address"),
                    weight,
                    slots: slots.filter(|_| pool.mode != PoolMode::Off),
                    drain,
                };
            let endpoints = endpoints.into_iter().enumerate().map(endpoint).collect();
            Engine {
                endpoints,
                balance,
                hash_key,
                protocol,
                slow_start,
                pool,
                health,
                ejection,
                tls,
            }
        },
    )
}

fn a_path() -> impl Strategy<Value = FilePath> {
    "/[a-z]{1,9}(/[a-z.]{0,9}[a-z])?".prop_map(|path| path.parse().expect("a path"))
}

/// None, or what goes with a protocol.
fn an_engine_tls() -> impl Strategy<Value = Option<(Protocol, Option<EngineTls>)>> {
    let name = prop_oneof!["[a-z]{1,9}(\\.[a-z]{1,9})?".boxed(), Just("::1".to_owned()).boxed()];
    let name = name.prop_map(|name| name.parse().expect("a name"));
    let tls =
        (of(a_path()), of(name), of((a_path(), a_path()))).prop_map(|(ca, server_name, own)| {
            let (certificate, key) = own.unzip();
            Some(EngineTls { ca, server_name, certificate, key })
        });
    let by_tls = prop::sample::select(vec![Protocol::Auto, Protocol::Http1, Protocol::H2]);
    let with = (by_tls, tls);
    of(prop_oneof![Just((Protocol::H2c, None)), with])
}

fn a_retry() -> impl Strategy<Value = Retry> {
    let on = prop_oneof![
        (1..=16_u8).prop_map(RetryOn::Grpc),
        (400..=599_u16).prop_map(RetryOn::Http),
        Just(RetryOn::Reset),
    ];
    let on = prop::collection::btree_set(on, 0..6);
    (1..=10_u32, on, time(0), 0..1_000_u64, 0..=16_777_216_u32, 0..=100_u32).prop_map(
        |(attempts, on, backoff, more, buffer, budget)| Retry {
            attempts: if on.is_empty() { 0 } else { attempts },
            on: on.into_iter().collect(),
            backoff,
            max_backoff: Millis::new(backoff.as_ms() + more),
            buffer,
            budget,
        },
    )
}

fn a_limit() -> impl Strategy<Value = Limit> {
    let unit = prop::sample::select(vec![RateUnit::Second, RateUnit::Minute, RateUnit::Hour]);
    let per = prop::sample::select(LimitPer::ALL.to_vec());
    (1..=1_000_000_u32, unit, 1..=1_000_000_u32, per).prop_map(|(calls, unit, burst, per)| Limit {
        rate: Rate { calls, unit },
        burst,
        per,
    })
}

fn an_auth() -> impl Strategy<Value = Auth> {
    let methods = prop::collection::btree_set(prop::sample::select(&AuthMethod::ALL), 1..=3);
    let tenants = prop::collection::btree_set("[a-z]{1,9}", 0..3);
    let claims = prop::collection::btree_map("[a-z]{1,9}", ".{0,9}", 0..3);
    (methods, tenants, claims).prop_map(|(methods, tenants, claims)| Auth {
        claims: if methods.iter().eq(&[AuthMethod::Jwt]) { claims } else { Default::default() },
        methods: methods.into_iter().collect(),
        tenants: tenants.into_iter().map(|t| t.parse().expect("a name")).collect(),
    })
}

fn a_tenant() -> impl Strategy<Value = Tenant> {
    let key = (any::<[u8; 32]>(), of(any::<u64>()));
    let keys = prop::collection::btree_map("[a-z0-9-]{1,32}", key, 0..4);
    let certificates = prop::collection::btree_set("[!-~]{1,40}", 0..4);
    let subjects = prop::collection::btree_set((".{1,40}", ".{1,40}"), 0..4);
    (keys, certificates, subjects).prop_map(|(keys, certificates, subjects)| Tenant {
        keys: keys
            .into_iter()
            .map(|(id, (hash, expires))| ApiKey {
                id: id.parse().expect("an id"),
                sha256: KeyHash(hash),
                expires: expires.map(Time::from_unix),
            })
            .collect(),
        certificates: certificates.iter().map(|c| c.parse().expect("a subject")).collect(),
        subjects: subjects
            .into_iter()
            .map(|(issuer, subject)| TokenSubject { issuer, subject })
            .collect(),
    })
}

fn a_route() -> impl Strategy<Value = Route> {
    let split = prop::collection::vec(1..=24_u32, 0..=4);
    let limits = prop::collection::vec(a_limit(), 0..=8);
    let parts = (split, any::<i32>(), of(time(1)), a_retry(), limits, of(an_auth()));
    parts.prop_map(|(split, priority, timeout, retry, limits, auth)| {
        let name = |i: usize| format!("e{i}").parse().expect("a name");
        let share = |(i, percent)| Split { engine: name(i), percent };
        // Without auth nobody knows who calls.
        let counts = |limit: &Limit| auth.is_some() || !limit.per.is_of_known();
        let limits = limits.into_iter().filter(counts).collect();
        Route {
            split: split.into_iter().enumerate().map(share).collect(),
            priority,
            timeout,
            retry,
            limits,
            auth,
            ..Route::to("e".parse().expect("a name"))
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_engine_survives_the_wire_and_its_document(engine in an_engine()) {
        let spec = Spec::Engine(engine);
        prop_assert_eq!(Spec::decode(Kind::Engine, &spec.encode()), Ok(spec.clone()));
        prop_assert_eq!(Spec::from_json(Kind::Engine, spec.to_json()), Ok(spec));
    }

    #[test]
    fn any_route_survives_the_wire_and_its_document(route in a_route()) {
        let spec = Spec::Route(route);
        prop_assert_eq!(Spec::decode(Kind::Route, &spec.encode()), Ok(spec.clone()));
        prop_assert_eq!(Spec::from_json(Kind::Route, spec.to_json()), Ok(spec));
    }

    #[test]
    fn any_tenant_survives_the_wire_and_its_document(tenant in a_tenant()) {
        let spec = Spec::Tenant(tenant);
        prop_assert_eq!(Spec::decode(Kind::Tenant, &spec.encode()), Ok(spec.clone()));
        prop_assert_eq!(Spec::from_json(Kind::Tenant, spec.to_json()), Ok(spec));
    }
}

const DOCUMENTS: &str = r#"
kind: listener
name: l
spec: {address: "[::1]:9", max_connections: 7, max_connections_per_source: 3, max_streams_per_source: 4, max_concurrent_streams: 8, max_header_bytes: 9000, header_timeout: 3s, h2c_upgrade: true,
  jwt: [{issuer: "https://idp", audiences: [a, b], jwks: "https://idp/keys", tenant_claim: t, ca: /ca.pem}, {issuer: i, audiences: [c], jwks: /k}]}
---
kind: listener
name: r
spec: {address: "[::1]:10", protocol: tcp}
---
kind: listener
name: s
spec: {address: "[::1]:11", protocol: tcp, idle_timeout: 0s, max_lifetime: 1h}
---
kind: listener
name: t
spec:
  address: "[::1]:8"
  tls:
    certificates: [{certificate: /a.pem, key: /a.key}, {certificate: /b.pem, key: /b.key}]
    min_version: "1.3"
    client_ca: /ca.pem
    client_certificates: optional
---
kind: route
name: g
spec: {match: {listener: l, host: "*.x.y", grpc: a.B/C}, engine: e, priority: -4, timeout: 5s}
---
kind: route
name: h
spec: {match: {path: "/p*", methods: [PUT, GET]}, engine: e}
---
kind: route
name: i
spec: {match: {path: "/p*"}, redirect: {scheme: https, host: a.example, port: 8443, path: "/q*", status: 308}}
---
kind: route
name: j
spec: {answer: {status: 503, headers: {X-A: "1", b: ""}, body: "later\n", grpc_status: ABORTED, message: "ä"}}
---
kind: route
name: k
spec: {answer: {}}
---
kind: route
name: n
spec:
  match: {path: "/old*"}
  engine: e
  request_headers: {set: {X-A: "1"}, add: {x-b: "2"}, remove: [X-C]}
  response_headers: {remove: [server]}
  rewrite: {path: "/new*", host: "a.example:80"}
  max_body_bytes: 1099511627776
  shadow: {engine: f, percent: 10}
---
kind: route
name: o
spec: {match: {grpc: a.B}, engine: e, rewrite: {path: c.D}}
---
kind: route
name: p
spec: {match: {grpc: a.B}, engine: e, cors: {origins: [https://a.example, "https://*.b.example:81"], headers: [X-A], expose: [x-b], max_age: 1h, credentials: true}}
---
kind: route
name: q
spec: {match: {path: /q}, engine: e, cors: {origins: ["*"]}, transcode: true}
"#;

#[test]
fn listeners_and_matches_survive_the_wire() {
    for object in document::parse(DOCUMENTS).expect("documents") {
        let bytes = object.spec.encode();
        assert_eq!(Spec::decode(object.key.kind, &bytes), Ok(object.spec));
    }
}

#[test]
fn what_a_version_before_these_fields_sends_reads_as_it_meant() {
    let pool = v1::Pool {
        mode: v1::pool::Mode::Strict.into(),
        slots: 4,
        loose_factor: 5,
        dial_timeout_ms: 5_000,
        ..Default::default()
    };
    let endpoint = v1::Endpoint { address: "a:1".into(), weight: 1, ..Default::default() };
    let wire = v1::Engine { endpoints: vec![endpoint], pool: Some(pool), ..Default::default() };
    let Ok(Spec::Engine(engine)) = Spec::decode(Kind::Engine, &wire.encode_to_vec()) else {
        panic!("refused");
    };
    // It knew no checks but "none"; all else is as in a document that does not say.
    assert_eq!(engine.health, Health::none());
    assert_eq!(engine.ejection, Ejection::default());
    let default = Pool::default();
    let of = |p: &Pool| (p.max_streams_per_connection, p.dial_backoff_max, p.keepalive_timeout);
    assert_eq!(of(&engine.pool), of(&default));
    assert_eq!(
        (engine.pool.stream_window, engine.pool.connection_window, engine.pool.drain_timeout),
        (default.stream_window, default.connection_window, None)
    );
    let wire = v1::Route { engine: "e".into(), ..Default::default() };
    let Ok(Spec::Route(route)) = Spec::decode(Kind::Route, &wire.encode_to_vec()) else {
        panic!("refused");
    };
    assert_eq!((route.split, route.retry), (vec![], Retry::default()));
}

#[test]
fn a_value_of_a_newer_version_is_refused_by_name() {
    let refused = |wire: v1::Engine| {
        let e = Spec::decode(Kind::Engine, &wire.encode_to_vec()).expect_err("must be refused");
        (e.0[0].pointer.clone(), e.0[0].code.clone())
    };
    let plain = || v1::Engine::from(&Engine::default());
    let balance = v1::Engine { balance: 99, ..plain() };
    assert_eq!(refused(balance), ("/spec/balance".into(), code::CANNOT_USE.into()));
    let pool = v1::Pool { reuse: 9, ..(&Pool::default()).into() };
    let pool = v1::Engine { pool: Some(pool), ..plain() };
    assert_eq!(refused(pool), ("/spec/pool/reuse".into(), code::CANNOT_USE.into()));
    let health = v1::Health { check: "quic".into(), ..(&Health::default()).into() };
    let health = v1::Engine { health: Some(health), ..plain() };
    assert_eq!(refused(health), ("/spec/health/check".into(), code::BAD_VALUE.into()));
    assert!(Spec::decode(Kind::Route, b"\xff\xff").is_err());
}
