//! Messages from JSON, paths and queries, and back (ProtoJSON; google/api/http.proto says which field comes from where).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    SerializeOptions, Value,
};
use serde::de::IgnoredAny;
use serde_json::Deserializer;
use serde_path_to_error::Track;

use super::percent_decoded;

/// Fields inside fields that a query or a path may name: no message is made that is too deep to be let go of.
const DEPTH: usize = 32;

/// Where a request's body goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is the message (`body: "*"`).
    Whole,
    /// It is this field of it.
    Field(String),
    /// The call has none.
    None,
}

/// What was sent is no message of this type: the place, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// The message that a request means.
pub fn read(
    kind: &MessageDescriptor,
    body: (&Body, &[u8]),
    path: &[(String, String)],
    query: &str,
) -> Result<DynamicMessage, Fault> {
    let mut message = of_body(kind, body)?;
    for (name, value) in pairs(query)? {
        if *body.0 == Body::Whole {
            return Err(Fault(format!(
                "the query names {name:?}, but all of this call's fields come in its body"
            )));
        }
        set(&mut message, &name, &value)
            .map_err(|why| Fault(format!("the query's {name:?}: {why}")))?;
    }
    for (name, value) in path {
        set(&mut message, name, value)
            .map_err(|why| Fault(format!("the path's {name:?}: {why}")))?;
    }
    Ok(message)
}

fn of_body(kind: &MessageDescriptor, (to, json): (&Body, &[u8])) -> Result<DynamicMessage, Fault> {
    let empty = json.trim_ascii().is_empty();
    match to {
        _ if empty => Ok(DynamicMessage::new(kind.clone())),
        Body::Whole => parse(kind, json, 0)
            .map_err(|why| Fault(format!("the body is not {}: {why}", kind.full_name()))),
        Body::Field(name) => {
            let fault =
                |why| Fault(format!("the body is no {name} of {}: {why}", kind.full_name()));
            // Read alone first: it must be one value, and no way out of the object that it is put into.
            serde_json::from_slice::<IgnoredAny>(json).map_err(|error| fault(error.to_string()))?;
            let object = [format!("{{{name:?}:\n").as_bytes(), json, b"}"].concat();
            parse(kind, &object, 1).map_err(fault)
        }
        Body::None if json.trim_ascii() == b"{}" => Ok(DynamicMessage::new(kind.clone())),
        Body::None => {
            Err(Fault("this call takes no body; its fields go into the query".to_owned()))
        }
    }
}

/// Reads a message; says the field and the place if it is none, not counting so many lines before it.
fn parse(kind: &MessageDescriptor, json: &[u8], before: usize) -> Result<DynamicMessage, String> {
    let mut reader = Deserializer::from_slice(json);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let read = DynamicMessage::deserialize(kind.clone(), tracked);
    let error = match read.and_then(|message| reader.end().map(|()| message)) {
        Ok(message) => return Ok(message),
        Err(error) => error,
    };
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    let place = format!("{text}, at line {} column {column}", line.saturating_sub(before));
    let path = track.path();
    Err(if path.iter().len() == 0 { place } else { format!("{path}: {place}") })
}

/// The names and values of a query.
fn pairs(query: &str) -> Result<Vec<(String, String)>, Fault> {
    let decoded = |text: &str| {
        percent_decoded(&text.replace('+', " "), |_| false)
            .ok_or_else(|| Fault(format!("the query's {text:?} is not percent-encoded UTF-8")))
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Sets the field that a path of names leads to.
fn set(message: &mut DynamicMessage, path: &str, text: &str) -> Result<(), String> {
    if path.split('.').count() > DEPTH {
        return Err(format!("more than {DEPTH} fields inside each other"));
    }
    let mut inner = message;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let kind = inner.descriptor();
        let field = field(&kind, name)
            .ok_or_else(|| format!("{} has no field {name:?}", kind.full_name()))?;
        if names.peek().is_none() {
            return set_field(inner, &field, text);
        }
        let inside =
            matches!(field.kind(), Kind::Message(_)) && !field.is_list() && !field.is_map();
        if !inside {
            return Err(format!("{} is not one message", field.full_name()));
        }
        let Value::Message(next) = inner.get_field_mut(&field) else {
            return Err(format!("{} is not one message", field.full_name()));
        };
        inner = next;
    }
    Ok(())
}

fn field(kind: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    kind.get_field_by_name(name).or_else(|| kind.get_field_by_json_name(name))
}

fn set_field(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    text: &str,
) -> Result<(), String> {
    if field.is_map() {
        return Err(format!("{} is a map, which only a body can say", field.full_name()));
    }
    let value = value(&field.kind(), text)?;
    if !field.is_list() {
        message.set_field(field, value);
    } else if let Value::List(list) = message.get_field_mut(field) {
        list.push(value);
    }
    Ok(())
}

/// A value that is written as text.
fn value(kind: &Kind, text: &str) -> Result<Value, String> {
    fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is no {what}"))
    }
    Ok(match kind {
        Kind::Double => Value::F64(parsed(text, "number")?),
        Kind::Float => Value::F32(parsed(text, "number")?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(parsed(text, "32-bit number")?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(parsed(text, "64-bit number")?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(parsed(text, "positive 32-bit number")?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(parsed(text, "positive 64-bit number")?),
        Kind::Bool => Value::Bool(parsed(text, "true or false")?),
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => {
            Value::Bytes(bytes(text).ok_or_else(|| format!("{text:?} is not base64"))?.into())
        }
        Kind::Enum(kind) => {
            let named = kind.get_value_by_name(text).map(|value| value.number());
            let number = named.or_else(|| text.parse().ok());
            Value::EnumNumber(
                number.ok_or_else(|| format!("{} has no {text:?}", kind.full_name()))?,
            )
        }
        Kind::Message(kind) => Value::Message(well_known(kind, text)?),
    })
}

/// Messages that JSON writes as one value: times, durations, masks, and numbers that may be absent.
fn well_known(kind: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    const TEXTS: [&str; 3] = ["Timestamp", "Duration", "FieldMask"];
    let name = kind.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
    if TEXTS.contains(&name) {
        let json = serde_json::Value::String(text.to_owned());
        return DynamicMessage::deserialize(kind.clone(), json)
            .map_err(|error| format!("{text:?} is no {name}: {error}"));
    }
    if !name.ends_with("Value") || matches!(name, "Value" | "ListValue") {
        return Err(format!("{} is a message: name a field of it", kind.full_name()));
    }
    let field = kind.get_field_by_name("value").ok_or_else(|| format!("{name} has no value"))?;
    let mut message = DynamicMessage::new(kind.clone());
    message.set_field(&field, value(&field.kind(), text)?);
    Ok(message)
}

/// Base64 of either alphabet, with padding or without.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, any).decode(text).ok()
}

/// A message as JSON; with `part`, only this field of it.
pub fn write(message: &DynamicMessage, part: Option<&str>) -> Result<Vec<u8>, Fault> {
    let fault = |error: serde_json::Error| {
        Fault(format!("{} cannot be said in JSON: {error}", message.descriptor().full_name()))
    };
    let Some(part) = part else { return serde_json::to_vec(message).map_err(fault) };
    let name = field(&message.descriptor(), part)
        .map_or_else(|| part.to_owned(), |field| field.json_name().to_owned());
    // Fields that are as they always are do not show; the answer itself has to.
    for options in [SerializeOptions::new(), SerializeOptions::new().skip_default_fields(false)] {
        let mut json = message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(fault)?;
        if let Some(value) = json.get_mut(&name) {
            return serde_json::to_vec(&value.take()).map_err(fault);
        }
    }
    Ok(b"null".to_vec())
}
