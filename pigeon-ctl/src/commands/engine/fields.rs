//! From the flags of `engine add` and `engine set` to the fields of an engine.

use serde_json::{Value, json};

use crate::cli::engine::{ConnectionFields, EngineFields, HealthFields};
use crate::cli::tls::EngineTlsFields;
use crate::cli::values::{Limit, StaticEndpoint, word};
use crate::commands::object::Fields;

pub(super) fn of(args: &EngineFields) -> Fields {
    let mut fields = Fields::new(&args.labels);
    let endpoints = args.endpoints.as_ref();
    fields.put("endpoints", endpoints.map(|e| e.iter().map(endpoint).collect::<Vec<_>>()));
    fields.put("pool/mode", args.pool.map(word));
    fields.put("pool/slots", args.slots);
    fields.put("pool/loose_factor", args.loose_factor);
    fields.put("pool/queue", args.queue);
    fields.text("pool/queue_timeout", args.queue_timeout.as_ref());
    if let Some(lb) = &args.lb {
        fields.put("balance", Some(lb.kind));
        if lb.kind != "hash" {
            // Only hash has a key.
            fields.put("hash_key", Some(Value::Null));
        }
        fields.put("hash_key", lb.hash_key.clone());
    }
    fields.text("hash_key", args.hash_key.as_ref());
    fields.text("slow_start", args.slow_start.as_ref());
    fields.put("protocol", args.protocol.map(word));
    connections(&mut fields, &args.connections);
    health(&mut fields, &args.health);
    tls(&mut fields, &args.tls);
    fields
}

fn connections(fields: &mut Fields, args: &ConnectionFields) {
    let limit = |Limit(n): Limit| n.map_or(Value::Null, Value::from);
    fields.put("pool/reuse", args.reuse.map(word));
    fields.put("pool/max_streams_per_connection", args.max_streams);
    fields.put("pool/warm", args.warm);
    fields.put("pool/max_requests", args.max_requests.map(limit));
    fields.put("pool/max_message_bytes", args.max_message_bytes.map(limit));
    fields.put("pool/keepalive_without_calls", args.keepalive_without_calls);
    fields.put("pool/stream_window", args.stream_window);
    fields.put("pool/connection_window", args.connection_window);
    for (field, time) in [
        ("dial_timeout", &args.dial_timeout),
        ("dial_backoff_max", &args.dial_backoff_max),
        ("idle_timeout", &args.idle_timeout),
        ("max_lifetime", &args.max_lifetime),
        ("drain_timeout", &args.drain_timeout),
        ("cancel_cooldown", &args.cancel_cooldown),
        ("keepalive_time", &args.keepalive_time),
        ("keepalive_timeout", &args.keepalive_timeout),
    ] {
        fields.text(&format!("pool/{field}"), time.as_ref());
    }
}

fn health(fields: &mut Fields, args: &HealthFields) {
    fields.text("health/check", args.check.as_ref());
    fields.text("health/interval", args.interval.as_ref());
    fields.text("health/timeout", args.timeout.as_ref());
    fields.put("health/up", args.up);
    fields.put("health/down", args.down);
    fields.put("ejection/failures", args.eject_failures);
    fields.put("ejection/outliers", args.eject_outliers);
    fields.text("ejection/time", args.eject_time.as_ref());
    fields.text("ejection/max_time", args.eject_max_time.as_ref());
    fields.put("ejection/max_ejected", args.eject_max);
}

fn tls(fields: &mut Fields, args: &EngineTlsFields) {
    // What is there of it stays.
    fields.put("tls", args.tls.map(|on| if on { json!({}) } else { Value::Null }));
    fields.text("tls/ca", args.tls_ca.as_ref());
    fields.text("tls/server_name", args.tls_server_name.as_ref());
    fields.text("tls/certificate", args.tls_cert.as_ref());
    fields.text("tls/key", args.tls_key.as_ref());
}

fn endpoint(endpoint: &StaticEndpoint) -> Value {
    match endpoint.slots {
        None => json!({ "address": endpoint.address }),
        Some(slots) => json!({ "address": endpoint.address, "slots": slots }),
    }
}

/// Without slots nothing may speak of slots: whoever turns the pool off need not know where they all are.
pub(super) fn leave_slots(fields: &mut Fields, before: &Value) {
    for field in ["slots", "queue"] {
        if fields.get(&format!("pool/{field}")).is_none() {
            fields.put(&format!("pool/{field}"), Some(Value::Null));
        }
    }
    let endpoints = before.pointer("/spec/endpoints").and_then(Value::as_array);
    if let (None, Some(endpoints)) = (fields.get("endpoints"), endpoints)
        && endpoints.iter().any(|e| e.get("slots").is_some())
    {
        let mut endpoints = endpoints.clone();
        for endpoint in endpoints.iter_mut().filter_map(Value::as_object_mut) {
            endpoint.remove("slots");
        }
        fields.put("endpoints", Some(endpoints));
    }
}

/// An endpoint that stays keeps what `--static` cannot say: who lists the endpoints anew must not put one that
/// is drained back to work.
pub(super) fn keep_endpoints(fields: &mut Fields, before: &Value) {
    let Some(mut endpoints) = fields.get("endpoints").and_then(Value::as_array).cloned() else {
        return;
    };
    let known = before.pointer("/spec/endpoints").and_then(Value::as_array);
    for endpoint in &mut endpoints {
        let same = |e: &&Value| e.get("address") == endpoint.get("address");
        let Some(known) = known.and_then(|known| known.iter().find(same)) else { continue };
        for field in ["weight", "drain"] {
            if let Some(value) = known.get(field).cloned() {
                endpoint[field] = value;
            }
        }
    }
    fields.put("endpoints", Some(endpoints));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_stay_keep_weight_and_drain() {
        let before = json!({"spec": {"endpoints": [
            {"address": "a:1", "weight": 3, "slots": 9}, {"address": "b:1", "drain": true}, {"address": "c:1", "weight": 5},
        ]}});
        let mut fields = Fields::default();
        keep_endpoints(&mut fields, &before);
        assert_eq!(fields.get("endpoints"), None);
        let listed =
            json!([{"address": "b:1"}, {"address": "d:1"}, {"address": "a:1", "slots": 2}]);
        fields.put("endpoints", Some(listed));
        keep_endpoints(&mut fields, &before);
        let wanted = json!([
            {"address": "b:1", "drain": true}, {"address": "d:1"}, {"address": "a:1", "slots": 2, "weight": 3},
        ]);
        assert_eq!(fields.get("endpoints"), Some(&wanted));
    }
}
