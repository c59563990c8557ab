//! `import`: the configuration of another gateway as documents that `apply` reads. It sends nothing.

mod draft;
mod gateway_api;
mod names;
mod place;
mod rpc_pigeon;

use std::collections::BTreeMap;

use pigeon_proto::model::{self, Errors, Kind, Object, document};
use serde_json::{Value, json};

use self::draft::Draft;
use super::{Desk, lint};
use crate::Outcome;
use crate::cli::{ImportCommand, Output};
use crate::document as documents;
use crate::error::{Exit, Failure};

pub(crate) fn import(desk: &Desk, command: &ImportCommand) -> Outcome {
    match command {
        ImportCommand::RpcPigeon { folder } => finish(desk, rpc_pigeon::read(folder)?, false),
        ImportCommand::GatewayApi { source, strict } => {
            finish(desk, gateway_api::read(source)?, *strict)
        }
    }
}

/// Prints the report and the documents; nothing but errors if anything is wrong, and with `strict` no documents
/// if anything is lost, so that a pipe does not apply the rest.
fn finish(desk: &Desk, draft: Draft, strict: bool) -> Outcome {
    let objects = objects(&draft)?;
    draft.report(desk.global.quiet);
    if strict && draft.is_lossy() {
        return Ok(Exit::No);
    }
    match desk.out.format() {
        Output::Json | Output::Jsonl => {
            let items: Vec<Value> = objects.iter().map(Object::to_json).collect();
            desk.out.value(&json!({ "items": items }))?;
        }
        Output::Table | Output::Yaml => desk.out.text(&documents::yaml_stream(&objects)?)?,
    }
    Ok(Exit::Done)
}

/// The objects, once they are known to be valid together.
fn objects(draft: &Draft) -> Result<Vec<Object>, Failure> {
    Errors(draft.errors.clone()).into_result().map_err(Failure::invalid)?;
    let (mut errors, mut objects, mut origins) = (Errors::default(), Vec::new(), BTreeMap::new());
    for (place, value) in &draft.documents {
        match document::object(value.clone(), None) {
            Ok(object) => {
                origins.insert(object.key.to_string(), place.to_string());
                objects.push(object);
            }
            Err(wrong) => errors.0.extend(wrong.0.into_iter().map(|mut error| {
                let object = error.object.take().unwrap_or_default();
                error.object = Some(format!("{place}: {object}"));
                error
            })),
        }
    }
    errors.into_result().map_err(Failure::invalid)?;
    model::validate(&lint::snapshot(&objects)?).map_err(|mut wrong| {
        for error in &mut wrong.0 {
            let origin = error.object.as_ref().and_then(|object| origins.get(object));
            if let (Some(origin), Some(object)) = (origin, &error.object) {
                error.object = Some(format!("{origin}: {object}"));
            }
        }
        Failure::invalid(wrong)
    })?;
    objects.sort_by_key(|object| Kind::ALL.iter().position(|kind| *kind == object.key.kind));
    Ok(objects)
}
