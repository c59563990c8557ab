//! Headers that a configuration writes: which may be written, where, and with which values.

use std::collections::BTreeMap;

use super::code;
use super::error::Contradiction;
use super::text::clip;

/// Names (in lower case once they are checked) and values.
pub type Headers = BTreeMap<String, String>;

/// Most headers of one list.
const MOST: usize = 32;
/// The longest name and the longest value.
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 4_096;

/// Where headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of an answer, the engine's or the gateway's own.
    Answer,
}

/// Why a header cannot be written or removed there; none if it can.
fn forbidden(name: &str, _place: Place) -> Option<&'static str> {
    match name {
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

/// Whether `name` is a header that may be edited at `place`; returns it in lower case.
pub(super) fn check_name(
    field: &'static str,
    name: &str,
    place: Place,
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
    match forbidden(&name, place) {
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
        let name = check_name(field, &name, place)?;
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
