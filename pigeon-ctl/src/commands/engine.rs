//! `engine …`

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::Desk;
use super::object::{self, Fields};
use crate::Outcome;
use crate::cli::engine::{AddEngine, EngineFields, PoolArg, SetEngine};
use crate::cli::values::{StaticEndpoint, word};
use crate::output::table::{NONE, cell};

pub(crate) fn add(desk: &Desk, args: AddEngine) -> Outcome {
    let AddEngine { name, fields, write } = args;
    let hint = || format!("pigeon-ctl route add ROUTE --grpc pkg.Service --engine {name}");
    object::add(desk, Kind::Engine, &name, of(&fields), write, hint)
}

pub(crate) fn set(desk: &Desk, args: SetEngine) -> Outcome {
    object::set(desk, Kind::Engine, &args.name, args.change, |before| {
        let mut fields = of(&args.fields);
        if args.fields.pool == Some(PoolArg::Off) {
            leave_slots(&mut fields, before);
        }
        fields
    })
}

pub(crate) fn list(desk: &Desk) -> Outcome {
    let heading = ["NAME", "ENDPOINTS", "MODE", "SLOTS", "IN-USE", "WAITING"];
    object::list(desk, Kind::Engine, heading, |engine| {
        let endpoints = engine.pointer("/spec/endpoints").and_then(Value::as_array);
        [
            cell(engine, "/name"),
            endpoints.map_or_else(|| NONE.to_owned(), |e| e.len().to_string()),
            cell(engine, "/spec/pool/mode"),
            cell(engine, "/status/slots"),
            cell(engine, "/status/in_use"),
            cell(engine, "/status/waiting"),
        ]
    })
}

fn of(args: &EngineFields) -> Fields {
    let mut fields = Fields::new(&args.labels);
    let endpoints = args.endpoints.as_ref();
    fields.put("endpoints", endpoints.map(|e| e.iter().map(endpoint).collect::<Vec<_>>()));
    fields.put("pool/mode", args.pool.map(word));
    fields.put("pool/slots", args.slots);
    fields.put("pool/loose_factor", args.loose_factor);
    fields.put("pool/queue", args.queue);
    fields.text("pool/queue_timeout", args.queue_timeout.as_ref());
    fields.text("pool/dial_timeout", args.dial_timeout.as_ref());
    fields.text("pool/idle_timeout", args.idle_timeout.as_ref());
    fields.text("pool/cancel_cooldown", args.cancel_cooldown.as_ref());
    fields.put("balance", args.lb.map(word));
    fields.put("protocol", args.protocol.map(word));
    fields.put("health", args.health.map(word));
    fields
}

fn endpoint(endpoint: &StaticEndpoint) -> Value {
    match endpoint.slots {
        None => json!({ "address": endpoint.address }),
        Some(slots) => json!({ "address": endpoint.address, "slots": slots }),
    }
}

/// Without slots nothing may speak of slots: whoever turns the pool off need not know where they all are.
fn leave_slots(fields: &mut Fields, before: &Value) {
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
