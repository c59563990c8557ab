//! PoolConfig.yaml: an engine, a listener and a route for each item of `pool.engine`.

use pigeon_proto::model::Kind;
use serde_json::{Map, Value, json};

use super::form::{EngineItem, Pool, ServerItem};
use super::settings::{self, DAY, Settings};
use super::tenants::Callers;
use crate::commands::import::draft::{Draft, Field};
use crate::commands::import::place::Place;

/// How long a call may wait; rpc-pigeon let it wait without end.
const PATIENCE: &str = "30s";
/// Most calls of a queue.
const LONGEST_QUEUE: u64 = 100_000;

/// What PoolConfig.yaml says.
pub(super) struct Found {
    settings: Settings,
    engines: Vec<(Place, String, EngineItem)>,
}

impl Found {
    /// What the engines are called, in lower case.
    pub(super) fn names(&self) -> Vec<String> {
        self.engines.iter().map(|(_, name, _)| name.to_lowercase()).collect()
    }
}

pub(super) fn parse(draft: &mut Draft, at: &Place, pool: Field) -> Found {
    let there = pool.is_some();
    let pool = pool.map(|value| super::folded(value, str::to_lowercase));
    let pool: Pool = draft.typed(at, pool);
    draft.unknown(at, &pool.other);
    let place = at.key("setting");
    let setting = pool.setting.map(|value| super::folded(value, str::to_uppercase));
    let setting = draft.typed(&place, setting);
    let settings =
        if there { settings::read(draft, &place, &setting) } else { Settings::default() };
    let mut engines: Vec<(Place, String, EngineItem)> = Vec::new();
    for (place, value) in draft.items(&at.key("engine"), pool.engine) {
        let item: EngineItem = draft.typed(&place, Some(value));
        let key = place.key("ENGINE_NAME");
        let name = draft.text(&key, &item.engine_name).unwrap_or_default();
        if name.is_empty() {
            let value = item.engine_name.clone().unwrap_or_default();
            draft.wrong(&key, &value, "write what the engine is called");
        } else if engines.iter().any(|(_, other, _)| other.eq_ignore_ascii_case(&name)) {
            draft.wrong(&key, &name.into(), "another engine has this name; give each its own");
        } else {
            engines.push((place, name, item));
        }
    }
    Found { settings, engines }
}

pub(super) fn import(draft: &mut Draft, found: Found, callers: &Callers) {
    let Found { settings, engines } = found;
    let mut ports: Vec<(u64, String)> = Vec::new();
    for (at, name, item) in engines {
        draft.unknown(&at, &item.other);
        let key = at.key("POOL_ENABLED");
        let enabled = settings::flag(draft, &key, &item.pool_enabled, true);
        if !(enabled && settings.enabled) {
            draft.not_needed(&at, "this engine is switched off (ENABLED or POOL_ENABLED), so nothing is made of its keys");
            continue;
        }
        let engine = draft.names.unique(Kind::Engine, &name);
        draft
            .mapped(&at.key("ENGINE_NAME"), format!("engine/{engine}, its listener and its route"));
        if item.pool_enabled.is_some() {
            draft.mapped(&key, format!("engine/{engine}"));
        }
        let endpoints = endpoints(draft, &at, &item, &settings);
        let pool = pool(draft, &at, &item, &settings, &endpoints);
        // rpc-pigeon connected once a second, and gave an engine up after five more tries.
        let spec = json!({
            "endpoints": endpoints, "pool": pool,
            "health": {"check": "tcp", "interval": "1s", "timeout": "3s", "down": 6},
        });
        draft.add(&at, Kind::Engine, &engine, json!({}), spec);
        let listener = listener(draft, &at, &item, &settings, &name, &mut ports);
        route(draft, &at, &settings, &name, (&engine, &listener), callers);
    }
}

/// The endpoints, each with its slots.
fn endpoints(draft: &mut Draft, at: &Place, item: &EngineItem, settings: &Settings) -> Vec<Value> {
    let key = at.key("ENGINE_SERVER_PORT");
    let port = draft.number(&key, &item.engine_server_port, 1..=65_535);
    match (&item.engine_server_port, port) {
        (Some(_), Some(port)) => draft.mapped(&key, format!("endpoints[].address, port {port}")),
        (None, _) => draft.wrong(&key, &Value::Null, "write the port of the engine's servers"),
        _ => {}
    }
    let key = at.key("ENGINE_LIST");
    let servers = draft.items(&key, item.engine_list.clone());
    if servers.is_empty() && settings.discovered {
        draft.not_supported(&key, "is empty, and Pigeon does not look for engines in Kubernetes yet: the engine has no endpoints; add them and set pool.mode and pool.slots");
    } else if servers.is_empty() {
        draft.wrong(&key, &json!([]), "write at least one server");
    }
    let mut seen: Vec<String> = Vec::new();
    let mut endpoints = Vec::new();
    for (place, value) in servers {
        let server: ServerItem = draft.typed(&place, Some(value));
        draft.unknown(&place, &server.other);
        let host_key = place.key("SERVER_HOST");
        let host = draft.text(&host_key, &server.server_host).unwrap_or_default();
        let v6 = host.contains(':') && !host.starts_with('[');
        let host = if v6 { format!("[{host}]") } else { host };
        let address = format!("{host}:{}", port.unwrap_or(1)).to_lowercase();
        if address.parse::<pigeon_proto::model::Address>().is_err() {
            draft.wrong(
                &host_key,
                &host.into(),
                "it must be a host name or IP address, without port",
            );
            continue;
        }
        if seen.contains(&address) {
            let why = "it is there twice; keep one, with the sum of ENGINE_GRPC_POOL_SIZE";
            draft.wrong(&host_key, &host.into(), why);
            continue;
        }
        draft.mapped(&host_key, format!("endpoints[{}].address: {address}", endpoints.len()));
        if let Some(slots) = slots(draft, &place, &server, settings.nodes) {
            endpoints.push(json!({ "address": address, "slots": slots }));
        }
        seen.push(address);
    }
    endpoints
}

/// The slots of an endpoint at each proxy.
fn slots(draft: &mut Draft, at: &Place, server: &ServerItem, nodes: u64) -> Option<u64> {
    let key = at.key("ENGINE_GRPC_POOL_SIZE");
    let Some(value) = &server.engine_grpc_pool_size else {
        draft.wrong(&key, &Value::Null, "write how many calls the server takes at once");
        return None;
    };
    let size = draft.number(&key, &server.engine_grpc_pool_size, 1..=100_000)?;
    let slots = size / nodes;
    if slots == 0 {
        let why =
            format!("{nodes} gateways (CLUSTER_NODE_NUM) cannot share it; write at least {nodes}");
        draft.wrong(&key, value, &why);
        return None;
    }
    let divided = if nodes > 1 { format!(" ({size} over {nodes} proxies)") } else { String::new() };
    draft.mapped(&key, format!("endpoints[].slots: {slots}{divided}"));
    Some(slots)
}

fn pool(
    draft: &mut Draft,
    at: &Place,
    item: &EngineItem,
    settings: &Settings,
    endpoints: &[Value],
) -> Map<String, Value> {
    let mut pool = settings.pool.clone();
    let key = at.key("POOL_MODEL");
    let model = draft.number(&key, &item.pool_model, 0..=1);
    let mode = if model == Some(1) { "loose" } else { "strict" };
    let all: Vec<u64> = endpoints.iter().filter_map(|e| e["slots"].as_u64()).collect();
    if let Some(first) = all.first() {
        let queue = all.iter().sum::<u64>().min(LONGEST_QUEUE);
        pool.insert("mode".into(), mode.into());
        pool.insert("slots".into(), (*first).into());
        pool.insert("queue".into(), queue.into());
        pool.insert("queue_timeout".into(), PATIENCE.into());
        let waiting = format!(
            "pool.mode: {mode}; {queue} calls may wait for {PATIENCE} (pool.queue, pool.queue_timeout), where rpc-pigeon let any number wait without end"
        );
        draft.mapped(&key, waiting);
    } else if model.is_some() {
        draft.not_supported(&key, "pool.mode needs endpoints with slots; set both");
    }
    let key = at.key("GRPC_REQUEST_REUSABLE");
    if let Some(reusable) = draft.flag(&key, &item.grpc_request_reusable) {
        let (reuse, more) = if reusable {
            (
                "multiplex",
                "; write exclusive where an engine needs a connection for each call, as rpc-pigeon made them",
            )
        } else {
            ("exclusive", "")
        };
        draft.mapped(&key, format!("pool.reuse: {reuse}{more}"));
        pool.insert("reuse".into(), reuse.into());
    }
    for (key, field, to, none) in [
        ("REQUEST_IDLE_TIME", &item.request_idle_time, "idle_timeout", false),
        ("REQUEST_MAX_LIFE", &item.request_max_life, "max_lifetime", true),
        ("REQUEST_TIMEOUT", &item.request_timeout, "drain_timeout", true),
    ] {
        let place = at.key(key);
        match draft.number(&place, field, 0..=DAY) {
            Some(0) if none => draft.mapped(&place, format!("no pool.{to}")),
            Some(seconds) => {
                draft.mapped(&place, format!("pool.{to}: {seconds}s"));
                pool.insert(to.into(), format!("{seconds}s").into());
            }
            None => {}
        }
    }
    if item.engine_pool_init_interval_time.is_some() {
        let why = "nothing is read again and again: endpoints are those of the document, and health checks say which are there";
        draft.not_needed(&at.key("ENGINE_POOL_INIT_INTERVAL_TIME"), why);
    }
    pool
}

fn listener(
    draft: &mut Draft,
    at: &Place,
    item: &EngineItem,
    settings: &Settings,
    engine: &str,
    ports: &mut Vec<(u64, String)>,
) -> String {
    let key = at.key("GATEWAY_PROXY_PORT");
    let name = draft.names.unique(Kind::Listener, engine);
    let port = draft.number(&key, &item.gateway_proxy_port, 1..=65_535);
    let (Some(port), Some(address)) = (port, settings.address) else {
        if item.gateway_proxy_port.is_none() {
            draft.wrong(&key, &Value::Null, "write the port that callers of this engine use");
        }
        return name;
    };
    if let Some((_, other)) = ports.iter().find(|(taken, _)| *taken == port) {
        let why = format!(
            "engine {other} has this port; rpc-pigeon told engines apart by their ports alone: write another"
        );
        draft.wrong(&key, &port.into(), &why);
        return name;
    }
    ports.push((port, engine.to_owned()));
    let address = std::net::SocketAddr::new(address, u16::try_from(port).unwrap_or_default());
    draft.mapped(&key, format!("listener/{name} address: {address}"));
    draft.add(at, Kind::Listener, &name, json!({}), json!({ "address": address.to_string() }));
    name
}

/// The route: rpc-pigeon tells engines apart by the port that a call comes in on.
fn route(
    draft: &mut Draft,
    at: &Place,
    settings: &Settings,
    name: &str,
    (engine, listener): (&str, &str),
    callers: &Callers,
) {
    let mut matches = json!({ "listener": listener });
    if let Some(host) = &settings.host {
        matches["host"] = host.as_str().into();
    }
    let mut spec = json!({ "match": matches, "engine": engine });
    if settings.keys {
        let tenants = callers.of(name);
        if tenants.is_empty() && !callers.is_empty() {
            let why = "calls need a token, and TenantConfig.yaml has no tenant of this engine: all other tenants could call it; add one, or switch the engine off";
            draft.wrong(&at.key("ENGINE_NAME"), &name.into(), why);
        } else if tenants.is_empty() {
            let why = "calls need a key, and there are no tenants yet: nobody can call; pigeon-ctl tenant add, tenant key create";
            draft.not_supported(at, why);
        }
        spec["auth"] = json!({ "methods": ["api_key"], "tenants": tenants });
    }
    let route = draft.names.unique(Kind::Route, name);
    draft.add(at, Kind::Route, &route, json!({}), spec);
}
