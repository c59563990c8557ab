//! Config.yaml and VSConfig.yaml: what programs are told, which is hardly ever part of a document.

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::folded;
use super::settings::DAY;
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// What HTTP routes have of Config.yaml.
#[derive(Default)]
pub(super) struct Served {
    /// Where their calls come in.
    pub(super) listener: Option<String>,
    /// How long they may take.
    pub(super) timeout: Option<String>,
}

pub(super) fn import(draft: &mut Draft, at: &Place, file: Option<Value>, routes: bool) -> Served {
    let mut served = Served::default();
    let Some(file) = file else { return served };
    let map = match folded(file, str::to_uppercase) {
        Value::Object(map) => map,
        Value::Null => return served,
        _ => {
            draft.secret_wrong(at, "must be keys and values");
            return served;
        }
    };
    for (key, value) in map {
        let place = at.key(&key);
        match key.as_str() {
            "HTTP_SERVER_PORT" | "HTTP_TIME_DURATION" if !routes => {
                draft.not_needed(&place, "there are no routes in RouteConfig.yaml; the REST API is pigeon-admin's (--listen)");
            }
            "HTTP_SERVER_PORT" => served.listener = listener(draft, &place, value),
            "HTTP_TIME_DURATION" => {
                if let Some(seconds) = draft.number(&place, &Some(value), 1..=DAY) {
                    draft.mapped(&place, format!("route/* timeout of HTTP routes: {seconds}s"));
                    served.timeout = Some(format!("{seconds}s"));
                }
            }
            _ => told_to_programs(draft, &place, &key, &value),
        }
    }
    served
}

fn listener(draft: &mut Draft, at: &Place, value: Value) -> Option<String> {
    let port = draft.number(at, &Some(value), 1..=65_535)?;
    let name = draft.names.unique(Kind::Listener, "http");
    let clash = if port == 9800 {
        "; pigeon-admin listens on 9800 too unless told otherwise: move one (pigeon-admin --listen)"
    } else {
        ""
    };
    draft.mapped(at, format!("listener/{name} address: [::]:{port}{clash}"));
    draft.add(at, Kind::Listener, &name, json!({}), json!({ "address": format!("[::]:{port}") }));
    Some(name)
}

/// Keys that are for the programs. Their values are not repeated where they may be secret.
fn told_to_programs(draft: &mut Draft, at: &Place, key: &str, value: &Value) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match key {
        "RUN_MODE" | "HTTP_DEBUG_MODE" => {
            draft.not_needed(at, "there is one way to run; PIGEON_LOG says how much is logged");
        }
        "GRPC_PORT" => {
            draft.not_needed(at, "rpc-pigeon does not read it; ports are GATEWAY_PROXY_PORT");
        }
        "PAGE_SIZE" => draft.not_needed(at, "rpc-pigeon does not read it"),
        "LOG_LEVEL" => {
            draft.not_needed(at, format!("a setting of the programs: PIGEON_LOG={text}"));
        }
        "LOG_MAX_AGE" => draft.not_needed(
            at,
            format!("a flag of the proxy: --log-max-age, with --log-file ({text} minutes)"),
        ),
        "LOG_ROTATION_TIME" => draft.not_needed(
            at,
            format!("flags of the proxy: --log-daily or --log-max-size, with --log-file ({text} minutes)"),
        ),
        _ if key.starts_with("DB_") => draft.not_needed(
            at,
            "Pigeon brings its own store (pigeon-admin --data-dir, or --database-url); rpc-pigeon kept no configuration in this one",
        ),
        _ if key.starts_with("CACHE_") => draft.not_needed(at, "nothing is cached elsewhere"),
        _ => draft.unknown_key(at),
    }
}

/// VSConfig.yaml: what engines were deployed with.
pub(super) fn deploying(draft: &mut Draft, at: &Place, value: &Value) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| deploying(draft, &at.key(key), value));
        }
        Value::Null if at.key.is_empty() => {}
        _ => draft.not_supported(at, "Pigeon does not deploy engines to Kubernetes or Docker yet"),
    }
}
