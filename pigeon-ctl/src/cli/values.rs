//! Values of flags that need more than text: what they may be, and how they go to the server.

use std::time::Duration;

use clap::ValueEnum;
use pigeon_proto::model::{Kind, Millis};

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
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Listener => Self::Listener,
            KindArg::Engine => Self::Engine,
            KindArg::Route => Self::Route,
        }
    }
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

/// `42` or `r42`, with or without the quotes of an ETag.
pub(super) fn revision(text: &str) -> Result<u64, String> {
    let bare = text.trim_matches('"');
    let number = bare.strip_prefix('r').unwrap_or(bare);
    number.parse().map_err(|_| "write a revision as in `get`, such as 42".into())
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
    fn revisions() {
        for text in ["42", "r42", "\"r42\""] {
            assert_eq!(revision(text), Ok(42));
        }
        assert!(revision("latest").is_err());
    }
}
