//! Who calls: what a route asks of its callers, and what their credentials say. Pure: the call's head, its
//! client and the clock are arguments.
//!
//! A route without `auth` looks at no credential: bad ones do not matter there, and good ones neither.

pub mod credential;
mod directory;
mod keys;
mod remembered;
mod source;
mod token;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pigeon_proto::model::{Auth, AuthMethod, Name};

pub use self::directory::Directory;
pub use self::keys::{KeySet, LARGEST};
pub use self::source::{KeySource, Looked, ShownKeys};
use super::Asked;
use crate::reject::{Lack, Rejection};

/// Who calls, once it is certain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The tenant, if the credential is one's.
    pub tenant: Option<Name>,
    /// The id of the key, the subject of the token or the certificate.
    pub subject: String,
    /// How the call showed it.
    pub how: How,
    /// The subject, as engines are told it.
    header: String,
}

/// How a call showed who makes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// By an API key.
    ApiKey,
    /// By a token of this issuer.
    Jwt {
        /// `iss`.
        issuer: Arc<str>,
    },
    /// By the certificate of its connection.
    Certificate,
}

impl Identity {
    pub(super) fn new(tenant: Option<Name>, subject: &str, how: How) -> Arc<Self> {
        let header = escaped(subject);
        Arc::new(Self { tenant, subject: subject.to_owned(), how, header })
    }

    /// What engines are told: header names and values, each a valid one.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let how = match self.how {
            How::ApiKey => AuthMethod::ApiKey,
            How::Jwt { .. } => AuthMethod::Jwt,
            How::Certificate => AuthMethod::Certificate,
        };
        let tenant = self.tenant.as_ref().map(|tenant| ("pigeon-tenant", tenant.as_str()));
        let rest = [("pigeon-subject", self.header.as_str()), ("pigeon-auth", how.as_str())];
        tenant.into_iter().chain(rest)
    }
}

/// A subject as a header's value: what is not printable ASCII, and the percent sign, as `%XX`.
fn escaped(subject: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(subject.len());
    let edge = subject.len().saturating_sub(1);
    for (at, byte) in subject.bytes().enumerate() {
        let space = byte == b' ' && at != 0 && at != edge;
        if (byte.is_ascii_graphic() && byte != b'%') || space {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// What a route asks of its callers.
#[derive(Debug)]
pub(super) struct Gate {
    methods: Vec<AuthMethod>,
    tenants: BTreeSet<Name>,
    /// What tokens must say.
    claims: BTreeMap<String, String>,
    directory: Arc<Directory>,
}

impl Gate {
    pub(super) fn new(auth: &Auth, directory: &Arc<Directory>) -> Self {
        Self {
            methods: auth.methods.clone(),
            tenants: auth.tenants.iter().cloned().collect(),
            claims: auth.claims.clone(),
            directory: Arc::clone(directory),
        }
    }

    /// Whether keys are for this gateway, and no business of the engine.
    pub(super) fn takes_keys(&self) -> bool {
        self.methods.contains(&AuthMethod::ApiKey)
    }

    /// Who calls.
    ///
    /// # Errors
    /// The call does not say, not believably, or it is somebody who may not.
    pub(super) fn run(&self, asked: &Asked<'_>) -> Result<Arc<Identity>, Rejection> {
        let identity = self.identify(asked)?;
        let may = identity.tenant.as_ref().is_some_and(|tenant| self.tenants.contains(tenant));
        if !may && !self.tenants.is_empty() {
            tracing::debug!(tenant = ?identity.tenant.as_ref().map(Name::as_str), "a caller is none of the route's tenants");
            return Err(Rejection::Forbidden);
        }
        Ok(identity)
    }

    /// The first credential of the route's methods that the call brings decides, whatever else it brings.
    fn identify(&self, asked: &Asked<'_>) -> Result<Arc<Identity>, Rejection> {
        let now = unix((asked.wall)());
        for method in &self.methods {
            match method {
                AuthMethod::ApiKey => {
                    if let Some(key) = credential::key(asked.header) {
                        return self.directory.of_key(key, now);
                    }
                }
                AuthMethod::Jwt => {
                    if let Some(token) = credential::token(asked.header) {
                        return self.of_token(asked, token, now);
                    }
                }
                AuthMethod::Certificate => {
                    if let Some(certificate) = asked.certificate {
                        return Ok(self.directory.of_certificate(certificate));
                    }
                }
            }
        }
        refuse("there is no credential", Lack::Missing)
    }

    fn of_token(
        &self,
        asked: &Asked<'_>,
        token: &[u8],
        now: u64,
    ) -> Result<Arc<Identity>, Rejection> {
        let verified = self.directory.of_token(asked, token, now)?;
        let lacks =
            |(name, wanted): &(&String, &String)| !token::says(&verified.claims, name, wanted);
        match self.claims.iter().find(lacks) {
            Some((claim, _)) => Err(Rejection::Lacks { claim: claim.clone() }),
            None => Ok(Arc::clone(&verified.identity)),
        }
    }
}

/// Says in the log why; callers learn no more than `lack`.
fn refuse<T>(why: &str, lack: Lack) -> Result<T, Rejection> {
    Err(refusal(why, lack))
}

/// See [`refuse`].
fn refusal(why: &str, lack: Lack) -> Rejection {
    tracing::debug!(why, "a caller is not known");
    Rejection::Unauthenticated(lack)
}

/// Seconds after 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
