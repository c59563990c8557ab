//! Bodies of requests: their size, their media type, their JSON.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pigeon_proto::model::{Errors, FieldError, code as model_code};
use serde_json::Value;

use super::code;
use super::error::Problem;

/// The largest body of a call about one object, in bytes.
pub const LIMIT: usize = 8 << 20;
/// The largest body of `/v1/apply`, in bytes.
pub const APPLY_LIMIT: usize = 32 << 20;
/// How much of a body that is too large is read and thrown away, so that the client, still sending, gets
/// the answer instead of a reset connection.
const DRAIN: usize = 64 << 20;

/// JSON.
pub const JSON: &str = "application/json";
/// JSON merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// YAML (RFC 9512).
pub const YAML: &str = "application/yaml";

/// The media type of a body, lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}

/// Refuses a body that is not of one of the types `taken`, or is compressed.
///
/// # Errors
/// 415.
pub fn require(headers: &HeaderMap, taken: &[&str]) -> Result<(), Problem> {
    let given = media_type(headers);
    if !given.as_deref().is_some_and(|g| taken.contains(&g)) {
        return Err(Problem::media_type(given.as_deref(), taken));
    }
    match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"identity") => Ok(()),
        Some(_) => {
            let detail = "the body has a Content-Encoding; send it as it is";
            let title = "This media type is not taken here";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Problem::new(status, "media-type", title, code::MEDIA_TYPE, detail))
        }
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 if it is larger, 400 if it breaks off.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    // A client that asks first has not begun to send, and need not.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if declared.is_some_and(|n| n > limit) {
        if !asks_first {
            drain(&mut body).await;
        }
        return Err(Problem::too_large(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            drain(&mut body).await;
            Err(Problem::too_large(limit))
        }
        Err(_) => Err(Problem::malformed("the body broke off before its end; send it again")),
    }
}

async fn drain(body: &mut Body) {
    let mut left = DRAIN;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Reads a JSON body of one of the types `taken`.
///
/// # Errors
/// 413, 415, or 400 with line and column where it is not JSON.
pub async fn json(request: Request, taken: &[&str]) -> Result<Value, Problem> {
    require(request.headers(), taken)?;
    let bytes = read(request, LIMIT).await?;
    parse_json(&bytes)
}

/// Parses JSON.
///
/// # Errors
/// 400 with line and column.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|e| {
        let message = match bytes {
            [] => "the body is empty; JSON is expected".to_owned(),
            _ => format!("not JSON: {e}"),
        };
        Errors::from(FieldError::new("", model_code::MALFORMED, message)).into()
    })
}
