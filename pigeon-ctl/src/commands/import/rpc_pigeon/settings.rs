//! `pool.setting`: what it says for all engines.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::form::Setting;
use crate::commands::import::draft::{Draft, Field};
use crate::commands::import::place::Place;

/// The longest time that is taken, in seconds.
pub(super) const DAY: u64 = 86_400;
/// grpc-go sends PINGs no more often than this, whatever it is told, in seconds.
const LEAST_KEEPALIVE: u64 = 10;

/// What all engines share.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Whether gRPC is served at all.
    pub(super) enabled: bool,
    /// How many gateways share the slots.
    pub(super) nodes: u64,
    /// Fields of each engine's pool.
    pub(super) pool: Map<String, Value>,
    /// Engines were looked for in Kubernetes.
    pub(super) discovered: bool,
    /// Calls need a token.
    pub(super) keys: bool,
    /// The address of the listeners.
    pub(super) address: Option<IpAddr>,
    /// The only host of calls, if they must name one.
    pub(super) host: Option<String>,
}

pub(super) fn read(draft: &mut Draft, at: &Place, s: &Setting) -> Settings {
    draft.unknown(at, &s.other);
    let enabled = flag(draft, &at.key("ENABLED"), &s.enabled, true);
    if s.enabled.is_some() {
        let what = if enabled { "the engines below" } else { "nothing: gRPC is not served" };
        draft.mapped(&at.key("ENABLED"), what);
    }
    let mut settings = Settings { enabled, ..Settings::default() };
    settings.nodes = nodes(draft, at, s);
    settings.pool = connections(draft, at, s);
    settings.discovered = flag(draft, &at.key("OMP_ENABLED"), &s.omp_enabled, false);
    let tenants = flag(draft, &at.key("TENANT_ENABLED"), &s.tenant_enabled, false);
    settings.keys = settings.discovered || tenants;
    let auth = if settings.keys { "route/* auth: api_key" } else { "no auth of routes" };
    for (key, field) in [("OMP_ENABLED", &s.omp_enabled), ("TENANT_ENABLED", &s.tenant_enabled)] {
        if field.is_some() {
            draft.mapped(&at.key(key), auth);
        }
    }
    if settings.discovered {
        let why = "Pigeon does not look for engines in Kubernetes yet: the endpoints are those of ENGINE_LIST, which rpc-pigeon did not read then; and all tenants share an engine's endpoints";
        draft.not_supported(&at.key("OMP_ENABLED"), why);
    }
    selectors(draft, at, s, settings.discovered);
    network(draft, at, s, &mut settings);
    settings
}

/// A flag that has a value also where it is not said.
pub(super) fn flag(draft: &mut Draft, at: &Place, value: &Field, otherwise: bool) -> bool {
    draft.flag(at, value).unwrap_or(otherwise)
}

/// How many gateways share the slots; 1: they are not divided.
fn nodes(draft: &mut Draft, at: &Place, s: &Setting) -> u64 {
    let (enabled, number) = (at.key("CLUSTER_ENABLED"), at.key("CLUSTER_NODE_NUM"));
    let nodes = draft.number(&number, &s.cluster_node_num, 1..=1_000);
    if flag(draft, &enabled, &s.cluster_enabled, false) {
        let to = "engine/* slots: ENGINE_GRPC_POOL_SIZE divided by CLUSTER_NODE_NUM, rounded down; each proxy counts for itself";
        draft.mapped(&enabled, to);
        draft.mapped(&number, "engine/* slots, as the divisor");
        if s.cluster_node_num.is_none() {
            draft.wrong(
                &number,
                &Value::Null,
                "CLUSTER_ENABLED needs it; write how many gateways there are",
            );
        }
        return nodes.unwrap_or(1);
    }
    for (place, field) in [(&enabled, &s.cluster_enabled), (&number, &s.cluster_node_num)] {
        if field.is_some() {
            draft.not_needed(place, "CLUSTER_ENABLED is not true, so slots are not divided");
        }
    }
    1
}

/// What concerns connections.
fn connections(draft: &mut Draft, at: &Place, s: &Setting) -> Map<String, Value> {
    let mut pool = Map::new();
    for (key, field, to) in [
        ("DIAL_TIMEOUT", &s.dial_timeout, "dial_timeout"),
        ("BACKOFF_MAX_DELAY", &s.backoff_max_delay, "dial_backoff_max"),
        ("KEEPALIVE_TIMEOUT", &s.keepalive_timeout, "keepalive_timeout"),
    ] {
        if let Some(seconds) = draft.number(&at.key(key), field, 1..=DAY) {
            draft.mapped(&at.key(key), format!("engine/* pool.{to}: {seconds}s"));
            pool.insert(to.into(), format!("{seconds}s").into());
        }
    }
    let place = at.key("KEEPALIVE_TIME");
    if let Some(seconds) = draft.number(&place, &s.keepalive_time, 0..=DAY) {
        let time = seconds.max(LEAST_KEEPALIVE);
        let why =
            if time == seconds { "" } else { " (rpc-pigeon's gRPC did not send them faster)" };
        draft.mapped(
            &place,
            format!("engine/* pool.keepalive_time: {time}s{why}, with keepalive_without_calls"),
        );
        pool.insert("keepalive_time".into(), format!("{time}s").into());
        pool.insert("keepalive_without_calls".into(), true.into());
    }
    pool
}

fn selectors(draft: &mut Draft, at: &Place, s: &Setting, discovered: bool) {
    for (key, field) in [
        ("ENGINE_SERVICE_SELECTOR_KEY", &s.engine_service_selector_key),
        ("ASR_ENGINE_SERVICE_SELECTOR_VALUE", &s.asr_engine_service_selector_value),
        ("TTS_ENGINE_SERVICE_SELECTOR_VALUE", &s.tts_engine_service_selector_value),
    ] {
        match field {
            None => {}
            Some(_) if discovered => draft.not_supported(
                &at.key(key),
                "Pigeon does not look for engines in Kubernetes yet; name endpoints (pigeon-ctl engine set NAME --static HOST:PORT)",
            ),
            Some(_) => draft.not_needed(&at.key(key), "it is read with OMP_ENABLED only"),
        }
    }
}

fn network(draft: &mut Draft, at: &Place, s: &Setting, settings: &mut Settings) {
    let place = at.key("GATEWAY_PROXY_ADDR");
    let text = draft.text(&place, &s.gateway_proxy_addr).unwrap_or_default();
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let parsed = if inner.is_empty() { "::" } else { inner }.parse::<IpAddr>();
    match (&parsed, &s.gateway_proxy_addr) {
        (Err(_), Some(value)) => {
            draft.wrong(
                &place,
                value,
                "it must be an IP address of the machine, or 0.0.0.0 for all",
            );
        }
        (Ok(address), Some(_)) => draft.mapped(&place, format!("listener/* address: {address}")),
        _ => {}
    }
    settings.address = parsed.ok();
    let place = at.key("NETWORK_MODE");
    match (draft.number(&place, &s.network_mode, 1..=2), settings.address) {
        (Some(1), _) if inner.is_empty() => draft.wrong(
            &place,
            &1.into(),
            "calls must then name GATEWAY_PROXY_ADDR, which is empty; write the address, or NETWORK_MODE 2",
        ),
        (Some(1), Some(address)) => {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            draft.mapped(&place, format!("route/* match.host: {host}"));
            settings.host = Some(host);
        }
        (Some(2), _) => draft.mapped(&place, "routes that match any host on their listener"),
        _ => {}
    }
}
