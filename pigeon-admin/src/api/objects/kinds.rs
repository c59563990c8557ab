//! The calls of each kind, with what the reference says of them. They differ only in that.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use pigeon_proto::model::Kind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ApiState;
use super::super::error::{Problem, ProblemBody};
use super::super::query::{PageQuery, WriteQuery};
use super::super::types::{
    EngineBody, EngineObject, EnginePage, EnginePatch, ListenerBody, ListenerObject, ListenerPage,
    ListenerPatch, RouteBody, RouteObject, RoutePage, RoutePatch, TenantBody, TenantObject,
    TenantPage, TenantPatch,
};

/// The calls of every kind.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .merge(listeners::routes())
        .merge(engines::routes())
        .merge(objects_of_routes::routes())
        .merge(tenants::routes())
}

/// The name in the path, decoded.
fn name(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match path {
        Ok(Path(name)) => Ok(name),
        Err(_) => Err(Problem::malformed("the name in the path does not decode to UTF-8 text")),
    }
}

macro_rules! kind {
    (
        $module:ident, $kind:expr, $one:literal, $many:literal, $all:literal, $each:literal,
        $object:ty, $page:ty, $body:ty, $patch:ty
    ) => {
        mod $module {
            use super::*;

            pub(super) fn routes() -> OpenApiRouter<ApiState> {
                OpenApiRouter::default()
                    .routes(routes!(list, create))
                    .routes(routes!(get, replace, patch, remove))
            }

            #[utoipa::path(get, path = $all, tag = $many, operation_id = concat!("list_", $many),
                summary = concat!("List ", $many), description = "By name, a page at a time.",
                params(PageQuery),
                responses((status = 200, description = "One page", body = $page)))]
            async fn list(State(api): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
                super::super::list(api, $kind, uri).await
            }

            #[utoipa::path(post, path = $all, tag = $many, operation_id = concat!("create_", $one),
                summary = concat!("Create a ", $one),
                description = "Never replaces; the body needs the name.",
                params(WriteQuery), request_body = $body,
                responses(
                    (status = 201, description = "Created", body = $object, headers(
                        ("location" = String), ("etag" = String), ("pigeon-revision" = u64),
                        ("pigeon-applied" = String))),
                    (status = 202, description = "Created, but a proxy has not applied it in the time given", body = $object),
                    (status = 409, description = "It exists already", body = ProblemBody, content_type = "application/problem+json")))]
            async fn create(
                State(api): State<ApiState>,
                request: Request,
            ) -> Result<Response, Problem> {
                super::super::create(api, $kind, request).await
            }

            #[utoipa::path(get, path = $each, tag = $many, operation_id = concat!("get_", $one),
                summary = concat!("Get a ", $one), description = "With what is observed of it.",
                params(("name" = String, Path, description = "Its name"),
                    ("if-none-match" = Option<String>, Header, description = "Entity tags the caller has; 304 if the object is at one of them")),
                responses(
                    (status = 200, description = "The object", body = $object, headers(
                        ("etag" = String), ("pigeon-revision" = u64))),
                    (status = 304, description = "The object is as the caller has it"),
                    (status = 404, description = "There is none of this name", body = ProblemBody, content_type = "application/problem+json")))]
            async fn get(
                State(api): State<ApiState>,
                path: Result<Path<String>, PathRejection>,
                uri: Uri,
                headers: HeaderMap,
            ) -> Result<Response, Problem> {
                super::super::get(api, $kind, name(path)?, uri, headers).await
            }

            #[utoipa::path(put, path = $each, tag = $many, operation_id = concat!("put_", $one),
                summary = concat!("Create or replace a ", $one),
                description = "What the body does not say is at its default afterwards.",
                params(("name" = String, Path, description = "Its name"), WriteQuery,
                    ("if-match" = Option<String>, Header, description = "Replace only if the object is at one of these entity tags; `*`: if it exists"),
                    ("if-none-match" = Option<String>, Header, description = "`*`: create only")),
                request_body = $body,
                responses(
                    (status = 200, description = "Replaced, or unchanged", body = $object, headers(
                        ("etag" = String), ("pigeon-revision" = u64), ("pigeon-applied" = String))),
                    (status = 201, description = "Created", body = $object, headers(
                        ("location" = String), ("etag" = String), ("pigeon-revision" = u64), ("pigeon-applied" = String))),
                    (status = 202, description = "Written, but a proxy has not applied it in the time given", body = $object),
                    (status = 412, description = "The condition does not hold", body = ProblemBody, content_type = "application/problem+json")))]
            async fn replace(
                State(api): State<ApiState>,
                path: Result<Path<String>, PathRejection>,
                request: Request,
            ) -> Result<Response, Problem> {
                super::super::replace(api, $kind, name(path)?, request).await
            }

            #[utoipa::path(patch, path = $each, tag = $many, operation_id = concat!("patch_", $one),
                summary = concat!("Change a ", $one),
                description = "A JSON merge patch (RFC 7396) over `{labels, spec}`.",
                params(("name" = String, Path, description = "Its name"), WriteQuery,
                    ("if-match" = Option<String>, Header, description = "Change only if the object is at one of these entity tags")),
                request_body(content = $patch, content_type = "application/merge-patch+json"),
                responses(
                    (status = 200, description = "Changed, or unchanged", body = $object, headers(
                        ("etag" = String), ("pigeon-revision" = u64), ("pigeon-applied" = String))),
                    (status = 202, description = "Changed, but a proxy has not applied it in the time given", body = $object),
                    (status = 404, description = "There is none of this name", body = ProblemBody, content_type = "application/problem+json"),
                    (status = 412, description = "The condition does not hold", body = ProblemBody, content_type = "application/problem+json")))]
            async fn patch(
                State(api): State<ApiState>,
                path: Result<Path<String>, PathRejection>,
                request: Request,
            ) -> Result<Response, Problem> {
                super::super::patch(api, $kind, name(path)?, request).await
            }

            #[utoipa::path(delete, path = $each, tag = $many, operation_id = concat!("delete_", $one),
                summary = concat!("Delete a ", $one),
                description = "Answers with the object as it was.",
                params(("name" = String, Path, description = "Its name"), WriteQuery,
                    ("if-match" = Option<String>, Header, description = "Delete only if the object is at one of these entity tags")),
                responses(
                    (status = 200, description = "Deleted", body = $object, headers(
                        ("pigeon-revision" = u64), ("pigeon-applied" = String))),
                    (status = 202, description = "Deleted, but a proxy has not applied it in the time given", body = $object),
                    (status = 404, description = "There is none of this name", body = ProblemBody, content_type = "application/problem+json"),
                    (status = 409, description = "Routes still use it", body = ProblemBody, content_type = "application/problem+json"),
                    (status = 412, description = "The condition does not hold", body = ProblemBody, content_type = "application/problem+json")))]
            async fn remove(
                State(api): State<ApiState>,
                path: Result<Path<String>, PathRejection>,
                request: Request,
            ) -> Result<Response, Problem> {
                super::super::remove(api, $kind, name(path)?, request).await
            }
        }
    };
}

kind!(
    listeners,
    Kind::Listener,
    "listener",
    "listeners",
    "/v1/listeners",
    "/v1/listeners/{name}",
    ListenerObject,
    ListenerPage,
    ListenerBody,
    ListenerPatch
);
kind!(
    engines,
    Kind::Engine,
    "engine",
    "engines",
    "/v1/engines",
    "/v1/engines/{name}",
    EngineObject,
    EnginePage,
    EngineBody,
    EnginePatch
);
kind!(
    objects_of_routes,
    Kind::Route,
    "route",
    "routes",
    "/v1/routes",
    "/v1/routes/{name}",
    RouteObject,
    RoutePage,
    RouteBody,
    RoutePatch
);
kind!(
    tenants,
    Kind::Tenant,
    "tenant",
    "tenants",
    "/v1/tenants",
    "/v1/tenants/{name}",
    TenantObject,
    TenantPage,
    TenantBody,
    TenantPatch
);
