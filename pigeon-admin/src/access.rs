//! Who may do what: roles, scopes, and the tokens that carry them. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pigeon_proto::model::{Key, KeyHash, Labels, Spec};
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{Changed, Stored};

/// What a token may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read everything but tokens.
    Viewer,
    /// Set endpoints to drain, and take that back.
    Operator,
    /// Write the configuration.
    Editor,
    /// Make and revoke tokens.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// How much.
    pub role: Role,
    /// Labels that an object must have, before and after, to be written; none = any object.
    pub scope: Labels,
}

impl Rights {
    /// Those of the admin token: everything.
    pub const ALL: Self = Self { role: Role::Admin, scope: Labels::new() };

    /// Why these rights do not allow a change, if so.
    pub fn forbid(&self, change: &Changed) -> Option<Forbidden> {
        if !change.is_change() {
            return None;
        }
        let needed = match (&change.before, &change.after) {
            (Some(before), Some(after)) if only_drains(before, after) => Role::Operator,
            _ => Role::Editor,
        };
        let key = change.key.clone();
        if self.role < needed {
            return Some(Forbidden::Role { key, has: self.role, needed });
        }
        let sides = [&change.before, &change.after];
        let outside = |side: &&Option<Arc<Stored>>| {
            side.as_ref().is_some_and(|stored| !self.covers(&stored.object.labels))
        };
        let scope = self.scope.clone();
        sides.iter().any(outside).then_some(Forbidden::Scope { key, scope })
    }

    fn covers(&self, labels: &Labels) -> bool {
        self.scope.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// Whether two states of an engine differ in which endpoints are set to drain, and in nothing else.
fn only_drains(before: &Stored, after: &Stored) -> bool {
    let (Spec::Engine(old), Spec::Engine(new)) = (&before.object.spec, &after.object.spec) else {
        return false;
    };
    let mut undone = new.clone();
    for (endpoint, was) in undone.endpoints.iter_mut().zip(&old.endpoints) {
        endpoint.drain = was.drain;
    }
    before.object.labels == after.object.labels && undone == *old
}

/// Why somebody may not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The role is too small.
    Role {
        /// For which object.
        key: Key,
        /// The role they have.
        has: Role,
        /// The least that would do.
        needed: Role,
    },
    /// The object is outside of the scope.
    Scope {
        /// Which object.
        key: Key,
        /// The labels it would need.
        scope: Labels,
    },
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { key, has, needed } => {
                write!(f, "to change {key} so needs the role {needed}; this token has {has}")
            }
            Self::Scope { key, scope } => {
                let scope = text_of(scope);
                write!(f, "{key} is outside of the token's scope, the objects labelled {scope}")
            }
        }
    }
}

/// `team=speech, env=prod`
pub fn text_of(scope: &Labels) -> String {
    let pairs: Vec<_> = scope.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(", ")
}

/// A token, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The middle of the token itself: tells which it is.
    pub id: String,
    /// The name that the history has for what is done with it; no two tokens have the same.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// Of the whole token.
    pub hash: KeyHash,
    /// When it was made, Unix time in milliseconds.
    pub created_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// From when on it is worth nothing, the same; none = never.
    pub expires_ms: Option<i64>,
    /// When it was used last, the same and to the minute; none = never.
    pub used_ms: Option<i64>,
}

impl Token {
    /// Whether it has expired by `now_ms`.
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }
}

/// All tokens there are but the first, which is a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(BTreeMap<String, Arc<Token>>);

impl FromIterator<Token> for Tokens {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        Self(tokens.into_iter().map(|token| (token.id.clone(), Arc::new(token))).collect())
    }
}

impl Tokens {
    /// The one that is presented, whether it has expired or not.
    pub fn find(&self, presented: &str) -> Option<&Arc<Token>> {
        let (id, _) = presented.strip_prefix("pgn_")?.split_once('_')?;
        let token = self.0.get(id)?;
        // Two hashes tell nothing of a secret, however long their comparison takes.
        (KeyHash::of(presented.as_bytes()) == token.hash).then_some(token)
    }

    /// The one of this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Token>> {
        self.0.get(id)
    }

    /// The one of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Token>> {
        self.iter().find(|token| token.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
