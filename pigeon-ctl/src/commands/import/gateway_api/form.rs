//! The form of Gateway API objects. What is in none of the fields is kept, to be named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Fields that are none of those before.
pub(super) type Others = BTreeMap<String, Value>;

/// `metadata`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) creation_timestamp: Option<String>,
}

/// `spec` of a Gateway.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Gateway {
    pub(super) gateway_class_name: Option<String>,
    pub(super) listeners: Vec<Listener>,
    pub(super) addresses: Vec<Value>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of its `listeners`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) hostname: Option<String>,
    pub(super) port: u16,
    pub(super) protocol: String,
    pub(super) tls: Option<Tls>,
    pub(super) allowed_routes: Option<Allowed>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `tls`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Tls {
    pub(super) mode: Option<String>,
    pub(super) certificate_refs: Vec<Reference>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `allowedRoutes`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Allowed {
    pub(super) namespaces: Option<Namespaces>,
    pub(super) kinds: Vec<Reference>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `allowedRoutes.namespaces`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Namespaces {
    pub(super) from: Option<String>,
}

/// Whatever names another object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Reference {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) section_name: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) weight: Option<u64>,
    pub(super) filters: Vec<Value>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `spec` of a GRPCRoute or HTTPRoute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Route {
    pub(super) parent_refs: Vec<Reference>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<Rule>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `rules`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) matches: Vec<Match>,
    pub(super) filters: Vec<Filter>,
    pub(super) backend_refs: Vec<Reference>,
    pub(super) timeouts: Option<Timeouts>,
    pub(super) retry: Option<Retry>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `matches`; `method` is text in an HTTPRoute, and an object in a GRPCRoute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Match {
    pub(super) path: Option<Typed>,
    pub(super) method: Option<Value>,
    pub(super) headers: Vec<Value>,
    pub(super) query_params: Vec<Value>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// A value and how it is meant: of paths and methods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Typed {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) value: Option<String>,
    pub(super) service: Option<String>,
    pub(super) method: Option<String>,
    pub(super) replace_full_path: Option<String>,
    pub(super) replace_prefix_match: Option<String>,
}

/// An item of `filters`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Filter {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) request_header_modifier: Option<HeaderModifier>,
    pub(super) response_header_modifier: Option<HeaderModifier>,
    pub(super) request_redirect: Option<Redirect>,
    pub(super) url_rewrite: Option<Rewrite>,
    pub(super) request_mirror: Option<Mirror>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `requestHeaderModifier`, `responseHeaderModifier`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HeaderModifier {
    pub(super) set: Vec<Header>,
    pub(super) add: Vec<Header>,
    pub(super) remove: Vec<String>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// A header with its value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

/// `requestRedirect`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Redirect {
    pub(super) scheme: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) path: Option<Typed>,
    pub(super) port: Option<u16>,
    pub(super) status_code: Option<u16>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `urlRewrite`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rewrite {
    pub(super) hostname: Option<String>,
    pub(super) path: Option<Typed>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `requestMirror`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Mirror {
    pub(super) backend_ref: Reference,
    pub(super) percent: Option<u64>,
    pub(super) fraction: Option<Fraction>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `fraction`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fraction {
    pub(super) numerator: u64,
    pub(super) denominator: Option<u64>,
}

/// `timeouts`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Timeouts {
    pub(super) request: Option<String>,
    pub(super) backend_request: Option<String>,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `retry`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Retry {
    pub(super) codes: Vec<u16>,
    pub(super) attempts: Option<u32>,
    pub(super) backoff: Option<String>,
    #[serde(flatten)]
    pub(super) other: Others,
}
