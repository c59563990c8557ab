//! `/v1/listeners`, `/v1/engines`, `/v1/routes`, `/v1/tenants`: the same calls for every kind. What they do is here; what
//! the reference says of each is in `objects/kinds.rs`.

mod kinds;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use pigeon_proto::model::{
    Errors, FieldError, Key, Kind, Name, Object, code as model_code, document,
};
use serde_json::Value;

pub use kinds::routes;

use super::conditions::{self, Condition, Tags};
use super::error::{self, Problem, clip};
use super::query::PageQuery;
use super::types::{Page, Representation};
use super::write::{self, Done, Intent};
use super::{ApiState, body, query};
use crate::catalog::{Change, Expect, Stored, View};

/// `GET /v1/engines`
async fn list(api: ApiState, kind: Kind, uri: Uri) -> Result<Response, Problem> {
    let (size, after) = PageQuery::of_names(&uri)?;
    let (view, usage) = (api.app().catalog.view(), api.app().proxies.usage());
    let mut found = of_kind(&view, kind).filter(|s| after.as_ref() < Some(&s.object.key.name));
    let items: Vec<_> = found.by_ref().take(size).collect();
    let more = found.next().is_some();
    let last = items.last().filter(|_| more).map(|s| s.object.key.name.to_string());
    let items = items.into_iter().map(|s| Representation::of(s, &usage)).collect();
    let page = Page { items, next_page_token: last, revision: Some(view.revision) };
    Ok(write::read(view.revision, &page, None))
}

/// The objects of a kind, by name.
pub fn of_kind(view: &View, kind: Kind) -> impl Iterator<Item = &Arc<Stored>> {
    view.objects.iter().filter(move |(key, _)| key.kind == kind).map(|(_, stored)| stored)
}

/// `GET /v1/engines/{name}`
async fn get(
    api: ApiState,
    kind: Kind,
    name: String,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let known = conditions::of_read(&headers)?;
    let view = api.app().catalog.view();
    let stored = find(&view, &existing(kind, &name)?)?;
    let etag = error::etag(stored.mod_revision);
    if known.is_some_and(|tags| tags.contain(stored.mod_revision)) {
        return Ok(write::not_modified(view.revision, etag));
    }
    let body = Representation::of(stored, &api.app().proxies.usage());
    Ok(write::read(view.revision, &body, Some(etag)))
}

/// `POST /v1/engines`
async fn create(api: ApiState, kind: Kind, request: Request) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    if conditions::of_write(request.headers())? != Condition::None {
        let detail =
            "POST always creates, and takes no condition; use PUT with If-Match or If-None-Match";
        return Err(Problem::malformed(detail));
    }
    let value = body::json(request, &[body::JSON]).await?;
    let object = document::object(value, Some(kind))?;
    let change = Change::Put { object: Box::new(object), expect: Expect::Absent };
    let done = intent.commit(&api, vec![change], false).await?;
    written(&api, &done)
}

/// `PUT /v1/engines/{name}`
async fn replace(
    api: ApiState,
    kind: Kind,
    name: String,
    request: Request,
) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    let condition = conditions::of_write(request.headers())?;
    let value = body::json(request, &[body::JSON]).await?;
    let object = named(value, kind, &name)?;
    let key = object.key.clone();
    let expect = match condition {
        Condition::None => Expect::Any,
        Condition::Absent => Expect::Absent,
        Condition::Match(tags) => expected(&api, &key, tags)?,
    };
    let change = Change::Put { object: Box::new(object), expect };
    let conditional = expect != Expect::Any;
    let done = intent.commit(&api, vec![change], conditional).await;
    let done = done.map_err(|e| if expect == Expect::Absent { unmet(&api, &key, e) } else { e })?;
    written(&api, &done)
}

/// `If-None-Match: *` that did not hold is 412, not the 409 of a POST.
fn unmet(api: &ApiState, key: &Key, problem: Problem) -> Problem {
    if problem.status() != StatusCode::CONFLICT {
        return problem;
    }
    let current = api.app().catalog.view().objects.get(key).map(|s| s.mod_revision);
    Problem::exists_already(key, current)
}

/// `PATCH /v1/engines/{name}`
async fn patch(
    api: ApiState,
    kind: Kind,
    name: String,
    request: Request,
) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    let condition = conditions::of_write(request.headers())?;
    body::require(request.headers(), &[body::MERGE_PATCH]).map_err(Problem::accept_patch)?;
    let patch = body::json(request, &[body::MERGE_PATCH]).await?;
    let key = existing(kind, &name)?;
    check_patch(&patch, &key)?;
    let expect = of_existing(&api, &key, condition)?;
    let done = intent.commit(&api, vec![Change::Patch { key, patch, expect }], false).await?;
    written(&api, &done)
}

/// `DELETE /v1/engines/{name}`
async fn remove(
    api: ApiState,
    kind: Kind,
    name: String,
    request: Request,
) -> Result<Response, Problem> {
    let intent = Intent::of(&request)?;
    let condition = conditions::of_write(request.headers())?;
    let key = existing(kind, &name)?;
    let expect = of_existing(&api, &key, condition)?;
    let done = intent.commit(&api, vec![Change::Delete { key, expect }], false).await?;
    let removed = done.outcome.changed.first().and_then(|c| c.before.clone());
    let Some(removed) = removed else {
        return Err(Problem::internal("a removal did not say what it removed"));
    };
    let mut body = Representation::of(&removed, &api.app().proxies.usage());
    body.applied = done.applied.clone();
    Ok(done.answer(StatusCode::OK, &body, None, None))
}

/// The answer to a write of one object: 201 if it is new, else 200.
fn written(api: &ApiState, done: &Done) -> Result<Response, Problem> {
    let changed = done.outcome.changed.first();
    let Some((changed, after)) = changed.and_then(|c| Some((c, c.after.as_ref()?))) else {
        return Err(Problem::internal("a write did not say what it wrote"));
    };
    let new = changed.before.is_none();
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let Key { kind, name } = &changed.key;
    let location = new.then(|| format!("/v1/{}/{name}", kind.plural()));
    let mut body = Representation::of(after, &api.app().proxies.usage());
    body.applied = done.applied.clone();
    Ok(done.answer(status, &body, Some(body.etag()), location))
}

/// The key of an object that must exist; a name that is none is that of no object.
fn existing(kind: Kind, name: &str) -> Result<Key, Problem> {
    match name.parse::<Name>() {
        Ok(name) => Ok(Key { kind, name }),
        Err(_) => Err(Problem::no_object(kind, name)),
    }
}

/// The stored object of this key.
///
/// # Errors
/// 404.
pub fn find<'a>(view: &'a View, key: &Key) -> Result<&'a Arc<Stored>, Problem> {
    view.objects.get(key).ok_or_else(|| Problem::no_object(key.kind, key.name.as_str()))
}

/// The object of a PUT: the path has the name, and the body, if it has one too, the same.
fn named(mut value: Value, kind: Kind, name: &str) -> Result<Object, Errors> {
    let other = match value.as_object_mut() {
        Some(map) => match map.get("name") {
            None | Some(Value::Null) => {
                map.insert("name".into(), name.into());
                None
            }
            Some(Value::String(stated)) if stated != name => Some(stated.clone()),
            Some(_) => None,
        },
        None => None,
    };
    let mut errors = Errors::default();
    let object = errors.keep(document::object(value, Some(kind)));
    if let Some(stated) = other {
        errors.push(other_name(&stated, name).of(format!("{kind}/{}", clip(&stated))));
    }
    match object {
        Some(object) if errors.0.is_empty() => Ok(object),
        _ => Err(errors),
    }
}

fn other_name(stated: &str, name: &str) -> FieldError {
    let (stated, name) = (clip(stated), clip(name));
    let message = format!(
        "is \"{stated}\", but the path says \"{name}\"; an object cannot be renamed: \
         make them the same, or leave it out"
    );
    FieldError::new("/name", model_code::BAD_VALUE, message)
}

/// What of a patch can be wrong before it meets the object: its form, and a name or kind that moves.
fn check_patch(patch: &Value, key: &Key) -> Result<(), Errors> {
    let Some(map) = patch.as_object() else {
        let message = "must be an object with labels and spec (a merge patch, RFC 7396)";
        return Err(FieldError::new("", model_code::WRONG_TYPE, message).of(key).into());
    };
    let mut errors = Errors::default();
    match map.get("name") {
        None => {}
        Some(Value::String(stated)) if stated == key.name.as_str() => {}
        Some(stated) => {
            let stated = stated.as_str().map_or_else(|| stated.to_string(), str::to_owned);
            errors.push(other_name(&stated, key.name.as_str()).of(key));
        }
    }
    if map.get("kind").is_some_and(|k| k.as_str() != Some(key.kind.as_str())) {
        let message = format!("must stay \"{}\"; leave it out", key.kind);
        errors.push(FieldError::new("/kind", model_code::BAD_VALUE, message).of(key));
    }
    errors.into_result()
}

/// What a PATCH or DELETE expects. That there is no object is 404 before any condition is looked at.
fn of_existing(api: &ApiState, key: &Key, condition: Condition) -> Result<Expect, Problem> {
    find(&api.app().catalog.view(), key)?;
    match condition {
        Condition::None => Ok(Expect::Present),
        Condition::Match(tags) => expected(api, key, tags),
        Condition::Absent => {
            Err(Problem::malformed("If-None-Match has no meaning with this method; use If-Match"))
        }
    }
}

/// What `If-Match` expects. Of several tags only the current one can hold; that it still is current is
/// checked once more by the write itself.
fn expected(api: &ApiState, key: &Key, tags: Tags) -> Result<Expect, Problem> {
    let current = api.app().catalog.view().objects.get(key).map(|s| s.mod_revision);
    match (tags, current) {
        (Tags::Any, _) => Ok(Expect::Present),
        (Tags::Revisions(list), Some(r)) if list.contains(&r) => Ok(Expect::Revision(r)),
        (Tags::Revisions(_), current) => Err(Problem::changed(key, current)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn path_and_body_agree_on_the_name() {
        let spec = json!({"endpoints": []});
        let put = |body: Value| named(body, Kind::Engine, "asr").map(|o| o.key.name.to_string());
        let ok = Ok("asr".to_owned());
        assert_eq!(put(json!({"spec": spec})), ok);
        assert_eq!(put(json!({"name": "asr", "kind": "engine", "spec": spec})), ok);
        let cases = [
            (json!({"name": "tts", "spec": spec}), "the path says \\\"asr\\\""),
            (json!({"name": 7, "spec": spec}), "must be text"),
            (json!({"kind": "route", "spec": spec}), "this is the place for a engine"),
            (json!([]), "must be an object"),
        ];
        for (body, why) in cases {
            let errors = put(body.clone()).expect_err("refused");
            let all = serde_json::to_string(&errors).expect("JSON");
            assert!(all.contains(why), "{body}: {all}");
        }
    }

    #[test]
    fn all_errors_of_a_put_come_at_once() {
        let body =
            json!({"name": "tts", "colour": "red", "spec": {"endpoints": [{"address": "x"}]}});
        let errors = named(body, Kind::Engine, "asr").expect_err("refused");
        let mut pointers: Vec<_> = errors.0.iter().map(|e| e.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/colour", "/name", "/spec/endpoints/0/address"]);
    }

    #[test]
    fn a_patch_cannot_move_an_object() {
        let key = Key { kind: Kind::Engine, name: "asr".parse().expect("a name") };
        let pointers = |patch: Value| match check_patch(&patch, &key) {
            Ok(()) => vec![],
            Err(e) => e.0.into_iter().map(|e| e.pointer).collect::<Vec<_>>(),
        };
        assert!(pointers(json!({"name": "asr", "kind": "engine", "spec": {}})).is_empty());
        assert_eq!(pointers(json!({"name": "tts", "kind": "route"})), ["/name", "/kind"]);
        assert_eq!(pointers(json!({"name": null})), ["/name"]);
        assert_eq!(pointers(json!("x")), [""]);
    }
}
