//! The Kubernetes Gateway API: its objects, read from files, and in which order they are understood.

mod backends;
mod filters;
mod form;
mod gateways;
mod matches;
mod routes;

use std::path::Path;

use pigeon_proto::model::{Kind, Spec, code};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::form::Meta;
use super::draft::Draft;
use super::place::Place;
use crate::cli::FileArgs;
use crate::commands::files;
use crate::error::Failure;

/// The group of the API.
const GROUP: &str = "gateway.networking.k8s.io";

/// An object, before its spec is understood.
struct Read {
    at: Place,
    file: String,
    kind: String,
    namespace: String,
    name: String,
    created: Option<String>,
    spec: Value,
    /// The Gateways that were read, by namespace and name.
    gateways: Vec<(String, String)>,
}

/// Reads the objects of a file, of a folder, or of standard input.
///
/// # Errors
/// One cannot be read, or there is none. What is wrong in them is in the draft.
pub(super) fn read(source: &Path) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let args = FileArgs { files: vec![source.to_owned()], recursive: false };
    let mut objects = Vec::new();
    for file in files::files(&args)? {
        let place = Place::of(file.display().to_string());
        let Some(text) = files::text(&file)? else {
            draft.errors.push(files::not_text().of(place));
            continue;
        };
        match serde_saphyr::from_multiple::<Value>(&text) {
            Ok(values) => values
                .into_iter()
                .for_each(|value| flat(&mut draft, &place.source, value, &mut objects)),
            Err(e) => {
                let why = e.to_string();
                let why = why.lines().next().unwrap_or_default();
                draft.errors.push(place.error(code::MALFORMED, format!("is not YAML: {why}")));
            }
        }
    }
    if objects.is_empty() && draft.errors.is_empty() {
        let detail = format!("there is no Gateway, GRPCRoute or HTTPRoute in {}", source.display());
        return Err(Failure::usage(detail));
    }
    understand(&mut draft, objects);
    Ok(draft)
}

/// Takes the objects of the API, also out of lists, and names the others.
fn flat(draft: &mut Draft, file: &str, value: Value, objects: &mut Vec<Read>) {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if value.is_null() {
        return;
    }
    if let (true, Some(items)) = (kind.ends_with("List"), value["items"].as_array()) {
        return items.iter().for_each(|item| flat(draft, file, item.clone(), objects));
    }
    let meta: Meta = serde_json::from_value(value["metadata"].clone()).unwrap_or_default();
    let namespace = meta.namespace.unwrap_or_else(|| "default".into());
    let at = Place::of(format!("{kind} {namespace}/{}", meta.name));
    let known = match (kind.as_str(), version.strip_prefix(GROUP)) {
        ("Gateway" | "HTTPRoute", Some(version)) => matches!(version, "/v1" | "/v1beta1"),
        ("GRPCRoute", Some(version)) => version == "/v1",
        ("Service", None) => {
            return draft.not_needed(&at, "engines are made of the backendRefs that name it");
        }
        ("ReferenceGrant", Some(_)) => {
            return draft.not_needed(&at, "every backendRef is taken, also of another namespace");
        }
        ("GatewayClass", Some(_)) => return draft.not_needed(&at, "Pigeon is the only class"),
        _ => false,
    };
    if !known {
        return draft.not_supported(&at, format!("{version} {kind} is not imported"));
    }
    let (name, created, spec) = (meta.name, meta.creation_timestamp, value["spec"].clone());
    let (file, gateways) = (file.to_owned(), Vec::new());
    objects.push(Read { at, file, kind, namespace, name, created, spec, gateways });
}

fn understand(draft: &mut Draft, mut objects: Vec<Read>) {
    let gateways: Vec<(String, String)> = objects
        .iter()
        .filter(|read| read.kind == "Gateway")
        .map(|read| (read.namespace.clone(), read.name.clone()))
        .collect();
    let (mut sections, mut taken) = (Vec::new(), Vec::new());
    for read in objects.iter().filter(|read| read.kind == "Gateway") {
        if let Some(gateway) = typed(draft, read) {
            gateways::import(draft, read, gateway, &mut sections, &mut taken);
        }
    }
    let (mut engines, mut wanted) = (Vec::new(), Vec::new());
    for read in objects.iter_mut().filter(|read| read.kind != "Gateway") {
        read.gateways.clone_from(&gateways);
        if let Some(route) = typed(draft, read) {
            routes::import(draft, read, route, &sections, &mut engines, &mut wanted);
        }
    }
    routes::make(draft, wanted);
}

/// The spec in its own form; none with an error if it has another.
fn typed<T: DeserializeOwned>(draft: &mut Draft, read: &Read) -> Option<T> {
    match serde_json::from_value(read.spec.clone()) {
        Ok(spec) => Some(spec),
        Err(e) => {
            let message = format!(
                "has another form than the API's: {e}; kubectl apply --dry-run=server says where"
            );
            let place = Place::of(format!("{}: {}", read.file, read.at)).key("spec");
            draft.errors.push(place.error(code::WRONG_TYPE, message));
            None
        }
    }
}

/// Why the model refuses a route that says this; none if it does not.
fn refusal(spec: &Value) -> Option<String> {
    let errors = Spec::from_json(Kind::Route, spec.clone()).err()?;
    errors.0.first().map(|error| error.message.clone())
}
