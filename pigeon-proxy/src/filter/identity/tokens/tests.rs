//! Tokens, good and bad: every algorithm, every way to pretend, and what is remembered.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pigeon_proto::model::{Object, Versioned, document};
use proptest::prelude::*;
use serde_json::json;

use super::super::keys::KeySet;
use super::signer::{Signer, jwks, unsigned};
use super::*;

/// 2021, in Unix seconds.
const NOW: u64 = 1_609_459_200;
const ISSUER: &str = "https://idp.example";

const TEXT: &str = "
kind: listener
name: l
spec:
  address: 127.0.0.1:1
  jwt: [{issuer: https://idp.example, audiences: [pigeon, dove], jwks: /keys.json, tenant_claim: org}]
---
{kind: listener, name: other, spec: {address: '127.0.0.1:2'}}
---
{kind: tenant, name: acme, spec: {subjects: [{issuer: https://idp.example, subject: ann}]}}
---
{kind: tenant, name: umbrella, spec: {}}
---
kind: route
name: r
spec: {engine: e, auth: {methods: [jwt], claims: {scope: read}}}
";

fn snapshot(text: &str) -> Snapshot {
    let version = |o: Object| (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) });
    let objects = document::parse(text).expect("documents").into_iter().map(version).collect();
    Snapshot { revision: 1, objects }
}

struct Rig {
    tokens: Tokens,
    start: Instant,
}

impl Rig {
    fn new(keys: &[Value]) -> Self {
        let start = Instant::now();
        let tokens = Tokens::compile(&snapshot(TEXT), None, start).expect("an issuer");
        let rig = Self { tokens, start };
        if !keys.is_empty() {
            rig.look(keys);
        }
        rig
    }

    fn look(&self, keys: &[Value]) {
        let source = self.tokens.sources().remove(0);
        source.begins();
        source.ends(KeySet::read(&jwks(keys)), NOW);
    }

    fn asked<T>(
        &self,
        (peer, listener, twice): (&str, &str, bool),
        check: impl FnOnce(&Asked<'_>) -> T,
    ) -> T {
        check(&Asked {
            listener: &listener.parse().expect("a name"),
            peer: peer.parse().expect("an address"),
            beyond: false,
            certificate: None,
            authority: "",
            target: "/",
            grpc: false,
            header: &|_| None,
            repeated: &|name| twice && name == "authorization",
            wall: &|| panic!("the time is given"),
            now: self.start,
        })
    }

    fn check_at(&self, token: &str, now: u64) -> Result<Arc<Verified>, Rejection> {
        self.asked(("10.0.0.1", "l", false), |a| self.tokens.check(a, token.as_bytes(), now))
    }

    fn check(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        self.check_at(token, NOW)
    }

    /// The tenant and the subject.
    fn who(&self, token: &str) -> (Option<String>, String) {
        let known = self.check(token).expect("a good token");
        (known.identity.tenant.as_ref().map(ToString::to_string), known.identity.subject.clone())
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "pigeon", "sub": "ann", "exp": NOW + 60, "scope": "write read"})
}

/// The claims, with some of them others; null takes one away.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

fn not_valid<T>() -> Result<T, Rejection> {
    Err(Rejection::Unauthenticated(Lack::NotValid))
}

fn fails(found: Result<Arc<Verified>, Rejection>) -> Result<(), Rejection> {
    found.map(|_| ())
}

#[test]
fn every_algorithm_is_taken_with_its_own_keys_only() {
    const ALL: [&str; 9] =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    for alg in ALL {
        let signer = Signer::new(alg);
        let rig = Rig::new(&[signer.jwk("k")]);
        assert!(rig.check(&signer.token("k", &claims())).is_ok(), "{alg}");
        let unnamed = signer.token_with(&json!({ "alg": alg }), &claims());
        assert!(rig.check(&unnamed).is_ok(), "{alg}");
        for other in ALL.into_iter().filter(|other| *other != alg) {
            let token = signer.token_with(&json!({"alg": other, "kid": "k"}), &claims());
            assert_eq!(fails(rig.check(&token)), not_valid(), "{alg} as {other}");
        }
        // A key that says what it is for is for nothing else.
        let mut jwk = signer.jwk("k");
        for (name, value, good) in [
            ("alg", json!(alg), true),
            ("alg", json!(if alg == "RS256" { "PS256" } else { "RS256" }), false),
            ("use", json!("enc"), false),
            ("key_ops", json!(["sign"]), false),
            ("key_ops", json!(["verify"]), true),
        ] {
            let before = jwk[name].take();
            jwk[name] = value.clone();
            let rig = Rig::new(&[jwk.clone(), Signer::new("EdDSA").jwk("other")]);
            let found = rig.check(&signer.token("k", &claims()));
            assert_eq!(found.is_ok(), good, "{alg}: {name} {value}");
            if before.is_null() {
                jwk.as_object_mut().expect("an object").remove(name);
            } else {
                jwk[name] = before;
            }
        }
    }
}

#[test]
fn what_a_token_says_must_hold() {
    let signer = Signer::new("EdDSA");
    let rig = Rig::new(&[signer.jwk("k")]);
    for (changes, good) in [
        (json!({}), true),
        (json!({"aud": ["x", "dove"]}), true),
        (json!({"nbf": NOW + 60, "iat": NOW + 60}), true),
        (json!({"exp": NOW - 59}), true),
        (json!({"exp": NOW as f64 + 0.5}), true),
        (json!({"exp": NOW - 60}), false),
        (json!({"exp": null}), false),
        (json!({"exp": (NOW + 60).to_string()}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": 1e300}), false),
        (json!({"nbf": NOW + 61}), false),
        (json!({"nbf": "now"}), false),
        (json!({"iat": NOW + 61}), false),
        (json!({"aud": null}), false),
        (json!({"aud": []}), false),
        (json!({"aud": "pigeons"}), false),
        (json!({"aud": {"pigeon": 1}}), false),
        (json!({"iss": null}), false),
        (json!({"iss": "https://idp.example/"}), false),
        (json!({"iss": [ISSUER]}), false),
        (json!({"sub": null}), false),
        (json!({"sub": ""}), false),
        (json!({"sub": 7}), false),
        (json!({"sub": "x".repeat(256)}), false),
    ] {
        let found = rig.check(&signer.token("k", &with(changes.clone())));
        assert_eq!(found.is_ok(), good, "{changes}: {found:?}");
    }
    // Another listener believes nobody.
    let token = signer.token("k", &claims());
    let other = rig.asked(("10.0.0.1", "other", false), |asked| {
        rig.tokens.check(asked, token.as_bytes(), NOW)
    });
    assert_eq!(fails(other), not_valid());
    let twice =
        rig.asked(("10.0.0.1", "l", true), |asked| rig.tokens.check(asked, token.as_bytes(), NOW));
    assert_eq!(fails(twice), not_valid());
}

#[test]
fn pretenders_are_refused() {
    let signer = Signer::new("RS256");
    let rig = Rig::new(&[signer.jwk("k")]);
    let good = signer.token("k", &claims());
    assert!(rig.check(&good).is_ok());
    let attacker = Signer::new("ES256");
    let header = |alg: &str| json!({"alg": alg, "kid": "k"});
    let hmac = |secret: &[u8]| {
        let signed = unsigned(&header("HS256"), &claims());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let made = ring::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(made))
    };
    let Value::String(n) = signer.jwk("k")["n"].take() else { panic!("no modulus") };
    let none = unsigned(&header("none"), &claims());
    let (head, rest) = good.split_once('.').expect("a token");
    let (body, made) = rest.split_once('.').expect("a token");
    let crit = signer.token_with(&json!({"alg": "RS256", "kid": "k", "crit": ["exp"]}), &claims());
    let b64 = signer
        .token_with(&json!({"alg": "RS256", "kid": "k", "b64": false, "crit": ["b64"]}), &claims());
    let own = attacker.token_with(
        &json!({"alg": "ES256", "kid": "k", "jwk": attacker.jwk("k"), "jku": "https://evil.example"}),
        &claims(),
    );
    for bad in [
        none.clone() + ".",
        none,
        unsigned(&header("None"), &claims()) + "." + made,
        hmac(n.as_bytes()),
        hmac(&URL_SAFE_NO_PAD.decode(&n).expect("base64")),
        hmac(b""),
        attacker.token("k", &claims()),
        own,
        crit,
        b64,
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", &made[..made.len() - 4]),
        format!("{head}.{body}.{made}="),
        format!("{head}.{body}.{made}.{made}"),
        format!("{head}.{body}.{made}.{made}.{made}"),
        format!("{head}..{made}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good},{good}"),
        signer.token_with(&json!({"kid": "k"}), &claims()),
        signer.token_with(&json!({"alg": "RS256", "kid": ["k"]}), &claims()),
        signer.token_with(&json!(["RS256"]), &claims()),
        signer.token("k", &json!("claims")),
        signer.token("k", &with(json!({"padding": "x".repeat(20_000)}))),
        String::new(),
        ".".into(),
        "..".into(),
        "....".into(),
    ] {
        let found = fails(rig.check(&bad));
        assert_eq!(found, not_valid(), "{}", &bad[..bad.len().min(300)]);
        // And when it is known.
        assert_eq!(fails(rig.check(&bad)), not_valid());
    }
    // A name of a key is a name and nothing else.
    for kid in ["../../dev/null", "k' or '1'='1", "", "K", "k\u{0}"] {
        assert_eq!(fails(rig.check(&signer.token(kid, &claims()))), Err(Rejection::NoKeys));
        rig.look(&[signer.jwk("k")]);
        assert_eq!(fails(rig.check(&signer.token(kid, &claims()))), not_valid(), "{kid}");
    }
    assert!(rig.check(&good).is_ok());
}

#[test]
fn keys_come_and_go() {
    let (old, new) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let rig = Rig::new(&[]);
    let (of_old, of_new) = (old.token("1", &claims()), new.token("2", &claims()));
    assert_eq!(fails(rig.check(&of_old)), Err(Rejection::NoKeys));
    rig.look(&[old.jwk("1")]);
    assert!(rig.check(&of_old).is_ok());
    // A look that had begun before does not count.
    let source = rig.tokens.sources().remove(0);
    source.begins();
    assert_eq!(fails(rig.check(&of_new)), Err(Rejection::NoKeys));
    source.ends(KeySet::read(&jwks(&[old.jwk("1")])), NOW);
    assert_eq!(fails(rig.check(&of_new)), Err(Rejection::NoKeys));
    rig.look(&[old.jwk("1")]);
    assert_eq!(fails(rig.check(&of_new)), not_valid());
    rig.look(&[old.jwk("1"), new.jwk("2")]);
    assert!(rig.check(&of_new).is_ok() && rig.check(&of_old).is_ok());
    rig.look(&[new.jwk("2")]);
    assert!(rig.check(&of_new).is_ok());
    assert_eq!(fails(rig.check(&of_old)), Err(Rejection::NoKeys), "it may come back");
    // The same name for another key: what was remembered is worth nothing.
    rig.look(&[new.jwk("1")]);
    assert_eq!(fails(rig.check(&of_old)), not_valid());
    // A look that brings nothing takes nothing away.
    source.begins();
    assert_eq!(source.ends(Err("no".into()), NOW), super::super::Looked::Failed);
    assert!(rig.check(&new.token("1", &claims())).is_ok());
    let shown = source.shown();
    assert_eq!((shown.error.as_deref(), shown.errors, shown.count), (Some("no"), 1, 1));
}

#[test]
fn what_is_remembered_expires_with_its_token() {
    let signer = Signer::new("EdDSA");
    let rig = Rig::new(&[signer.jwk("k")]);
    let token = signer.token("k", &claims());
    let first = rig.check(&token).expect("good");
    assert!(Arc::ptr_eq(&first, &rig.check(&token).expect("good")), "verified once");
    assert!(rig.check_at(&token, NOW + 119).is_ok());
    assert_eq!(fails(rig.check_at(&token, NOW + 120)), not_valid());
}

#[test]
fn bad_signatures_are_bounded_for_each_source() {
    let signer = Signer::new("EdDSA");
    let rig = Rig::new(&[signer.jwk("k")]);
    let attacker = Signer::new("EdDSA");
    let good = signer.token("k", &claims());
    assert!(rig.check(&good).is_ok());
    let forged = |n: u32| attacker.token("k", &with(json!({ "n": n })));
    for n in 0..BAD_AT_ONCE {
        assert_eq!(fails(rig.check(&forged(n))), not_valid());
        // Known by now.
        assert_eq!(fails(rig.check(&forged(n))), not_valid());
    }
    let limited = fails(rig.check(&forged(BAD_AT_ONCE)));
    assert!(matches!(limited, Err(Rejection::RateLimited { .. })), "{limited:?}");
    // What is known costs nothing, and others have nothing to do with it.
    assert!(rig.check(&good).is_ok());
    let fresh = signer.token("k", &with(json!({"n": 1})));
    let other = |token: &str| {
        rig.asked(("10.0.0.2", "l", false), |a| rig.tokens.check(a, token.as_bytes(), NOW))
    };
    assert!(other(&fresh).is_ok());
}

#[test]
fn tenants_by_subject_or_by_claim() {
    let signer = Signer::new("EdDSA");
    let rig = Rig::new(&[signer.jwk("k")]);
    let who = |changes| rig.who(&signer.token("k", &with(changes)));
    let is = |tenant: Option<&str>, subject: &str| (tenant.map(str::to_owned), subject.to_owned());
    assert_eq!(who(json!({})), is(Some("acme"), "ann"));
    assert_eq!(who(json!({"org": "umbrella"})), is(Some("acme"), "ann"), "what is listed counts");
    assert_eq!(who(json!({"sub": "bob", "org": "umbrella"})), is(Some("umbrella"), "bob"));
    assert_eq!(who(json!({"sub": "bob", "org": "nobody"})), is(None, "bob"));
    assert_eq!(who(json!({"sub": "bob", "org": ["umbrella"]})), is(None, "bob"));
    assert_eq!(who(json!({"sub": "bob"})), is(None, "bob"));
    let known =
        rig.check(&signer.token("k", &with(json!({"big": "x".repeat(999)})))).expect("good");
    assert_eq!(known.claims.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["scope"]);
}

#[test]
fn sources_and_what_was_counted_live_on() {
    let start = Instant::now();
    let first = Tokens::compile(&snapshot(TEXT), None, start).expect("an issuer");
    assert!(Tokens::are_of(Some(&first), &snapshot(TEXT)));
    let changed = [
        TEXT.replace("dove", "hawk"),
        TEXT.replace("scope", "role"),
        TEXT.replace("/keys.json", "/other.json"),
        "kind: listener\nname: l\nspec: {address: '127.0.0.1:1'}\n".into(),
    ];
    for text in &changed {
        assert!(!Tokens::are_of(Some(&first), &snapshot(text)), "{text}");
    }
    assert!(!Tokens::are_of(None, &snapshot(TEXT)) && Tokens::are_of(None, &snapshot(&changed[3])));
    let next = Tokens::compile(&snapshot(&changed[0]), Some(&first), start).expect("an issuer");
    assert!(
        Arc::ptr_eq(&next.sources()[0], &first.sources()[0]) && Arc::ptr_eq(&next.bad, &first.bad)
    );
    let moved = Tokens::compile(&snapshot(&changed[2]), Some(&first), start).expect("an issuer");
    assert!(!Arc::ptr_eq(&moved.sources()[0], &first.sources()[0]));
    assert!(Tokens::compile(&snapshot(&changed[3]), Some(&first), start).is_none());
}

/// Good tokens, one for each kind of key, with what checks them.
fn good_ones() -> Vec<(Rig, String)> {
    let one = |alg| {
        let signer = Signer::new(alg);
        (Rig::new(&[signer.jwk("k")]), signer.token("k", &claims()))
    };
    ["RS256", "PS384", "ES256", "ES384", "EdDSA"].map(one).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is changed of a token, it is not good any more.
    #[test]
    fn tampered_tokens_never_pass(
        which in 0..5_usize, at in any::<prop::sample::Index>(), to in any::<char>(), cut in any::<bool>(),
    ) {
        let mut rigs = good_ones();
        let (rig, token) = rigs.swap_remove(which);
        let mut tampered: Vec<char> = token.chars().collect();
        let at = at.index(tampered.len());
        if cut { tampered.remove(at); } else { tampered[at] = to; }
        let tampered: String = tampered.into_iter().collect();
        prop_assume!(tampered != token);
        prop_assert!(rig.check(&tampered).is_err(), "{tampered}");
        prop_assert!(rig.check(&token).is_ok());
    }

    /// One bit of the signature, too, which text does not show.
    #[test]
    fn not_a_bit_of_a_signature_may_differ(which in 0..5_usize, bit in any::<prop::sample::Index>()) {
        let mut rigs = good_ones();
        let (rig, token) = rigs.swap_remove(which);
        let (signed, made) = token.rsplit_once('.').expect("a token");
        let mut made = URL_SAFE_NO_PAD.decode(made).expect("base64");
        let bit = bit.index(made.len() * 8);
        made[bit / 8] ^= 1 << (bit % 8);
        let tampered = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(made));
        prop_assert!(rig.check(&tampered).is_err());
    }

    /// Neither tokens nor key sets make it panic, and nothing that nobody signed is good.
    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..600), parts in prop::collection::vec("[ -~]{0,40}", 3)) {
        let rig = Rig::new(&[Signer::new("EdDSA").jwk("k")]);
        let check = |token: &[u8]| rig.asked(("10.0.0.1", "l", false), |a| rig.tokens.check(a, token, NOW));
        prop_assert!(check(&bytes).is_err());
        let part = |text: &String| URL_SAFE_NO_PAD.encode(text);
        let token = parts.iter().map(part).collect::<Vec<_>>().join(".");
        prop_assert!(check(token.as_bytes()).is_err());
        prop_assert!(KeySet::read(&bytes).is_err());
    }
}

#[test]
fn key_sets_have_usable_keys_or_say_so() {
    let rsa = Signer::new("RS256").jwk("k");
    let mut weak = rsa.clone();
    weak["n"] = json!(URL_SAFE_NO_PAD.encode([0xff; 128]));
    let read = |keys: &[Value]| KeySet::read(&jwks(keys)).map(|keys| keys.count());
    let more = [weak.clone(), json!({"kty": "oct", "k": "AAAA"}), json!(7), json!({})];
    assert_eq!(read(&[&more[..], &[rsa]].concat()), Ok(1));
    for (text, why) in [
        ("", "not a JWKS"),
        ("<html>", "not a JWKS"),
        ("[]", "not a JWKS"),
        ("{}", "not a JWKS"),
        (r#"{"keys": []}"#, "none of its 0 keys"),
    ] {
        let error = KeySet::read(text.as_bytes()).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let error = read(&more).expect_err("no usable key");
    assert!(error.contains("none of its 4 keys") && error.contains("2048"), "{error}");
    let many: Vec<_> = (0..300).map(|n| Signer::new("EdDSA").jwk(&n.to_string())).collect();
    assert_eq!(read(&many), Ok(100));
}

#[test]
fn a_minute_more_is_no_minute_less() {
    // Times at the edge of what numbers hold neither wrap nor panic.
    let signer = Signer::new("EdDSA");
    let rig = Rig::new(&[signer.jwk("k")]);
    let token = signer.token("k", &with(json!({"exp": u64::MAX})));
    assert!(rig.check(&token).is_ok());
    assert!(rig.check_at(&token, u64::MAX - 1).is_ok());
    assert!(rig.check_at(&token, u64::MAX).is_err());
    let later = rig.start + Duration::from_secs(1);
    assert!(rig.tokens.bad.start < later);
}
