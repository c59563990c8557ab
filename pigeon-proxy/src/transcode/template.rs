//! Path templates of `google.api.http`: `/v1/{name=shelves/*}/books/{book}:lend` (grammar in google/api/http.proto).

use std::fmt;

use super::percent_decoded;

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    variables: Vec<Variable>,
    verb: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `*`: one segment.
    One,
    /// `**`: all that is left, which may be nothing.
    Rest,
}

/// A field of the request that takes what some parts of the path say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    field: String,
    from: usize,
    to: usize,
}

/// The fields that a path sets, and what they become.
pub type Captures = Vec<(String, String)>;

/// A template is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

impl Template {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let rest = text.strip_prefix('/').ok_or(Malformed("a template begins with /"))?;
        let mut template = Self { parts: Vec::new(), variables: Vec::new(), verb: None };
        let rest = template.segments(rest, false)?;
        template.verb = match rest.strip_prefix(':') {
            Some(verb) if is_literal(verb) => Some(verb.to_owned()),
            Some(_) => return Err(Malformed("the verb is empty or has a /")),
            None if rest.is_empty() => None,
            None => return Err(Malformed("something follows the last segment")),
        };
        let rest = template.parts.iter().position(|part| *part == Part::Rest);
        if rest.is_some_and(|at| at + 1 < template.parts.len()) {
            return Err(Malformed("something follows **"));
        }
        Ok(template)
    }

    /// Reads segments, and gives what follows them.
    fn segments<'t>(&mut self, mut rest: &'t str, inside: bool) -> Result<&'t str, Malformed> {
        loop {
            rest = match rest.strip_prefix('{') {
                Some(_) if inside => return Err(Malformed("a variable is inside another")),
                Some(variable) => self.variable(variable)?,
                None => self.segment(rest)?,
            };
            match rest.strip_prefix('/') {
                Some(next) => rest = next,
                None => return Ok(rest),
            }
        }
    }

    fn segment<'t>(&mut self, rest: &'t str) -> Result<&'t str, Malformed> {
        let end = rest.find(['/', ':', '{', '}', '=']).unwrap_or(rest.len());
        let (segment, rest) = rest.split_at(end);
        self.parts.push(match segment {
            "" => return Err(Malformed("a segment is empty")),
            "*" => Part::One,
            "**" => Part::Rest,
            literal if literal.contains('*') => {
                return Err(Malformed("a * is only part of a segment"));
            }
            literal => Part::Literal(
                percent_decoded(literal, |_| false).ok_or(Malformed("a %xx is malformed"))?,
            ),
        });
        Ok(rest)
    }

    /// Reads a variable whose `{` is read.
    fn variable<'t>(&mut self, text: &'t str) -> Result<&'t str, Malformed> {
        let end = text.find(['=', '}']).ok_or(Malformed("a variable has no }"))?;
        let (field, rest) = text.split_at(end);
        let named = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !field.split('.').all(named) {
            return Err(Malformed("the name of a variable is no field"));
        }
        let from = self.parts.len();
        let rest = match rest.strip_prefix('=') {
            Some(segments) => self.segments(segments, true)?,
            None => {
                self.parts.push(Part::One);
                rest
            }
        };
        let to = self.parts.len();
        self.variables.push(Variable { field: field.to_owned(), from, to });
        rest.strip_prefix('}').ok_or(Malformed("a variable has no }"))
    }

    /// The names of the fields that a path sets.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// What a path (without its query) sets, if it is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let path = path.strip_prefix('/')?;
        let path = match &self.verb {
            Some(verb) => path.strip_suffix(verb.as_str())?.strip_suffix(':')?,
            None => path,
        };
        let segments: Vec<&str> =
            if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let open = self.parts.last() == Some(&Part::Rest);
        let fixed = self.parts.len() - usize::from(open);
        let long_enough = if open { segments.len() >= fixed } else { segments.len() == fixed };
        if !long_enough {
            return None;
        }
        for (part, segment) in self.parts.iter().zip(&segments) {
            let fits = match part {
                Part::Literal(literal) => {
                    percent_decoded(segment, |_| false).is_some_and(|text| text == *literal)
                }
                Part::One => !segment.is_empty(),
                Part::Rest => true,
            };
            if !fits {
                return None;
            }
        }
        self.variables.iter().map(|variable| self.capture(variable, &segments)).collect()
    }

    fn capture(&self, variable: &Variable, segments: &[&str]) -> Option<(String, String)> {
        let parts = self.parts.get(variable.from..variable.to)?;
        let open = parts.last() == Some(&Part::Rest);
        let to = if open { segments.len() } else { variable.to };
        let text = segments.get(variable.from..to)?.join("/");
        // Of what may be several segments, %2F stays: it is no border between them.
        let several = open || parts.len() > 1;
        let text = percent_decoded(&text, |byte| several && byte == b'/')?;
        Some((variable.field.clone(), text))
    }

    /// Templates that say more come first when sorted by this: those with a verb, because a `*` takes it as well.
    #[must_use]
    pub fn vagueness(&self) -> (bool, Vec<u8>) {
        let vague = |part: &Part| match part {
            Part::Literal(_) => 0,
            Part::One => 1,
            Part::Rest => 2,
        };
        (self.verb.is_none(), self.parts.iter().map(vague).collect())
    }
}

fn is_literal(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ':', '{', '}', '*'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        Template::parse(template).expect(template).matches(path)
    }

    fn set(pairs: &[(&str, &str)]) -> Option<Captures> {
        Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn paths_set_fields() {
        let name = "/v1/{name=shelves/*/books/*}";
        assert_eq!(captures(name, "/v1/shelves/1/books/2"), set(&[("name", "shelves/1/books/2")]));
        assert_eq!(captures(name, "/v1/shelves/1/books"), None);
        assert_eq!(captures(name, "/v1/shelves/1/books/"), None);
        assert_eq!(captures(name, "/v1/shelves/1/books/2/3"), None);
        let two = "/v1/{a.b}/x/{c}:do";
        assert_eq!(captures(two, "/v1/1/x/2:do"), set(&[("a.b", "1"), ("c", "2")]));
        assert_eq!(captures(two, "/v1/1/x/2"), None);
        let rest = "/v1/files/{path=**}";
        assert_eq!(captures(rest, "/v1/files/a/b%2Fc%20d"), set(&[("path", "a/b%2Fc d")]));
        assert_eq!(captures(rest, "/v1/files"), set(&[("path", "")]));
        assert_eq!(captures("/v1/{id}", "/v1/a%2Fb"), set(&[("id", "a/b")]));
        assert_eq!(captures("/v1/{id}", "/v1/%FF"), None);
        assert_eq!(captures("/v1/*/x", "/v1/any/x"), set(&[]));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1/",
            "/v1//x",
            "/{a",
            "/{a=",
            "/{a=}",
            "/{}",
            "/{1}",
            "/{a..b}",
            "/**/x",
            "/{a=**}/x",
            "/{a={b}}",
            "/x:",
            "/x:y:z",
            "/x:y/z",
            "/a*",
            "/%zz",
            "/a}b",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_says_more_comes_first() {
        let key = |text| Template::parse(text).expect("a template").vagueness();
        assert!(key("/v1/a") < key("/v1/{x}"));
        assert!(key("/v1/{x}:do") < key("/v1/{x}"));
        assert!(key("/v1/{x}") < key("/v1/{x=**}"));
    }

    proptest! {
        #[test]
        fn nothing_panics(template in "[/{}=*:.a%2]{0,16}", path in "[/:a%2Fb]{0,16}") {
            if let Ok(template) = Template::parse(&template) {
                let _ = template.matches(&path);
            }
        }

        #[test]
        fn a_segment_is_captured_whole(text in "[a-z.~_-]{1,12}") {
            prop_assert_eq!(captures("/v1/{id}/x", &format!("/v1/{text}/x")), set(&[("id", &text)]));
        }
    }
}
