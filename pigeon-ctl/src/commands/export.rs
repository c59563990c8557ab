//! `export`

use pigeon_proto::model::{Kind, Object};
use serde_json::{Value, json};

use super::{Desk, object};
use crate::Outcome;
use crate::cli::{ExportArgs, Output};
use crate::document;
use crate::error::Exit;

pub(crate) fn export(desk: &Desk, args: &ExportArgs) -> Outcome {
    let asked: Vec<Kind> = args.kinds.iter().map(|k| Kind::from(*k)).collect();
    let session = desk.session()?;
    let mut objects = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|k| asked.is_empty() || asked.contains(k)) {
        for value in session.list(&object::collection(kind), usize::MAX)? {
            objects.push(document::of_server(value)?);
        }
    }
    match desk.out.format() {
        Output::Json | Output::Jsonl => {
            let items: Vec<Value> = objects.iter().map(Object::to_json).collect();
            desk.out.value(&json!({ "items": items }))?;
        }
        Output::Table | Output::Yaml => desk.out.text(&document::yaml_stream(&objects)?)?,
    }
    Ok(Exit::Done)
}
