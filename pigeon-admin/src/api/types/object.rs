//! Objects as the API gives them out and takes them.

use std::collections::BTreeMap;

use pigeon_proto::model::{Engine, Kind, Labels, Listener, Name, Route, Spec, Tenant};
use serde::Serialize;
use utoipa::ToSchema;

use super::status::EngineStatus;
use super::{Applied, time};
use crate::api::error;
use crate::catalog::Stored;
use crate::proxies::EngineUse;

/// An object as the API gives it out, of any kind. The reference shows it by kind: [`EngineObject`],
/// [`RouteObject`], [`ListenerObject`], [`TenantObject`].
#[derive(Serialize)]
pub struct Representation<'a> {
    kind: Kind,
    name: &'a str,
    uid: &'a str,
    revision: u64,
    labels: &'a Labels,
    created_at: String,
    updated_at: String,
    updated_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    spec: &'a Spec,
    status: Status,
    /// How far the write came that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
}

impl<'a> Representation<'a> {
    /// Of a stored object, and what proxies carry for it if it is an engine.
    pub fn of(stored: &'a Stored, usage: &BTreeMap<String, EngineUse>) -> Self {
        let name = stored.object.key.name.as_str();
        let status = match &stored.object.spec {
            Spec::Engine(engine) => Status::Engine(EngineStatus::of(engine, usage.get(name))),
            Spec::Listener(_) | Spec::Route(_) | Spec::Tenant(_) => Status::Empty {},
        };
        Self {
            kind: stored.object.key.kind,
            name,
            uid: &stored.uid,
            revision: stored.mod_revision,
            labels: &stored.object.labels,
            created_at: time(stored.created_ms),
            updated_at: time(stored.updated_ms),
            updated_by: &stored.updated_by,
            owner: stored.owner.as_ref().map(Name::as_str),
            spec: &stored.object.spec,
            status,
            applied: None,
        }
    }

    /// Its entity tag.
    pub fn etag(&self) -> String {
        error::etag(self.revision)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Status {
    Engine(EngineStatus),
    Empty {},
}

/// Nothing yet: listeners, routes and tenants have no status of their own.
#[derive(Serialize, ToSchema)]
pub struct NoStatus {}

/// Declares, for the reference, what an object of one kind looks like in answers, lists and bodies.
macro_rules! kind {
    ($object:ident, $page:ident, $body:ident, $patch:ident, $spec:ty, $status:ty) => {
        /// An object as it is given out. It may be sent back: what cannot be set is ignored in a body.
        #[allow(dead_code)] // The schema only; `Representation` is what is written.
        #[derive(ToSchema)]
        pub struct $object {
            /// The kind.
            kind: Kind,
            /// The name, unique within the kind.
            name: String,
            /// Never used again, also not by a later object of the same name.
            uid: String,
            /// The revision that last changed it; the entity tag is `"r<revision>"`.
            revision: u64,
            /// For people and filters; proxies do not see them.
            #[schema(value_type = BTreeMap<String, String>)]
            labels: Labels,
            /// RFC 3339, UTC.
            created_at: String,
            /// RFC 3339, UTC.
            updated_at: String,
            /// Who last changed it.
            updated_by: String,
            /// The set of objects it was applied with (`apply` with `owner`); absent = none.
            #[schema(required = false)]
            owner: String,
            /// What it says.
            spec: $spec,
            /// What is observed.
            status: $status,
            /// How far the write came that this answers; in answers to writes only.
            #[schema(required = false)]
            applied: Applied,
        }

        /// One page of objects, by name.
        #[allow(dead_code)] // As above.
        #[derive(ToSchema)]
        pub struct $page {
            /// The objects.
            items: Vec<$object>,
            /// The `page_token` of the next page; null on the last.
            #[schema(required = true)]
            next_page_token: Option<String>,
            /// The revision of the whole configuration that this is the state of.
            revision: u64,
        }

        /// An object to be written.
        #[allow(dead_code)] // As above.
        #[derive(ToSchema)]
        pub struct $body {
            /// The kind; if given, that of the path.
            #[schema(required = false)]
            kind: Kind,
            /// The name; if the path has one too, the same.
            #[schema(required = false)]
            name: String,
            /// For people and filters; proxies do not see them.
            #[schema(required = false, value_type = BTreeMap<String, String>)]
            labels: Labels,
            /// What it says.
            spec: $spec,
        }

        /// A merge patch (RFC 7396): what is null is removed, what is absent stays, lists are replaced.
        #[allow(dead_code)] // As above.
        #[derive(ToSchema)]
        pub struct $patch {
            /// Labels to set or, with null, to remove.
            #[schema(required = false)]
            labels: BTreeMap<String, Option<String>>,
            /// The fields of the spec to change.
            #[schema(required = false)]
            spec: serde_json::Map<String, serde_json::Value>,
        }
    };
}

kind!(ListenerObject, ListenerPage, ListenerBody, ListenerPatch, Listener, NoStatus);
kind!(EngineObject, EnginePage, EngineBody, EnginePatch, Engine, EngineStatus);
kind!(RouteObject, RoutePage, RouteBody, RoutePatch, Route, NoStatus);
kind!(TenantObject, TenantPage, TenantBody, TenantPatch, Tenant, NoStatus);
