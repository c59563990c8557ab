//! JSON calls of engines that speak gRPC: such a request is read whole and becomes a gRPC call, and what the engine
//! answers becomes JSON: one document of a unary call, a line for each message of a stream.

mod answer;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use prost_reflect::MessageDescriptor;
use prost_reflect::prost::Message as _;

pub(super) use self::answer::Translator;
use super::call::Call;
use super::caller::CallerBody;
use super::head::GRPC_TIMEOUT;
use crate::engine::Engine;
use crate::grpc::timeout;
use crate::reflection::Described;
use crate::reject::Rejection;
use crate::table::RouteEntry;
use crate::transcode::frames::frame;
use crate::transcode::message::read;
use crate::transcode::rules::Rule;

/// Longest body and message, either way, of an engine without `pool.max_message_bytes`: what gRPC's own clients
/// take unless they are told otherwise.
const LONGEST: u32 = 4 << 20;

/// What the answer of a JSON call is translated by.
pub(super) struct Json {
    described: Arc<Described>,
    message: MessageDescriptor,
    /// The field that is the answer, if it is not all of it.
    part: Option<String>,
    streams: bool,
    longest: u32,
    route: Arc<RouteEntry>,
    engine: Arc<Engine>,
}

impl Call<'_> {
    /// Makes a JSON call a gRPC call: of its method, with its message.
    pub(super) async fn translate(
        &mut self,
        (route, engine): &(Arc<RouteEntry>, Arc<Engine>),
        parts: &mut request::Parts,
        body: &mut Option<CallerBody>,
    ) -> Result<(), Rejection> {
        self.keep_time(parts)?;
        let descriptions = self.client.gateway.descriptions();
        let mut described = self.in_time(descriptions.of(engine)).await??;
        if described.rules.find(&parts.method, parts.uri.path()).is_err() {
            let newer = self.in_time(descriptions.newer(engine, &described)).await?;
            described = newer.unwrap_or(described);
        }
        let found = described.rules.find(&parts.method, parts.uri.path());
        let (rule, captures) = found.map_err(|others| match others.is_empty() {
            true => Rejection::NoMethod,
            false => Rejection::MethodNotAllowed { allow: others.join(", ") },
        })?;
        if rule.method.is_client_streaming() {
            let why = "the method takes a stream of messages, which JSON calls cannot send; call it by gRPC";
            return Err(Rejection::Untranslatable { status: 501, why: why.into() });
        }
        is_json(&parts.headers, body.as_ref())?;
        let longest = engine.settings().pool.max_message_bytes.unwrap_or(LONGEST);
        let most = route.filters.max_body.unwrap_or(longest.into()).min(longest.into());
        let text = match body.take() {
            Some(body) => self.in_time(whole(body, most)).await??,
            None => Bytes::new(),
        };
        let query = parts.uri.query().unwrap_or_default();
        let message = read(&rule.method.input(), (&rule.body, &text), &captures, query);
        let message = message.map_err(|fault| bad(fault.to_string()))?.encode_to_vec();
        let framed = frame(&message).filter(|_| message.len() <= longest as usize);
        let framed = framed.ok_or(Rejection::MessageTooLarge { limit: longest })?;
        *body =
            Some(CallerBody::Boxed(Box::pin(Full::new(framed).map_err(|never| match never {}))));
        become_grpc(parts, rule)?;
        self.head.grpc = true;
        self.max_message = Some(longest);
        self.json = Some(Arc::new(Json {
            message: rule.method.output(),
            part: rule.response_body.clone(),
            streams: rule.method.is_server_streaming(),
            described: Arc::clone(&described),
            longest,
            route: Arc::clone(route),
            engine: Arc::clone(engine),
        }));
        Ok(())
    }

    /// JSON calls may say how much time they have as gRPC calls do.
    fn keep_time(&mut self, parts: &request::Parts) -> Result<(), Rejection> {
        let Some(value) = parts.headers.get(GRPC_TIMEOUT) else { return Ok(()) };
        let why = "grpc-timeout is malformed";
        let limit = timeout::parse(value.as_bytes()).ok_or(Rejection::BadRequest { why })?;
        let until = self.record.started().checked_add(limit);
        self.deadline = self.deadline.into_iter().chain(until).min();
        Ok(())
    }
}

fn bad(why: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::Untranslatable { status: 400, why: why.into() }
}

/// Whether the body is said to be JSON, if there is one.
fn is_json(headers: &HeaderMap, body: Option<&CallerBody>) -> Result<(), Rejection> {
    if body.is_none_or(CallerBody::is_end_stream) {
        return Ok(());
    }
    let unsupported =
        |why: &'static str| Err(Rejection::Untranslatable { status: 415, why: why.into() });
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return unsupported("the body is compressed; send it as it is");
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return unsupported(
            "the body of a call is JSON; send it with content-type: application/json",
        );
    }
    Ok(())
}

/// Reads a body of at most so many bytes.
async fn whole(body: CallerBody, most: u64) -> Result<Bytes, Rejection> {
    let too_long = Rejection::BodyTooLarge { limit: most };
    if body.size_hint().lower() > most {
        return Err(too_long);
    }
    match Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long),
        Err(_) => Err(Rejection::BadRequest { why: "the body of the request broke off" }),
    }
}

/// Turns the head of a JSON call into that of the gRPC call it means.
fn become_grpc(parts: &mut request::Parts, rule: &Rule) -> Result<(), Rejection> {
    let path = format!("/{}/{}", rule.method.parent_service().full_name(), rule.method.name());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| Rejection::NotDescribed)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| Rejection::NotDescribed)?;
    parts.method = Method::POST;
    let headers = &mut parts.headers;
    let of_grpc: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("grpc-")).cloned().collect();
    let of_json = [ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH];
    for name in of_grpc.into_iter().chain(of_json) {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(())
}
