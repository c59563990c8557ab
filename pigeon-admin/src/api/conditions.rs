//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13): read strictly, never by guess.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};

use super::code;
use super::error::{Problem, clip};

/// What a conditional header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any version.
    Any,
    /// The revisions of these entity tags.
    Revisions(Vec<u64>),
}

impl Tags {
    /// Whether an object at `revision` is among them.
    pub fn contain(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Revisions(list) => list.contains(&revision),
        }
    }
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None: the write takes the object as it is.
    None,
    /// `If-None-Match: *`: only if it does not exist.
    Absent,
    /// `If-Match`: only if it is one of these.
    Match(Tags),
}

/// The condition of a PUT, PATCH or DELETE.
///
/// # Errors
/// 400 if a header does not parse, or if the two contradict each other.
pub fn of_write(headers: &HeaderMap) -> Result<Condition, Problem> {
    match (tags(headers, &IF_MATCH, false)?, tags(headers, &IF_NONE_MATCH, true)?) {
        (None, None) => Ok(Condition::None),
        (Some(tags), None) => Ok(Condition::Match(tags)),
        (None, Some(Tags::Any)) => Ok(Condition::Absent),
        (None, Some(_)) => Err(bad("If-None-Match takes only * with a write")),
        (Some(_), Some(_)) => Err(bad("If-Match and If-None-Match exclude each other; send one")),
    }
}

/// The tags of the `If-None-Match` of a GET; a weak tag counts as its strong one there.
///
/// # Errors
/// 400 if it does not parse.
pub fn of_read(headers: &HeaderMap) -> Result<Option<Tags>, Problem> {
    tags(headers, &IF_NONE_MATCH, true)
}

fn tags(headers: &HeaderMap, name: &HeaderName, weak: bool) -> Result<Option<Tags>, Problem> {
    let mut lines = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| bad(format!("{name} is not text")))?;
        lines.push(text);
    }
    if lines.is_empty() {
        return Ok(None);
    }
    parse(&lines.join(","), weak).map(Some).map_err(|shown| {
        bad(format!(
            "{name}: {shown} is not an entity tag of Pigeon; write \"r42\", a list of them, or *"
        ))
    })
}

/// `*`, or tags separated by commas; the error is the part that is neither.
fn parse(text: &str, weak: bool) -> Result<Tags, String> {
    let blank = [' ', '\t'];
    if text.trim_matches(blank) == "*" {
        return Ok(Tags::Any);
    }
    let mut revisions = Vec::new();
    // The tags of Pigeon hold no comma, so that splitting there is exact; empty members are allowed
    // (RFC 9110, section 5.6.1.2).
    for part in text.split(',').map(|p| p.trim_matches(blank)).filter(|p| !p.is_empty()) {
        let strong = if weak { part.strip_prefix("W/").unwrap_or(part) } else { part };
        let revision = strong
            .strip_prefix("\"r")
            .and_then(|s| s.strip_suffix('"'))
            .filter(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|s| s.parse().ok());
        revisions.push(revision.ok_or_else(|| format!("`{}`", clip(part)))?);
    }
    if revisions.is_empty() { Err("an empty value".into()) } else { Ok(Tags::Revisions(revisions)) }
}

fn bad(detail: impl Into<String>) -> Problem {
    let title = "A conditional header is wrong";
    Problem::new(StatusCode::BAD_REQUEST, "bad-condition", title, code::BAD_CONDITION, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_strictly() {
        let list = |r: &[u64]| Ok(Tags::Revisions(r.to_vec()));
        let cases = [
            ("*", Ok(Tags::Any)),
            (" * ", Ok(Tags::Any)),
            ("\"r42\"", list(&[42])),
            ("\"r1\", \"r2\",\t\"r3\"", list(&[1, 2, 3])),
            ("\"r1\",,", list(&[1])),
            ("", Err(())),
            (",", Err(())),
            ("42", Err(())),
            ("r42", Err(())),
            ("\"42\"", Err(())),
            ("\"r\"", Err(())),
            ("\"r-1\"", Err(())),
            ("\"r+1\"", Err(())),
            ("\"r42", Err(())),
            ("\"r1\" \"r2\"", Err(())),
            ("*, \"r1\"", Err(())),
            ("W/\"r42\"", Err(())),
            ("\"r99999999999999999999999\"", Err(())),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, false).map_err(|_| ()), expected, "{text}");
        }
        assert_eq!(parse("W/\"r42\"", true), Ok(Tags::Revisions(vec![42])));
    }

    #[test]
    fn conditions_of_writes() {
        let of = |pairs: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, value.parse().expect("a value"));
            }
            of_write(&headers).map_err(|_| ())
        };
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Ok(Condition::Absent));
        let both = Condition::Match(Tags::Revisions(vec![1, 2]));
        assert_eq!(of(&[(IF_MATCH, "\"r1\""), (IF_MATCH, "\"r2\"")]), Ok(both));
        assert_eq!(of(&[(IF_NONE_MATCH, "\"r1\"")]), Err(()));
        assert_eq!(of(&[(IF_NONE_MATCH, "*"), (IF_MATCH, "*")]), Err(()));
    }
}
