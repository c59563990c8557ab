//! The form of rpc-pigeon's files. Every value is read later, where its key can be named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::commands::import::draft::Field;

/// Keys that are none of those before.
type Others = BTreeMap<String, Value>;

/// PoolConfig.yaml
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PoolFile {
    pub(super) pool: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `pool`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pool {
    pub(super) setting: Field,
    pub(super) engine: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// `pool.setting`
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Setting {
    pub(super) enabled: Field,
    pub(super) cluster_enabled: Field,
    pub(super) cluster_node_num: Field,
    pub(super) dial_timeout: Field,
    pub(super) backoff_max_delay: Field,
    pub(super) keepalive_time: Field,
    pub(super) keepalive_timeout: Field,
    pub(super) omp_enabled: Field,
    pub(super) tenant_enabled: Field,
    pub(super) network_mode: Field,
    pub(super) gateway_proxy_addr: Field,
    pub(super) engine_service_selector_key: Field,
    pub(super) asr_engine_service_selector_value: Field,
    pub(super) tts_engine_service_selector_value: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `pool.engine`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct EngineItem {
    pub(super) engine_name: Field,
    pub(super) pool_enabled: Field,
    pub(super) gateway_proxy_port: Field,
    pub(super) pool_model: Field,
    pub(super) grpc_request_reusable: Field,
    pub(super) request_idle_time: Field,
    pub(super) request_max_life: Field,
    pub(super) request_timeout: Field,
    pub(super) engine_pool_init_interval_time: Field,
    pub(super) engine_server_port: Field,
    pub(super) engine_list: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `ENGINE_LIST`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct ServerItem {
    pub(super) server_host: Field,
    pub(super) engine_grpc_pool_size: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// RouteConfig.yaml
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RouteFile {
    pub(super) route: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `route`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RouteItem {
    pub(super) path: Field,
    pub(super) method: Field,
    pub(super) to: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// TenantConfig.yaml
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TenantFile {
    pub(super) tenants: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// An item of `tenants`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct TenantItem {
    pub(super) tenant_id: Field,
    pub(super) tenant_name: Field,
    pub(super) engine_name: Field,
    pub(super) engine_pool_size: Field,
    pub(super) scene_code: Field,
    pub(super) token: Field,
    #[serde(flatten)]
    pub(super) other: Others,
}

/// The same map with its keys in one case: rpc-pigeon does not tell them apart, but in items of lists.
pub(super) fn folded(value: Value, fold: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            let folded: Map<String, Value> =
                map.into_iter().map(|(key, value)| (fold(&key), value)).collect();
            Value::Object(folded)
        }
        other => other,
    }
}
