//! Headers that a configuration writes: which may be written, where, and with which values.

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;

use super::code;
use super::error::{Contradiction, Errors};
use super::text::clip;

/// Names (in lower case once they are checked) and values.
pub type Headers = BTreeMap<String, String>;

/// What is changed of the headers on their way through: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeaderEdits {
    /// Headers that go no further.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Headers that have this value alone, whatever was sent.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Headers::is_empty", serialize_with = "super::hidden::headers")]
    pub set: Headers,
    /// Headers that have this value too, after what was sent.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Headers::is_empty", serialize_with = "super::hidden::headers")]
    pub add: Headers,
}

impl HeaderEdits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// The fields of edits that errors name.
pub(super) type EditPointers = [&'static str; 3];

/// Checks edits at `place`; names come out in lower case.
pub(super) fn check_edits(
    [remove, set, add]: EditPointers,
    edits: HeaderEdits,
    place: Place,
) -> Result<HeaderEdits, Contradiction> {
    if edits.remove.len() > MOST {
        let message = format!("has {} headers; at most {MOST} are taken", edits.remove.len());
        return Err(bad(remove, message));
    }
    let mut names = Vec::with_capacity(edits.remove.len());
    for name in &edits.remove {
        names.push(check_name(remove, name, place, false)?);
    }
    names.sort();
    names.dedup();
    let (set, add) = (check_headers(set, edits.set, place)?, check_headers(add, edits.add, place)?);
    Ok(HeaderEdits { remove: names, set, add })
}

/// Most headers of one list.
const MOST: usize = 32;
/// The longest name and the longest value.
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 4_096;

/// Where headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of a request on its way to an engine.
    Request,
    /// Of an answer, the engine's or the gateway's own.
    Answer,
}

/// Why a header cannot be written or removed there; none if it can.
fn forbidden(name: &str, place: Place, write: bool) -> Option<&'static str> {
    match name {
        "host" if place == Place::Request => Some("use rewrite.host"),
        "expect" if place == Place::Request => {
            Some("the gateway itself waits for bodies, and passes it on to no engine")
        }
        "x-request-id" if place == Place::Request => {
            Some("it is what the access log and the engine know the call by")
        }
        _ if place == Place::Request
            && write
            && (name == "forwarded" || name.starts_with("x-forwarded-")) =>
        {
            Some("the gateway says there who called; it can only be removed")
        }
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "transfer-encoding"
        | "upgrade"
        | "http2-settings"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "te"
        | "trailer" => Some("it is about one connection, and the gateway's own to write"),
        "content-length" => Some("the length of a body is what it is; another would break it"),
        _ if name.starts_with("grpc-") => Some("gRPC itself writes and reads it"),
        _ if name.starts_with("pigeon-") => Some("only the gateway itself says what begins so"),
        _ => None,
    }
}

fn bad(field: &'static str, message: String) -> Contradiction {
    Contradiction(field, code::BAD_VALUE, message)
}

/// Whether `name` is a header that may be removed at `place`, or (`write`) written; returns it in lower case.
pub(super) fn check_name(
    field: &'static str,
    name: &str,
    place: Place,
    write: bool,
) -> Result<String, Contradiction> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(token) {
        let name = clip(name);
        return Err(bad(
            field,
            format!(
                "\"{name}\" is not the name of a header; use up to {LONGEST_NAME} letters, digits and -"
            ),
        ));
    }
    let name = name.to_ascii_lowercase();
    match forbidden(&name, place, write) {
        Some(why) => Err(bad(field, format!("\"{name}\" cannot be edited: {why}; remove it"))),
        None => Ok(name),
    }
}

/// Headers with their names in lower case.
pub(super) fn check_headers(
    field: &'static str,
    headers: Headers,
    place: Place,
) -> Result<Headers, Contradiction> {
    if headers.len() > MOST {
        let message = format!("has {} headers; at most {MOST} are taken", headers.len());
        return Err(bad(field, message));
    }
    let mut checked = Headers::new();
    for (name, value) in headers {
        let name = check_name(field, &name, place, true)?;
        let text = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
        if value.len() > LONGEST_VALUE || !value.bytes().all(text) || value.trim() != value {
            let message = format!(
                "the value of \"{name}\" cannot be sent; use up to {LONGEST_VALUE} printable ASCII \
                 characters, without spaces at its ends"
            );
            return Err(bad(field, message));
        }
        if checked.contains_key(&name) {
            return Err(bad(field, format!("names \"{name}\" twice; keep one")));
        }
        checked.insert(name, value);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Route, Spec};
    use serde_json::{Value, json};

    fn read(spec: Value) -> Result<Route, (String, String)> {
        match Spec::from_json(Kind::Route, spec) {
            Ok(Spec::Route(route)) => Ok(route),
            Ok(other) => panic!("{other:?}"),
            Err(e) => Err((e.0[0].pointer.clone(), e.0[0].message.clone())),
        }
    }

    fn of(field: &str, edits: Value) -> Result<Route, (String, String)> {
        read(json!({"engine": "e", field: edits}))
    }

    #[test]
    fn names_are_kept_in_lower_case_and_once() {
        let edits = json!({"set": {"X-A": "1"}, "add": {"x-B": ""}, "remove": ["X-C", "x-c"]});
        let route = of("request_headers", edits).expect("edits");
        let edits = &route.request_headers;
        assert_eq!(edits.set.get("x-a").map(String::as_str), Some("1"));
        assert_eq!(edits.add.get("x-b").map(String::as_str), Some(""));
        assert_eq!(edits.remove, ["x-c"]);
        assert_eq!(
            of("request_headers", json!({})).expect("none"),
            read(json!({"engine": "e"})).expect("none")
        );
    }

    #[test]
    fn what_would_break_framing_or_trust_is_refused_with_the_reason() {
        for (name, why) in [
            ("Connection", "one connection"),
            ("transfer-encoding", "one connection"),
            ("te", "one connection"),
            ("Content-Length", "length"),
            ("host", "rewrite.host"),
            ("expect", "waits"),
            ("grpc-timeout", "gRPC"),
            ("grpc-status", "gRPC"),
            ("Pigeon-Tenant", "only the gateway"),
            ("x-forwarded-for", "only be removed"),
            ("forwarded", "only be removed"),
            ("x-request-id", "access log"),
            (":path", "not the name of a header"),
            ("a b", "not the name of a header"),
            ("", "not the name of a header"),
            ("x\r\ny", "not the name of a header"),
        ] {
            let (at, message) = of("request_headers", json!({"set": {name: "1"}})).expect_err(name);
            assert_eq!(at, "/request_headers/set");
            assert!(message.contains(why), "{message}");
            let added = of("request_headers", json!({"add": {name: "1"}}));
            assert_eq!(added.expect_err(name).0, "/request_headers/add");
        }
        assert!(of("request_headers", json!({"remove": ["x-forwarded-for"]})).is_ok());
        let (at, _) = of("response_headers", json!({"remove": ["grpc-status"]})).expect_err("grpc");
        assert_eq!(at, "/response_headers/remove");
    }

    #[test]
    fn values_and_counts_are_bounded() {
        let refused = |edits: Value| of("request_headers", edits).expect_err("must be refused").1;
        for value in ["a\nb", "a\rb", "a\0b", " a", "a\t", "ä"] {
            assert!(refused(json!({"set": {"x": value}})).contains("printable"), "{value:?}");
        }
        assert!(refused(json!({"add": {"x": "v".repeat(4_097)}})).contains("4096"));
        let many: serde_json::Map<_, _> = (0..33).map(|i| (format!("x-{i}"), json!("1"))).collect();
        assert!(refused(json!({"set": many})).contains("33"));
        let names: Vec<_> = (0..33).map(|i| format!("x-{i}")).collect();
        assert!(refused(json!({"remove": names})).contains("33"));
        assert!(refused(json!({"set": {"x": "1", "X": "2"}})).contains("twice"));
        assert!(of("request_headers", json!({"set": {"x": "a b\tc", "y": ""}})).is_ok());
    }

    #[test]
    fn without_an_engine_there_is_nothing_to_edit() {
        for field in ["request_headers", "response_headers"] {
            let (at, why) = read(json!({"answer": {}, field: {"remove": ["x"]}})).expect_err(field);
            assert!(at == format!("/{field}") && why.contains("engine"), "{at} {why}");
        }
    }
}
