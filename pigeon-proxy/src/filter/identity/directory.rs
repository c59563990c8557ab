//! Everybody the configuration knows, found by what they show.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use pigeon_proto::model::{KeyHash, Name, Snapshot, Tenant};

use super::remembered::Verified;
use super::tokens::Tokens;
use super::{How, Identity, KeySource, credential, refuse};
use crate::filter::{Asked, Certificate};
use crate::reject::{Lack, Rejection};

/// The callers of a configuration. Lives on while what it was made from stays the same.
#[derive(Debug, Default)]
pub struct Directory {
    tenants: BTreeMap<Name, Tenant>,
    keys: HashMap<String, Key>,
    /// By subject or name.
    certificates: HashMap<String, Name>,
    /// None if no listener believes tokens.
    tokens: Option<Tokens>,
}

#[derive(Debug)]
struct Key {
    hash: KeyHash,
    /// Unix seconds.
    expires: Option<u64>,
    identity: Arc<Identity>,
}

impl Directory {
    /// The callers of `snapshot`: those `before`, if they are the same.
    pub fn compile(snapshot: &Snapshot, before: Option<&Arc<Self>>, now: Instant) -> Arc<Self> {
        if let Some(before) = before
            && before.tenants.iter().eq(snapshot.tenants())
            && Tokens::are_of(before.tokens.as_ref(), snapshot)
        {
            return Arc::clone(before);
        }
        let before = before.and_then(|before| before.tokens.as_ref());
        let tokens = Tokens::compile(snapshot, before, now);
        let mut directory = Self { tokens, ..Self::default() };
        for (name, tenant) in snapshot.tenants() {
            directory.tenants.insert(name.clone(), tenant.clone());
            for key in &tenant.keys {
                let identity = Identity::new(Some(name.clone()), key.id.as_str(), How::ApiKey);
                let expires = key.expires.map(pigeon_proto::model::Time::unix);
                let known = Key { hash: key.sha256, expires, identity };
                directory.keys.insert(key.id.to_string(), known);
            }
            let certificates = tenant.certificates.iter();
            directory.certificates.extend(certificates.map(|c| (c.to_string(), name.clone())));
        }
        Arc::new(directory)
    }

    /// Whose key it is. Hashing comes first and takes no longer for one that is known; what an id is worth
    /// without its secret, everybody may know.
    pub(super) fn of_key(&self, key: &[u8], now: u64) -> Result<Arc<Identity>, Rejection> {
        let Some(id) = credential::id_of(key) else {
            return refuse("the key is malformed", Lack::NotValid);
        };
        let hash = KeyHash::of(key);
        let Some(known) = self.keys.get(id) else {
            return refuse("there is no key of this id", Lack::NotValid);
        };
        if !same(&known.hash, &hash) {
            return refuse("the key's secret is not that of its id", Lack::NotValid);
        }
        if known.expires.is_some_and(|expires| expires <= now) {
            return refuse("the key has expired", Lack::NotValid);
        }
        Ok(Arc::clone(&known.identity))
    }

    /// Whose token it is; `now` in Unix seconds.
    pub(super) fn of_token(
        &self,
        asked: &Asked<'_>,
        token: &[u8],
        now: u64,
    ) -> Result<Arc<Verified>, Rejection> {
        match &self.tokens {
            Some(tokens) => tokens.check(asked, token, now),
            None => refuse("no listener believes any issuer of tokens", Lack::NotValid),
        }
    }

    /// Where the keys are that tokens are checked with.
    pub fn key_sources(&self) -> Vec<Arc<KeySource>> {
        self.tokens.as_ref().map(Tokens::sources).unwrap_or_default()
    }

    /// Whose certificate it is; it was verified when the connection was opened.
    pub(super) fn of_certificate(&self, certificate: &Certificate) -> Arc<Identity> {
        let mut shown = std::iter::once(&certificate.subject).chain(&certificate.names);
        let tenant = shown.find_map(|name| self.certificates.get(name));
        Identity::new(tenant.cloned(), &certificate.subject, How::Certificate)
    }
}

/// Takes the same time wherever they differ.
fn same(a: &KeyHash, b: &KeyHash) -> bool {
    a.0.iter().zip(&b.0).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b))) == 0
}
