//! The call that a route test asks about, read from JSON with every error at once.

use std::fmt;

use pigeon_proto::model::{
    Errors, FieldError, GrpcTarget, HostPattern, HttpMethod, Name, code as model_code,
};
use serde_json::{Map, Value};

use crate::api::error::clip;

const FIELDS: [&str; 5] = ["listener", "host", "grpc", "path", "method"];
/// The longest path that is looked at, in bytes.
const LONGEST_PATH: usize = 8_192;

/// A call that might come in.
#[derive(Clone, Debug)]
pub struct Call {
    /// The listener it comes in on, if that is known.
    pub listener: Option<Name>,
    /// The host it is for, lower case, without port, if that is known.
    pub host: Option<String>,
    /// What it asks for.
    pub target: Target,
}

/// What a call asks for.
#[derive(Clone, Debug)]
pub enum Target {
    /// A gRPC call of this method.
    Grpc(GrpcTarget),
    /// Any other call.
    Http {
        /// Without query.
        path: String,
        /// The HTTP method.
        method: HttpMethod,
    },
}

impl Call {
    /// Reads it.
    ///
    /// # Errors
    /// All of them, each with the path of its field.
    pub fn from_json(value: Value) -> Result<Self, Errors> {
        let Value::Object(map) = value else {
            let message = "must be an object with grpc or path, such as {\"path\": \"/users\"}";
            return Err(FieldError::new("", model_code::WRONG_TYPE, message).into());
        };
        let mut errors = Errors::default();
        for field in map.keys().filter(|k| !FIELDS.contains(&k.as_str())) {
            let field = clip(field);
            let message =
                format!("there is no field \"{field}\"; the fields are: {}", FIELDS.join(", "));
            errors.push(FieldError::new(format!("/{field}"), model_code::UNKNOWN_FIELD, message));
        }
        let listener = field(&map, "listener", &mut errors, |s| s.parse::<Name>().map_err(|e| e.0));
        let host = field(&map, "host", &mut errors, host);
        let grpc = field(&map, "grpc", &mut errors, grpc);
        let path = field(&map, "path", &mut errors, path);
        let method = field(&map, "method", &mut errors, |s| s.parse().map_err(bad));
        let has = |name: &str| map.get(name).is_some_and(|v| !v.is_null());
        for other in ["path", "method"].into_iter().filter(|f| has("grpc") && has(f)) {
            let message = "excludes grpc (every gRPC call is a POST to its own path); keep one";
            errors.push(FieldError::new(
                format!("/{other}"),
                model_code::CONFLICTING_FIELDS,
                message,
            ));
        }
        if !has("grpc") && !has("path") {
            let message = "\"path\" is missing; set it, or set \"grpc\"";
            errors.push(FieldError::new("/path", model_code::MISSING_FIELD, message));
        }
        let method = method.or_else(|| "GET".parse().ok());
        let target = match (grpc, path, method) {
            (Some(grpc), _, _) => Some(Target::Grpc(grpc)),
            (None, Some(path), Some(method)) => Some(Target::Http { path, method }),
            _ => None,
        };
        match target {
            Some(target) if errors.0.is_empty() => Ok(Self { listener, host, target }),
            _ => Err(errors),
        }
    }

    /// Its path.
    pub fn path(&self) -> String {
        match &self.target {
            Target::Grpc(t) => format!("/{t}"),
            Target::Http { path, .. } => path.clone(),
        }
    }

    /// Its HTTP method.
    pub fn method(&self) -> &str {
        match &self.target {
            Target::Grpc(_) => "POST",
            Target::Http { method, .. } => method.as_str(),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Grpc(t) => write!(f, "gRPC {t}")?,
            Target::Http { path, method } => write!(f, "{method} {}", clip(path))?,
        }
        if let Some(host) = &self.host {
            write!(f, " for host {host}")?;
        }
        match &self.listener {
            Some(listener) => write!(f, " on listener {listener}"),
            None => Ok(()),
        }
    }
}

fn field<T>(
    map: &Map<String, Value>,
    name: &str,
    errors: &mut Errors,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let error = match map.get(name) {
        None | Some(Value::Null) => return None,
        Some(Value::String(text)) => match parse(text) {
            Ok(value) => return Some(value),
            Err(message) => FieldError::new(format!("/{name}"), model_code::BAD_VALUE, message),
        },
        Some(_) => FieldError::new(format!("/{name}"), model_code::WRONG_TYPE, "must be text"),
    };
    errors.push(error);
    None
}

fn bad(e: impl fmt::Display) -> String {
    e.to_string()
}

/// A host as a client sends it: in any case, perhaps with a port.
fn host(text: &str) -> Result<String, String> {
    let bare = match text.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() =>
        {
            host
        }
        _ => text,
    };
    match bare.parse() {
        Ok(HostPattern::Exact(host)) => Ok(host),
        Ok(HostPattern::Suffix(_)) => Err(format!(
            "\"{}\" is a pattern; a call is for one host, like asr.example.com",
            clip(text)
        )),
        Err(e) => Err(bad(e)),
    }
}

fn grpc(text: &str) -> Result<GrpcTarget, String> {
    let target: GrpcTarget = text.parse().map_err(bad)?;
    if target.method.is_none() {
        return Err(format!(
            "\"{target}\" is a service; a call is for one method, like {target}/Get"
        ));
    }
    Ok(target)
}

/// A path as a client sends it, without its query.
fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("\"{}\" is not a path; it must begin with /, like /users", clip(text)));
    }
    if text.len() > LONGEST_PATH {
        return Err(format!("is longer than {LONGEST_PATH} bytes"));
    }
    Ok(text.split(['?', '#']).next().unwrap_or(text).to_owned())
}
