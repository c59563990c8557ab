//! `/config`: the configuration that serves, as documents, without secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pigeon_proto::model::{Object, without_secrets};
use serde_json::{Value, json};

use super::{Status, accepts};
use crate::config::{Rejected, Serving};

pub(super) async fn get(State(status): State<Arc<Status>>, headers: HeaderMap) -> Response {
    let serving = status.serving.borrow().clone();
    let items: Vec<Value> =
        without_secrets(|| objects(&serving).iter().map(Object::to_json).collect());
    if accepts(&headers, "application/json") {
        return Json(json!({
            "revision": serving.received,
            "effective_revision": serving.effective,
            "source": serving.source,
            "rejected": serving.rejected,
            "items": items,
        }))
        .into_response();
    }
    let text = head(&serving) + &documents(&items);
    ([(header::CONTENT_TYPE, "application/yaml; charset=utf-8")], text).into_response()
}

fn objects(serving: &Serving) -> Vec<Object> {
    let object = |(key, version): (&pigeon_proto::model::Key, &pigeon_proto::model::Versioned)| {
        let spec = (*version.spec).clone();
        Object { key: key.clone(), labels: std::collections::BTreeMap::new(), spec }
    };
    serving.config.objects.iter().map(object).collect()
}

/// What is no document, as comments.
fn head(serving: &Serving) -> String {
    let (revision, source) = (serving.received, serving.source.as_str());
    let mut text = format!("# revision {revision}, from {source}\n");
    for Rejected { kind, name, code, message, serving_mod_revision, .. } in &serving.rejected {
        // A comment ends with its line.
        let line = format!("{kind}/{name} {code}: {message}").escape_debug().to_string();
        let instead = match serving_mod_revision {
            0 => "nothing serves instead".to_owned(),
            version => format!("its version {version} serves instead"),
        };
        text += &format!("# rejected: {line}; {instead}\n");
    }
    text
}

fn documents(items: &[Value]) -> String {
    // A value of text, numbers, lists and maps can be written.
    let yaml = |item| serde_saphyr::to_string(item).unwrap_or_default();
    let documents: Vec<String> =
        items.iter().map(|item| yaml(item).trim_end().to_owned() + "\n").collect();
    documents.join("---\n")
}
