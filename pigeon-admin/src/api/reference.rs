//! The OpenAPI document: what the calls say of themselves, and what all of them have in common.

use pigeon_proto::model::FieldError;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Response, ResponseBuilder, Schema, ServerBuilder,
};
use utoipa::{PartialSchema as _, ToSchema};

use super::error::ProblemBody;
use super::sessions::LogIn;

const ABOUT: &str = "The control plane of Pigeon. docs/rest.md says how the API behaves; \
    every error is an `application/problem+json` (RFC 9457) with a code of docs/errors.md.";

/// The schemas of what is declared, with the fields that must be there; every other has a default, and none
/// may be there that is not known. The model says so to its reader, which the schemas cannot see.
const DECLARED: [(&str, &[&str]); 20] = [
    ("Listener", &["address"]),
    ("Engine", &[]),
    ("Endpoint", &["address"]),
    ("Pool", &[]),
    ("Health", &[]),
    ("Ejection", &[]),
    ("Route", &[]),
    ("HeaderEdits", &[]),
    ("Rewrite", &[]),
    ("Shadow", &["engine"]),
    ("Redirect", &[]),
    ("Answer", &[]),
    ("Split", &["engine", "percent"]),
    ("Retry", &[]),
    ("Match", &[]),
    ("Tenant", &[]),
    ("ApiKey", &["id", "sha256"]),
    ("TokenSubject", &["issuer", "subject"]),
    ("Auth", &["methods"]),
    ("Jwt", &["audiences", "issuer", "jwks"]),
];

/// The head of the document, for the calls to be added to.
pub fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build();
    let info = InfoBuilder::new()
        .title("Pigeon")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license));
    let server = ServerBuilder::new().url("http://127.0.0.1:9800").build();
    OpenApiBuilder::new().info(info.build()).servers(Some([server])).build()
}

/// Adds what all calls have in common: how callers prove who they are, and the problems that any may have.
pub fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer = bearer.description(Some("The content of `<data-dir>/admin.token`.")).build();
    let cookie = ApiKeyValue::with_description(super::auth::COOKIE, "A session; it may only read.");
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.schemas.insert("Problem".into(), ProblemBody::schema());
    components.schemas.insert(FieldError::name().into(), FieldError::schema());
    components.schemas.insert(LogIn::name().into(), LogIn::schema());
    for (name, required) in DECLARED {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
            object.required = required.iter().map(ToString::to_string).collect();
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            common(path, &method, operation);
        }
    }
    api
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let methods = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn common(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let guarded = path.starts_with("/v1/");
    let opens_session = path == "/v1/sessions" && *method == HttpMethod::Post;
    let ends_session = path == "/v1/sessions" && *method == HttpMethod::Delete;
    let has_body = operation.request_body.is_some();
    let mut problems = Vec::new();
    if guarded {
        problems.push(("400", "The request cannot be understood, or a parameter is wrong"));
        problems.push(("401", "No token, or a wrong one"));
        problems.push(("429", "Too many wrong tokens"));
        problems.push(("503", "The store is not available, or the answer took too long"));
    }
    if opens_session || (guarded && (*method == HttpMethod::Get || ends_session)) {
        problems.push(("421", "A session, or its beginning, for a foreign host name"));
    }
    if has_body {
        problems.push(("413", "The body is too large"));
        problems.push(("415", "This media type is not taken"));
        problems.push(("422", "The content is wrong; `errors` has every error"));
    }
    if guarded && !opens_session {
        let token = SecurityRequirement::new("token", [""; 0]);
        let mut either = vec![token];
        if *method == HttpMethod::Get || ends_session {
            either.push(SecurityRequirement::new("session", [""; 0]));
        } else {
            problems.push(("403", "A session tried to write"));
        }
        operation.security = Some(either);
    }
    for (status, description) in problems {
        let responses = &mut operation.responses.responses;
        responses.entry(status.into()).or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", body)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pigeon_proto::model::{Kind, Spec};
    use serde_json::{Value, json};

    /// The model itself takes what the reference says may be absent, and refuses what it says may not.
    #[test]
    fn what_must_be_there_is_what_the_model_asks_for() {
        let endpoint = |e: Value| (Kind::Engine, json!({"endpoints": [e]}));
        for (name, full, place) in [
            ("Listener", json!({"address": "127.0.0.1:1"}), Kind::Listener),
            ("Engine", json!({}), Kind::Engine),
            ("Tenant", json!({}), Kind::Tenant),
        ] {
            check(name, &full, |v| (place, v));
        }
        // Not routes and redirects: which of their fields must be there depends on the others.
        check("HeaderEdits", &json!({}), |v| {
            (Kind::Route, json!({"engine": "a", "request_headers": v}))
        });
        check("Rewrite", &json!({}), |v| (Kind::Route, json!({"engine": "a", "rewrite": v})));
        let shadow = json!({"engine": "b"});
        check("Shadow", &shadow, |v| (Kind::Route, json!({"engine": "a", "shadow": v})));
        check("Answer", &json!({}), |v| (Kind::Route, json!({ "answer": v })));
        check("Endpoint", &json!({"address": "a:1"}), endpoint);
        check("Pool", &json!({}), |v| (Kind::Engine, json!({ "pool": v })));
        check("Health", &json!({}), |v| (Kind::Engine, json!({ "health": v })));
        check("Ejection", &json!({}), |v| (Kind::Engine, json!({ "ejection": v })));
        let split = json!({"engine": "b", "percent": 1});
        check("Split", &split, |v| (Kind::Route, json!({"engine": "a", "split": [v]})));
        check("Retry", &json!({}), |v| (Kind::Route, json!({"engine": "a", "retry": v})));
        check("Match", &json!({}), |v| (Kind::Route, json!({"engine": "a", "match": v})));
        let key = json!({"id": "k1", "sha256": "0".repeat(64)});
        check("ApiKey", &key, |v| (Kind::Tenant, json!({"keys": [v]})));
        let subject = json!({"issuer": "i", "subject": "s"});
        check("TokenSubject", &subject, |v| (Kind::Tenant, json!({"subjects": [v]})));
        let auth = json!({"methods": ["jwt"]});
        check("Auth", &auth, |v| (Kind::Route, json!({"engine": "a", "auth": v})));
        let jwt = json!({"audiences": ["a"], "issuer": "i", "jwks": "/k"});
        let listener = |v| (Kind::Listener, json!({"address": "127.0.0.1:1", "jwt": [v]}));
        check("Jwt", &jwt, listener);
    }

    fn check(name: &str, full: &Value, place: impl Fn(Value) -> (Kind, Value)) {
        let read = |value: Value| {
            let (kind, spec) = place(value);
            Spec::from_json(kind, spec)
        };
        let required = DECLARED.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, r)| *r);
        let fields: Vec<_> = full.as_object().into_iter().flat_map(|m| m.keys()).collect();
        assert_eq!(fields, required, "{name}");
        read(full.clone()).expect(name);
        for field in required {
            let mut less = full.clone();
            less.as_object_mut().and_then(|m| m.remove(*field));
            read(less).expect_err(field);
        }
        let mut more = full.clone();
        more["colour"] = json!("red");
        read(more).expect_err(name);
    }
}
