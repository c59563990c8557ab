//! `engine …`

use pigeon_proto::model::Kind;
use serde_json::Value;

use super::Desk;
use super::object;
use crate::Outcome;
use crate::cli::ListArgs;
use crate::cli::engine::{AddEngine, PoolArg, SetEngine};
use crate::output::table::{NONE, cell};

mod drain;
mod endpoints;
mod fields;

pub(crate) use drain::drain;
pub(crate) use endpoints::{endpoints, troubles};

pub(crate) fn add(desk: &Desk, args: AddEngine) -> Outcome {
    let AddEngine { name, fields, write } = args;
    let hint = || format!("pigeon-ctl route add ROUTE --grpc pkg.Service --engine {name}");
    object::add(desk, Kind::Engine, &name, fields::of(&fields), write, hint)
}

pub(crate) fn set(desk: &Desk, args: SetEngine) -> Outcome {
    object::set(desk, Kind::Engine, &args.name, args.change, |before| {
        let mut fields = fields::of(&args.fields);
        fields::keep_endpoints(&mut fields, before);
        if args.fields.pool == Some(PoolArg::Off) {
            fields::leave_slots(&mut fields, before);
        }
        fields
    })
}

pub(crate) fn list(desk: &Desk, args: ListArgs) -> Outcome {
    let heading = ["NAME", "ENDPOINTS", "MODE", "SLOTS", "IN-USE", "WAITING"];
    object::list(desk, Kind::Engine, args, heading, |engine| {
        [
            cell(engine, "/name"),
            usable(engine),
            cell(engine, "/spec/pool/mode"),
            cell(engine, "/status/slots"),
            cell(engine, "/status/in_use"),
            cell(engine, "/status/waiting"),
        ]
    })
}

/// `3`; or `2/3` where a proxy sends calls to two of three only.
fn usable(engine: &Value) -> String {
    let Some(all) = engine.pointer("/spec/endpoints").and_then(Value::as_array) else {
        return NONE.to_owned();
    };
    match troubles(engine).len() {
        0 => all.len().to_string(),
        n => format!("{}/{}", all.len().saturating_sub(n), all.len()),
    }
}
