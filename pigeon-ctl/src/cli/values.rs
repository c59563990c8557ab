//! Values of flags that need more than text: what they may be, and how they go to the server.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use pigeon_proto::model::{BadValue, Key, Kind, Millis, Time};

/// A kind of objects; the plural is understood too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Where the proxies listen.
    #[value(alias = "listeners")]
    Listener,
    /// Upstream services.
    #[value(alias = "engines")]
    Engine,
    /// Which calls go where.
    #[value(alias = "routes")]
    Route,
    /// Callers.
    #[value(alias = "tenants")]
    Tenant,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Listener => Self::Listener,
            KindArg::Engine => Self::Engine,
            KindArg::Route => Self::Route,
            KindArg::Tenant => Self::Tenant,
        }
    }
}

/// Reads which object is meant: `KIND/NAME`.
pub(super) fn key(text: &str) -> Result<Key, String> {
    let Some((kind, name)) = text.split_once('/') else {
        return Err("write it KIND/NAME, such as route/asr".into());
    };
    let known = KindArg::from_str(kind, false).map(Kind::from);
    // The model says which kinds there are.
    let kind = known.or_else(|_| kind.parse().map_err(|e: BadValue| e.to_string()))?;
    let name = name.parse().map_err(|e: BadValue| e.to_string())?;
    Ok(Key { kind, name })
}

/// `K=V`: a label to set; `K=`: one to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label's name.
    pub name: String,
    /// Its value; none removes it.
    pub value: Option<String>,
}

/// Reads a [`Label`].
pub(super) fn label(text: &str) -> Result<Label, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = (!value.is_empty()).then(|| value.to_owned());
            Ok(Label { name: name.to_owned(), value })
        }
        _ => Err("write it NAME=VALUE, or NAME= to remove it".into()),
    }
}

/// `HOST:PORT`, or `HOST:PORT=SLOTS`. Whether the address is one is for the server to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticEndpoint {
    /// host:port
    pub address: String,
    /// Slots of this endpoint, where they differ from `--slots`.
    pub slots: Option<u32>,
}

/// Reads a [`StaticEndpoint`].
pub(super) fn endpoint(text: &str) -> Result<StaticEndpoint, String> {
    let (address, slots) = match text.rsplit_once('=') {
        None => (text, None),
        Some((address, slots)) => {
            let wrong = |_| format!("\"{slots}\" is not a number of slots; write HOST:PORT=SLOTS");
            (address, Some(slots.parse().map_err(wrong)?))
        }
    };
    match address {
        "" => Err("is empty; write HOST:PORT,HOST:PORT".into()),
        _ => Ok(StaticEndpoint { address: address.to_owned(), slots }),
    }
}

/// `--lb`: a kind of balance, and for `hash:HEADER` what it hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The word as the API writes it.
    pub kind: &'static str,
    /// The hash key, where it is part of it.
    pub hash_key: Option<String>,
}

/// Reads a [`Balance`].
pub(super) fn balance(text: &str) -> Result<Balance, String> {
    if let Some(header) = text.strip_prefix("hash:").filter(|h| !h.is_empty()) {
        return Ok(Balance { kind: "hash", hash_key: Some(format!("header:{header}")) });
    }
    const KINDS: [&str; 5] = ["least_connections", "random", "round_robin", "p2c", "hash"];
    let kind = KINDS.into_iter().find(|kind| kind.replace('_', "-") == text);
    kind.map(|kind| Balance { kind, hash_key: None }).ok_or_else(|| {
        "write least-connections, random, round-robin, p2c, hash or hash:HEADER".into()
    })
}

/// A number, or nothing: then the limit is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<u32>);

/// Reads a [`Limit`].
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "" => Ok(Limit(None)),
        number => number
            .parse()
            .map(|n| Limit(Some(n)))
            .map_err(|_| format!("write a whole number up to {}, or '' for no limit", u32::MAX)),
    }
}

/// `ENGINE=10%` or `ENGINE=10`: a share of a route's calls; empty: no share at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share(pub Option<(String, u32)>);

/// Reads a [`Share`]. Whether the shares add up is for the server to say.
pub(super) fn share(text: &str) -> Result<Share, String> {
    if text.is_empty() {
        return Ok(Share(None));
    }
    let wrong = || "write ENGINE=PERCENT, such as llm-b=10%".to_owned();
    let (engine, percent) = text.split_once('=').ok_or_else(wrong)?;
    let percent = percent.strip_suffix('%').unwrap_or(percent).parse().map_err(|_| wrong())?;
    if engine.is_empty() { Err(wrong()) } else { Ok(Share(Some((engine.to_owned(), percent)))) }
}

/// `NAME=VALUE`: a header to set; `NAME=`: one to set no longer.
pub type Header = Label;

/// Reads a [`Header`].
pub(super) fn header(text: &str) -> Result<Header, String> {
    let Label { name, value } =
        label(text).map_err(|_| "write it NAME=VALUE, or NAME= to take it out".to_owned())?;
    // As the server keeps it, so that NAME= takes out what NAME=VALUE has put in.
    Ok(Label { name: name.to_ascii_lowercase(), value })
}

/// A number of bytes, or nothing: then there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub Option<u64>);

/// Reads a [`Size`].
pub(super) fn size(text: &str) -> Result<Size, String> {
    match text {
        "" => Ok(Size(None)),
        number => number
            .parse()
            .map(|n| Size(Some(n)))
            .map_err(|_| "write a whole number of bytes, or '' for no limit".into()),
    }
}

/// `https://host:port/path`, or any part of it: where callers are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Without port.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// `/path` or `/prefix*`.
    pub path: Option<String>,
}

/// Reads a [`Redirect`]. Whether the parts are what they should be is for the server to say.
pub(super) fn redirect(text: &str) -> Result<Redirect, String> {
    let wrong =
        || "write a URL or the parts to change: https:, //host:port, /path, /prefix*".to_owned();
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            (Some(scheme.to_owned()), rest)
        }
        _ => (None, text),
    };
    let (place, path) = match rest.strip_prefix("//") {
        None => (None, rest),
        Some(rest) => {
            let slash = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..slash]), &rest[slash..])
        }
    };
    let (host, port) = match place.map(|p| p.rsplit_once(':').unwrap_or((p, ""))) {
        // A colon inside of brackets belongs to the address.
        Some((_, port)) if port.ends_with(']') => (place, None),
        Some((host, "")) => (Some(host), None),
        Some((host, port)) => (Some(host), Some(port.parse().map_err(|_| wrong())?)),
        None => (None, None),
    };
    let path = (!path.is_empty()).then(|| path.to_owned());
    let host = host.filter(|host| !host.is_empty()).map(str::to_owned);
    let redirect = Redirect { scheme, host, port, path };
    if redirect == Redirect::default() { Err(wrong()) } else { Ok(redirect) }
}

/// `404` or `UNAVAILABLE`: the status of a route's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status.
    Http(u16),
    /// The name of a gRPC status.
    Grpc(String),
}

/// Reads an [`Answer`]. Whether there is such a status is for the server to say.
pub(super) fn answer(text: &str) -> Result<Answer, String> {
    match text.parse() {
        Ok(status) => Ok(Answer::Http(status)),
        Err(_) if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Ok(Answer::Grpc(text.to_owned()))
        }
        Err(_) => Err("write an HTTP status like 404, or a gRPC status like UNAVAILABLE".into()),
    }
}

/// `ISSUER,SUBJECT`: whom a token is about; empty: nobody at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub Option<(String, String)>);

/// Reads a [`Subject`]. An issuer is a URL, which rarely has a comma; a subject may.
pub(super) fn subject(text: &str) -> Result<Subject, String> {
    match text.split_once(',') {
        None if text.is_empty() => Ok(Subject(None)),
        Some((issuer, subject)) if !issuer.is_empty() && !subject.is_empty() => {
            Ok(Subject(Some((issuer.to_owned(), subject.to_owned()))))
        }
        _ => Err("write ISSUER,SUBJECT, such as https://idp.example,alice".into()),
    }
}

/// When something expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time.
    At(Time),
    /// After so long.
    In(Duration),
}

impl Expiry {
    /// The time, or so long from now.
    pub fn time(self) -> Time {
        self.relative(Duration::saturating_add)
    }

    /// The time, or so long ago.
    pub fn time_ago(self) -> Time {
        self.relative(Duration::saturating_sub)
    }

    fn relative(self, step: impl Fn(Duration, Duration) -> Duration) -> Time {
        match self {
            Self::At(time) => time,
            Self::In(span) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                Time::from_unix(step(now.unwrap_or_default(), span).as_secs())
            }
        }
    }
}

/// Reads an [`Expiry`]: `2027-01-01T00:00:00Z` or `90d`.
/// A time, or how long before now.
pub(super) fn ago(text: &str) -> Result<Expiry, String> {
    expiry(text)
        .map_err(|_| "write a time or how long ago, such as 2027-01-01T00:00:00Z or 2h".to_owned())
}

pub(super) fn expiry(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = text.parse() {
        return Ok(Expiry::At(time));
    }
    match text.parse::<Millis>() {
        Ok(time) if time.duration() >= Duration::from_secs(1) => Ok(Expiry::In(time.duration())),
        _ => Err("write a time or how long from now, such as 2027-01-01T00:00:00Z or 90d".into()),
    }
}

/// `NAME=VALUE,NAME=VALUE`, or nothing for none at all: an issuer whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(pub Vec<(String, String)>);

/// Reads an [`Issuer`]; what the fields may hold is for the server to say.
pub(super) fn issuer(text: &str) -> Result<Issuer, String> {
    const FIELDS: [&str; 5] = ["issuer", "audience", "jwks", "tenant_claim", "ca"];
    let field = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if FIELDS.contains(&name) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!(
            "\"{pair}\" is not NAME=VALUE with a name of {}; write it like \
             issuer=https://idp.example,audience=asr,jwks=https://idp.example/keys",
            FIELDS.join(", ")
        )),
    };
    let fields = text.split(',').filter(|_| !text.is_empty()).map(field);
    fields.collect::<Result<_, _>>().map(Issuer)
}

/// `42` or `r42`, with or without the quotes of an ETag.
pub(super) fn revision(text: &str) -> Result<u64, String> {
    let bare = text.trim_matches('"');
    let number = bare.strip_prefix('r').unwrap_or(bare);
    number.parse().map_err(|_| "write a revision as in `get`, such as 42".into())
}

/// Where to go on: a revision, or the id of an event (`1-42`).
pub(super) fn place(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('r').unwrap_or(text);
    let (generation, revision) = bare.split_once('-').unwrap_or(("0", bare));
    match [generation, revision].iter().all(|part| part.parse::<u64>().is_ok()) {
        true => Ok(bare.to_owned()),
        false => Err("write a revision, such as 42, or the id of an event, such as 1-42".into()),
    }
}

/// A time to wait that is not zero.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let time: Millis = text.parse().map_err(|e| format!("{e}"))?;
    match time.duration() {
        Duration::ZERO => Err("must be at least 1ms".into()),
        time => Ok(time),
    }
}

/// The word of a choice as the API writes it: `least_connections`.
pub fn word(choice: impl ValueEnum) -> String {
    let value = choice.to_possible_value();
    value.map(|v| v.get_name().replace('-', "_")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let some = |n: &str, v: &str| Label { name: n.into(), value: Some(v.into()) };
        assert_eq!(label("a=b"), Ok(some("a", "b")));
        assert_eq!(label("a=b=c"), Ok(some("a", "b=c")));
        assert_eq!(label("a="), Ok(Label { name: "a".into(), value: None }));
        assert!(label("a").is_err());
        assert!(label("=b").is_err());
    }

    #[test]
    fn endpoints() {
        let at = |a: &str, slots| StaticEndpoint { address: a.into(), slots };
        assert_eq!(endpoint("10.0.0.1:80"), Ok(at("10.0.0.1:80", None)));
        assert_eq!(endpoint("[::1]:80=4"), Ok(at("[::1]:80", Some(4))));
        assert_eq!(endpoint("nonsense"), Ok(at("nonsense", None)));
        assert!(endpoint("a:1=many").is_err());
        assert!(endpoint("").is_err());
    }

    #[test]
    fn balances() {
        let plain = |kind| Ok(Balance { kind, hash_key: None });
        assert_eq!(balance("round-robin"), plain("round_robin"));
        assert_eq!(balance("hash"), plain("hash"));
        let hash_key = Some("header:x-id".to_owned());
        assert_eq!(balance("hash:x-id"), Ok(Balance { kind: "hash", hash_key }));
        for wrong in ["round_robin", "hash:", "", "least"] {
            assert!(balance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_and_shares() {
        assert_eq!((limit(""), limit("7")), (Ok(Limit(None)), Ok(Limit(Some(7)))));
        assert!(limit("-1").is_err() && limit("many").is_err());
        let of = |e: &str, p| Ok(Share(Some((e.to_owned(), p))));
        assert_eq!((share("llm-b=10%"), share("b=5")), (of("llm-b", 10), of("b", 5)));
        assert_eq!(share(""), Ok(Share(None)));
        for wrong in ["llm-b", "=10%", "b=", "b=x%", "b=-1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn redirects_and_answers() {
        let of = |scheme: &str, host: &str, port, path: &str| {
            let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
            Ok(Redirect { scheme: some(scheme), host: some(host), port, path: some(path) })
        };
        for (text, wanted) in [
            ("https://b.example:8443/new*", of("https", "b.example", Some(8443), "/new*")),
            ("https:", of("https", "", None, "")),
            ("//b.example", of("", "b.example", None, "")),
            ("//[::1]:80/x", of("", "[::1]", Some(80), "/x")),
            ("//[::1]", of("", "[::1]", None, "")),
            ("//:81", of("", "", Some(81), "")),
            ("/new:x", of("", "", None, "/new:x")),
        ] {
            assert_eq!(redirect(text), wanted, "{text}");
        }
        assert!(redirect("").is_err() && redirect("//a:b").is_err());
        assert_eq!(answer("404"), Ok(Answer::Http(404)));
        assert_eq!(answer("UNAVAILABLE"), Ok(Answer::Grpc("UNAVAILABLE".into())));
        assert!(answer("").is_err() && answer("gone").is_err());
        let to =
            |value: Option<&str>| Ok(Header { name: "x-a".into(), value: value.map(Into::into) });
        assert_eq!((header("X-A=b=c"), header("x-a=")), (to(Some("b=c")), to(None)));
    }

    #[test]
    fn subjects_issuers_and_expiries() {
        let of = |i: &str, s: &str| Ok(Subject(Some((i.to_owned(), s.to_owned()))));
        assert_eq!(subject("https://idp,a,b"), of("https://idp", "a,b"));
        assert_eq!(subject(""), Ok(Subject(None)));
        assert!(subject("alice").is_err() && subject(",a").is_err() && subject("i,").is_err());
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let two = vec![pair("issuer", "i"), pair("audience", "a=b")];
        assert_eq!(issuer("issuer=i,audience=a=b"), Ok(Issuer(two)));
        assert_eq!(issuer(""), Ok(Issuer(vec![])));
        assert!(issuer("issuer").is_err() && issuer("colour=red").is_err());
        assert_eq!(expiry("90d"), Ok(Expiry::In(Duration::from_secs(90 * 86_400))));
        assert!(matches!(expiry("2027-01-01T00:00:00Z"), Ok(Expiry::At(_))));
        assert!(expiry("tomorrow").is_err() && expiry("0s").is_err());
    }

    #[test]
    fn revisions() {
        for text in ["42", "r42", "\"r42\""] {
            assert_eq!(revision(text), Ok(42));
        }
        assert!(revision("latest").is_err());
    }
}
