//! Objects: a kind, a name, and what it says; and a whole configuration of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{BadValue, Errors, FieldError};
use super::text::Name;
use super::{Engine, Listener, ListenerProtocol, Route, Tenant, code};

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Kind {
    /// An address the proxies listen on.
    Listener,
    /// A named upstream service.
    Engine,
    /// Which calls go to which engine.
    Route,
    /// A caller.
    Tenant,
}

impl Kind {
    /// Every kind, in the order objects are written out: what is referred to comes first.
    pub const ALL: [Self; 4] = [Self::Listener, Self::Engine, Self::Tenant, Self::Route];

    /// The word for it on the wire, in files, in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Engine => "engine",
            Self::Route => "route",
            Self::Tenant => "tenant",
        }
    }

    /// The word for a collection of it, as in `/v1/routes`.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Listener => "listeners",
            Self::Engine => "engines",
            Self::Route => "routes",
            Self::Tenant => "tenants",
        }
    }
}

impl FromStr for Kind {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| {
            BadValue(format!(
                "\"{}\" is not a kind; use listener, engine, tenant or route",
                super::text::clip(s)
            ))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object: displayed as `route/asr`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique within the kind.
    pub name: Name,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// What an object says.
// Kept behind an Arc, by the thousand at most: a box for each route would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Spec {
    /// Of a listener.
    Listener(Listener),
    /// Of an engine.
    Engine(Engine),
    /// Of a route.
    Route(Route),
    /// Of a tenant.
    Tenant(Tenant),
}

impl Spec {
    /// The kind it belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Listener(_) => Kind::Listener,
            Self::Engine(_) => Kind::Engine,
            Self::Route(_) => Kind::Route,
            Self::Tenant(_) => Kind::Tenant,
        }
    }

    /// Reads the JSON form; pointers of errors are relative to the spec.
    pub fn from_json(kind: Kind, value: Value) -> Result<Self, Errors> {
        Ok(match kind {
            Kind::Listener => Self::Listener(deserr::deserialize(value)?),
            Kind::Engine => Self::Engine(deserr::deserialize(value)?),
            Kind::Route => Self::Route(deserr::deserialize(value)?),
            Kind::Tenant => Self::Tenant(deserr::deserialize(value)?),
        })
    }

    /// The JSON form, every default written out.
    pub fn to_json(&self) -> Value {
        // Only maps with non-text keys or failing Serialize impls can fail; a spec has neither.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// Free-form labels, for people and filters; proxies do not see them.
pub type Labels = BTreeMap<String, String>;

/// An object as it is declared: in a file, or in the body of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which object.
    pub key: Key,
    /// Its labels.
    pub labels: Labels,
    /// What it says.
    pub spec: Spec,
}

impl Object {
    /// The JSON form, as `export` writes it and `apply` reads it.
    pub fn to_json(&self) -> Value {
        let mut map = serde_json::Map::new();
        map.insert("kind".into(), self.key.kind.as_str().into());
        map.insert("name".into(), self.key.name.as_str().into());
        if !self.labels.is_empty() {
            map.insert("labels".into(), serde_json::json!(self.labels));
        }
        map.insert("spec".into(), self.spec.to_json());
        map.into()
    }
}

/// One version of an object's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The revision that wrote it.
    pub mod_revision: u64,
    /// What it says.
    pub spec: Arc<Spec>,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision it is the state of.
    pub revision: u64,
    /// Everything in it.
    pub objects: BTreeMap<Key, Versioned>,
}

impl Snapshot {
    /// The listeners, by name.
    pub fn listeners(&self) -> impl Iterator<Item = (&Name, &Listener)> {
        self.objects.iter().filter_map(|(k, v)| match &*v.spec {
            Spec::Listener(l) => Some((&k.name, l)),
            _ => None,
        })
    }

    /// Whether this listener takes raw connections.
    pub fn is_raw(&self, listener: &Name) -> bool {
        let key = Key { kind: Kind::Listener, name: listener.clone() };
        let spec = self.objects.get(&key).map(|versioned| &*versioned.spec);
        matches!(spec, Some(Spec::Listener(l)) if l.protocol == ListenerProtocol::Tcp)
    }

    /// The engines, by name.
    pub fn engines(&self) -> impl Iterator<Item = (&Name, &Engine)> {
        self.objects.iter().filter_map(|(k, v)| match &*v.spec {
            Spec::Engine(e) => Some((&k.name, e)),
            _ => None,
        })
    }

    /// The routes, by name.
    pub fn routes(&self) -> impl Iterator<Item = (&Name, &Route)> {
        self.objects.iter().filter_map(|(k, v)| match &*v.spec {
            Spec::Route(r) => Some((&k.name, r)),
            _ => None,
        })
    }

    /// The tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = (&Name, &Tenant)> {
        self.objects.iter().filter_map(|(k, v)| match &*v.spec {
            Spec::Tenant(t) => Some((&k.name, t)),
            _ => None,
        })
    }
}

/// Reads labels: at most 64, text to text, keys of 1 to 63 and values of up to 256 characters.
pub(super) fn labels_from_json(value: Option<&Value>) -> Result<Labels, Errors> {
    let mut errors = Errors::default();
    let map = match value {
        None | Some(Value::Null) => return Ok(Labels::new()),
        Some(Value::Object(map)) => map,
        Some(_) => {
            let message = "must be an object of text values, such as {\"team\": \"speech\"}";
            return Err(FieldError::new("/labels", code::WRONG_TYPE, message).into());
        }
    };
    if map.len() > 64 {
        errors.push(FieldError::new(
            "/labels",
            code::BAD_VALUE,
            "has more than 64 entries; remove some",
        ));
    }
    let mut labels = Labels::new();
    for (k, v) in map {
        let at = format!("/labels/{k}");
        match v.as_str() {
            None => errors.push(FieldError::new(at, code::WRONG_TYPE, "must be text; quote it")),
            Some(v) if k.is_empty() || k.len() > 63 || v.len() > 256 => {
                let message = "a label's name has 1 to 63 characters and its value up to 256";
                errors.push(FieldError::new(
                    format!("/labels/{}", super::text::clip(k)),
                    code::BAD_VALUE,
                    message,
                ));
                let _ = v;
            }
            Some(v) => {
                labels.insert(k.clone(), v.to_owned());
            }
        }
    }
    errors.into_result().map(|()| labels)
}
