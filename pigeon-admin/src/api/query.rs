//! Query parameters: every error at once, unknown ones refused with the names of those that exist.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Query as Pairs;
use axum::http::{StatusCode, Uri};
use pigeon_proto::model::{Errors, FieldError, Millis, Name};

use super::code;
use super::error::{Problem, clip};

/// Most objects on a page.
pub const LARGEST_PAGE: usize = 1_000;
/// Objects on a page unless the request says otherwise.
pub const PAGE: usize = 100;
/// How long a write waits for the proxies unless the request says otherwise.
const WAIT: Duration = Duration::from_secs(10);
/// The longest it may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The parameters of a request, each a known one and there once.
pub struct Query {
    values: BTreeMap<String, String>,
    errors: Errors,
}

impl Query {
    /// Reads the query of `uri`, in which only `known` parameters may occur.
    pub fn of(uri: &Uri, known: &[&str]) -> Self {
        let mut query = Self { values: BTreeMap::new(), errors: Errors::default() };
        let pairs = match Pairs::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Pairs(pairs)) => pairs,
            Err(e) => {
                query.error("", format!("the query does not parse: {e}"));
                return query;
            }
        };
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let takes = match known {
                    [] => "none is taken here".to_owned(),
                    known => format!("the parameters are: {}", known.join(", ")),
                };
                query.error(&name, format!("there is no parameter \"{}\"; {takes}", clip(&name)));
            } else if query.values.insert(name.clone(), value).is_some() {
                query.error(&name, "is there twice; keep one".into());
            }
        }
        query
    }

    /// Notes what is wrong with a parameter.
    pub fn error(&mut self, name: &str, message: String) {
        self.errors.push(FieldError::new(format!("?{}", clip(name)), code::BAD_QUERY, message));
    }

    /// The value of `name` as it is parsed by its type; a value that is not is an error of the request.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        match self.values.get(name)?.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                let message = e.to_string();
                self.error(name, message);
                None
            }
        }
    }

    /// The value of `name` as it is.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// A whole number from 1.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.values.get(name)?;
        match value.parse::<u64>() {
            Ok(n) if n > 0 => Some(n),
            _ => {
                let message = format!("is \"{}\"; it must be a whole number from 1", clip(value));
                self.error(name, message);
                None
            }
        }
    }

    /// One of `words`.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.values.get(name)?;
        let found = words.iter().find(|w| *w == value).copied();
        if found.is_none() {
            let message = format!("is \"{}\"; it must be {}", clip(value), words.join(" or "));
            self.error(name, message);
        }
        found
    }

    /// Some of `words`, separated by commas; each once.
    pub fn words(&mut self, name: &str, words: &[&'static str]) -> Option<Vec<&'static str>> {
        let value = self.values.get(name)?.clone();
        let mut found = Vec::new();
        for given in value.split(',') {
            match words.iter().find(|word| **word == given) {
                Some(word) if found.contains(word) => {}
                Some(word) => found.push(*word),
                None => {
                    let all = words.join(", ");
                    let message = format!("there is no \"{}\"; there are: {all}", clip(given));
                    self.error(name, message);
                }
            }
        }
        Some(found)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 with every error found.
    pub fn done(self) -> Result<(), Problem> {
        let Err(errors) = self.errors.into_result() else { return Ok(()) };
        let mut problem = Problem::from(errors);
        problem.reclassify(StatusCode::BAD_REQUEST, "bad-query", "A query parameter is wrong");
        Err(problem)
    }
}

/// Refuses every query parameter.
///
/// # Errors
/// 400 if there is one.
pub fn none(uri: &Uri) -> Result<(), Problem> {
    Query::of(uri, &[]).done()
}

/// Which page of a list.
#[allow(dead_code)] // The reference only; what is read is a size and a typed token.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many at most: 100 unless given; more than 1000 counts as 1000.
    #[param(minimum = 1)]
    page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    page_token: Option<String>,
}

impl PageQuery {
    /// A page of objects: the token is the last name of the page before.
    ///
    /// # Errors
    /// 400 with every wrong parameter.
    pub fn of_names(uri: &Uri) -> Result<(usize, Option<Name>), Problem> {
        let mut query = Query::of(uri, &["page_size", "page_token"]);
        let (size, token) = (page_size(&mut query), query.parsed::<Name>("page_token"));
        query.done().map(|()| (size, token))
    }

    /// A page of revisions: the token is the last revision of the page before.
    ///
    /// # Errors
    /// 400 with every wrong parameter.
    pub fn of_revisions(uri: &Uri) -> Result<(usize, Option<u64>), Problem> {
        let mut query = Query::of(uri, &["page_size", "page_token"]);
        let (size, token) = (page_size(&mut query), query.count("page_token"));
        query.done().map(|()| (size, token))
    }
}

/// How many there may be on a page.
pub fn page_size(query: &mut Query) -> usize {
    let size = query.count("page_size").map(|n| usize::try_from(n).unwrap_or(LARGEST_PAGE));
    size.map_or(PAGE, |n| n.min(LARGEST_PAGE))
}

/// How a write is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WriteQuery {
    /// Check everything and answer as the real call would, but change nothing.
    #[param(value_type = Option<bool>)]
    pub dry_run: bool,
    /// `applied`: answer when every connected proxy has acknowledged or refused the revision.
    #[param(rename = "wait", value_type = Option<String>, example = "applied")]
    pub wait: bool,
    /// How long to wait: 10s unless given, at most 60s.
    #[param(value_type = Option<String>, example = "10s")]
    pub timeout: Duration,
}

impl WriteQuery {
    /// Reads it.
    ///
    /// # Errors
    /// 400 with every wrong parameter.
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut query = Query::of(uri, &Self::NAMES);
        let write = Self::read(&mut query);
        query.done().map(|()| write)
    }

    /// Its parameters.
    pub const NAMES: [&str; 3] = ["dry_run", "wait", "timeout"];

    /// Reads it from a query with more parameters.
    pub fn read(query: &mut Query) -> Self {
        let dry_run = query.word("dry_run", &["true", "false"]) == Some("true");
        let wait = query.word("wait", &["applied"]).is_some();
        let timeout = query.parsed::<Millis>("timeout").map(Millis::duration);
        if query.values.contains_key("timeout") && !query.values.contains_key("wait") {
            query.error("timeout", "has no meaning without wait=applied; add it".into());
        }
        if timeout.is_some_and(|t| t > LONGEST_WAIT) {
            query.error("timeout", "is longer than 60s; wait again instead".into());
        }
        Self { dry_run, wait, timeout: timeout.unwrap_or(WAIT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/v1/engines?{query}").parse().expect("a URI")
    }

    #[test]
    fn writes() {
        let wait = |s| Duration::from_secs(s);
        let cases = [
            ("", Ok((false, false, wait(10)))),
            ("dry_run=true", Ok((true, false, wait(10)))),
            ("dry_run=false&wait=applied", Ok((false, true, wait(10)))),
            ("wait=applied&timeout=2s", Ok((false, true, wait(2)))),
            ("wait=applied&timeout=60s", Ok((false, true, wait(60)))),
            ("wait=applied&timeout=61s", Err("longer than 60s")),
            ("wait=applied&timeout=5", Err("unit is missing")),
            ("wait=sure", Err("it must be applied")),
            ("timeout=5s", Err("without wait=applied")),
            ("dry_run=yes", Err("true or false")),
            ("dry_run=true&dry_run=true", Err("twice")),
            ("dryrun=true", Err("the parameters are: dry_run, wait, timeout")),
        ];
        for (text, expected) in cases {
            match (WriteQuery::of(&uri(text)), expected) {
                (Ok(q), Ok(e)) => assert_eq!((q.dry_run, q.wait, q.timeout), e, "{text}"),
                (Err(p), Err(why)) => {
                    let body = p.body("/", "id");
                    let json = serde_json::to_value(body).expect("JSON");
                    assert_eq!(json["status"], 400, "{text}");
                    let detail = json["detail"].as_str().unwrap_or_default();
                    assert!(detail.contains(why), "{text}: {detail}");
                }
                (got, _) => panic!("{text}: {:?}", got.err()),
            }
        }
    }

    #[test]
    fn some_of_several_words() {
        let words = |text: &str| {
            let mut query = Query::of(&uri(text), &["topics"]);
            let words = query.words("topics", &["a", "b"]);
            query.done().map(|()| words).map_err(|p| {
                let body = serde_json::to_value(p.body("/", "id")).expect("JSON");
                body["detail"].as_str().unwrap_or_default().to_owned()
            })
        };
        assert_eq!(words(""), Ok(None));
        assert_eq!(words("topics=b,a,b"), Ok(Some(vec!["b", "a"])));
        for (bad, named) in [("topics=", "\"\""), ("topics=a,c,d", "\"c\""), ("topics=a,", "\"\"")]
        {
            let why = words(bad).expect_err(bad);
            assert!(why.contains(named) && why.contains("there are: a, b"), "{bad}: {why}");
        }
    }

    #[test]
    fn pages() {
        let size = |q: &str| PageQuery::of_names(&uri(q)).map(|(n, _)| n).map_err(|_| ());
        assert_eq!(size(""), Ok(100));
        assert_eq!(size("page_size=7"), Ok(7));
        assert_eq!(size("page_size=99999"), Ok(1000));
        for bad in ["page_size=0", "page_size=-1", "page_size=x", "page_token=Not%20a%20name"] {
            assert_eq!(size(bad), Err(()), "{bad}");
        }
        let before = |q: &str| PageQuery::of_revisions(&uri(q)).map(|(_, t)| t).map_err(|_| ());
        assert_eq!(before("page_token=42"), Ok(Some(42)));
        assert_eq!(before("page_token=asr"), Err(()));
    }
}
