//! The end of a gRPC call, as HTTP and JSON say it: `google.rpc.Status`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Any;
use serde_json::{Map, Value, json};

/// `google.rpc.Status`, of which `grpc-status-details-bin` has one.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The status that the end of a call has. None if it has none, or none that can be read.
#[must_use]
pub fn code(end: &HeaderMap) -> Option<u8> {
    end.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// What the end of a call says in words.
#[must_use]
pub fn message(end: &HeaderMap) -> String {
    end.get("grpc-message").map_or(String::new(), |text| decoded(text.as_bytes()))
}

/// The JSON of a status. Details of types that `pool` does not know are left out.
#[must_use]
pub fn json(code: u8, end: &HeaderMap, pool: &DescriptorPool) -> Value {
    let message = message(end);
    let details: Vec<Value> =
        details(end).iter().filter_map(|detail| detail_json(detail, pool)).collect();
    let mut status = json!({ "code": code, "message": message });
    if !details.is_empty() {
        status["details"] = Value::Array(details);
    }
    status
}

/// The text of `grpc-message`: what is no `%xx` stands for itself, as gRPC wants it.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn details(end: &HeaderMap) -> Vec<Any> {
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = end
        .get("grpc-status-details-bin")
        .and_then(|value| GeneralPurpose::new(&STANDARD, any).decode(value.as_bytes()).ok());
    let status = bytes.and_then(|bytes| Status::decode(&*bytes).ok());
    status.map_or(Vec::new(), |status| status.details)
}

fn detail_json(detail: &Any, pool: &DescriptorPool) -> Option<Value> {
    let (_, name) = detail.type_url.rsplit_once('/')?;
    let kind = pool.get_message_by_name(name)?;
    let message = DynamicMessage::decode(kind, &*detail.value).ok()?;
    let mut object = Map::from_iter([("@type".to_owned(), json!(detail.type_url))]);
    match serde_json::to_value(&message).ok()? {
        Value::Object(fields) if !name.starts_with("google.protobuf.") => object.extend(fields),
        // Types with a JSON of their own have it in a field (ProtoJSON, Any).
        value => drop(object.insert("value".to_owned(), value)),
    }
    Some(Value::Object(object))
}
