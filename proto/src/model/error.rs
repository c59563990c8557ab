//! Errors about fields: all of them, each with its place, the value, and what to write instead.

use std::fmt::{self, Write as _};
use std::ops::{ControlFlow, RangeInclusive};

use deserr::{
    DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef,
};
use serde::{Deserialize, Serialize};

use super::code;

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The object the field belongs to, as `kind/name`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// JSON pointer (RFC 6901) of the field inside the object, such as `/spec/pool/slots`.
    pub pointer: String,
    /// Stable code, such as `PGN-V101`; see docs/errors.md.
    pub code: String,
    /// What is wrong, with the value, and what to write instead.
    pub message: String,
    /// Another object that is part of the problem, as `kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<String>,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            object: None,
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
            related: None,
        }
    }

    /// Names the object the field belongs to.
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// Names another object that is part of the problem.
    pub fn related_to(mut self, object: impl fmt::Display) -> Self {
        self.related = Some(object.to_string());
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object} ")?;
        }
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Every error found; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// `Err(self)` if there is any error.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Adds one error.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// Takes the value out of a result, or keeps its errors and goes on.
    pub fn keep<T>(&mut self, result: Result<T, Errors>) -> Option<T> {
        result.map_err(|e| self.0.extend(e.0)).ok()
    }

    /// The same errors, with `prefix` before every pointer.
    pub fn under(mut self, prefix: &str) -> Self {
        for e in &mut self.0 {
            e.pointer.insert_str(0, prefix);
        }
        self
    }

    /// The same errors, said of `object`.
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        for e in &mut self.0 {
            e.object = Some(object.to_string());
        }
        self
    }
}

impl From<FieldError> for Errors {
    fn from(e: FieldError) -> Self {
        Self(vec![e])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{e}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Why a piece of text is not a value: the message names the text and says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub String);

/// Fields of one object that contradict each other, at a pointer inside it.
#[derive(Clone, Debug)]
pub struct Contradiction(pub &'static str, pub &'static str, pub String);

/// Refuses a number outside of `range`.
pub(super) fn in_range(
    field: &'static str,
    value: u32,
    range: RangeInclusive<u32>,
) -> Result<(), Contradiction> {
    if range.contains(&value) {
        return Ok(());
    }
    let message = match (*range.start(), *range.end()) {
        (0, end) => format!("is {value}; it must be at most {end}"),
        (start, end) => format!("is {value}; it must be from {start} to {end}"),
    };
    Err(Contradiction(field, code::BAD_VALUE, message))
}

impl DeserializeError for Errors {
    fn error<V: IntoValue>(
        self_: Option<Self>,
        error: ErrorKind<V>,
        location: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.push(describe(error, &pointer(location)));
        ControlFlow::Continue(all)
    }
}

impl MergeWithError<Errors> for Errors {
    fn merge(self_: Option<Self>, other: Errors, _: ValuePointerRef) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.0.extend(other.0);
        ControlFlow::Continue(all)
    }
}

impl MergeWithError<BadValue> for Errors {
    fn merge(
        self_: Option<Self>,
        other: BadValue,
        location: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.push(FieldError::new(pointer(location), code::BAD_VALUE, other.0));
        ControlFlow::Continue(all)
    }
}

impl MergeWithError<Contradiction> for Errors {
    fn merge(
        self_: Option<Self>,
        Contradiction(field, code, message): Contradiction,
        location: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.push(FieldError::new(pointer(location) + field, code, message));
        ControlFlow::Continue(all)
    }
}

fn describe<V: IntoValue>(error: ErrorKind<V>, at: &str) -> FieldError {
    match error {
        ErrorKind::IncorrectValueKind { actual, accepted } => {
            let accepted: Vec<_> = accepted.iter().map(|k| kind_word(*k)).collect();
            let message = format!("is {}; it must be {}", shown(&actual), accepted.join(" or "));
            FieldError::new(at, code::WRONG_TYPE, message)
        }
        ErrorKind::MissingField { field } => FieldError::new(
            join(at, field),
            code::MISSING_FIELD,
            format!("\"{field}\" is missing; set it"),
        ),
        ErrorKind::UnknownKey { key, accepted } => {
            FieldError::new(join(at, key), code::UNKNOWN_FIELD, unknown_field(key, accepted))
        }
        ErrorKind::UnknownValue { value, accepted } => FieldError::new(
            at,
            code::UNKNOWN_VALUE,
            format!("\"{value}\" is not known; use one of: {}", accepted.join(", ")),
        ),
        ErrorKind::BadSequenceLen { expected, .. } => {
            FieldError::new(at, code::BAD_VALUE, format!("the list must have {expected} entries"))
        }
        ErrorKind::Unexpected { msg } => FieldError::new(at, code::BAD_VALUE, msg),
    }
}

/// The message for a field that does not exist, with the nearest one that does.
pub(super) fn unknown_field(key: &str, accepted: &[&str]) -> String {
    let near = accepted.iter().map(|a| (distance(key, a), a)).min();
    match near {
        Some((d, a)) if d <= 2 => format!("there is no field \"{key}\"; did you mean \"{a}\"?"),
        _ => format!("there is no field \"{key}\"; the fields are: {}", accepted.join(", ")),
    }
}

/// Edit distance (Levenshtein), for "did you mean".
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = usize::from(ca != *cb);
            let next = (diagonal + cost).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

fn shown<V: IntoValue>(value: &Value<V>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Boolean(b) => format!("the boolean {b}"),
        Value::Integer(n) => format!("the number {n}"),
        Value::NegativeInteger(n) => format!("the negative number {n}"),
        Value::Float(n) => format!("the fraction {n}"),
        Value::String(s) => format!("the text \"{s}\""),
        Value::Sequence(_) => "a list".into(),
        Value::Map(_) => "an object".into(),
    }
}

fn kind_word(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer => "a whole number, 0 or more",
        ValueKind::NegativeInteger => "a negative number",
        ValueKind::Float => "a fraction",
        ValueKind::String => "text",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "an object",
    }
}

fn join(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// RFC 6901 form of a location.
fn pointer(location: ValuePointerRef) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => join(&pointer(*prev), key),
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}
