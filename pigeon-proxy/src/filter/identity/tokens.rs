//! Tokens (JWT) of the issuers that a listener believes: whose they are.
//!
//! What costs little comes first. A signature is verified only of a token that would hold if it were right,
//! only once while it is remembered, and only so often for each source of bad ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use pigeon_proto::model::{Jwt, Name, Rate, RateUnit, Snapshot};
use serde_json::{Map, Value};

use super::keys::NotMade;
use super::remembered::{Fault, Print, Remembered, Verified};
use super::source::KeySource;
use super::token::Token;
use super::{How, Identity, refusal, refuse};
use crate::filter::Asked;
use crate::limit::{Rule, Sources, source};
use crate::reject::{Lack, Rejection};

/// Bad signatures of one source: so many at once, and so many a second.
const BAD_AT_ONCE: u32 = 200;
const BAD: Rate = Rate { calls: 100, unit: RateUnit::Second };

/// Whose tokens are believed, and which were seen.
#[derive(Debug)]
pub(super) struct Tokens {
    issuers: HashMap<Name, Vec<Issuer>>,
    /// By issuer and subject.
    subjects: HashMap<(String, String), Name>,
    tenants: BTreeSet<Name>,
    /// The claims that routes ask for.
    asked: BTreeSet<String>,
    remembered: Remembered,
    bad: Arc<Bad>,
}

#[derive(Debug)]
struct Issuer {
    jwt: Jwt,
    name: Arc<str>,
    source: Arc<KeySource>,
}

/// Bad signatures, by whom they came from.
#[derive(Debug)]
struct Bad {
    start: Instant,
    rule: Rule,
    sources: Sources,
}

impl Tokens {
    /// Those of `snapshot`, none if no listener believes any. Sources of keys live on.
    pub(super) fn compile(
        snapshot: &Snapshot,
        before: Option<&Self>,
        now: Instant,
    ) -> Option<Self> {
        let mut sources: Vec<Arc<KeySource>> = Vec::new();
        let mut source_of = |jwt: &Jwt| {
            let known = sources.iter().find(|source| source.is_of(jwt)).cloned();
            let source = known.or_else(|| before?.source_of(jwt));
            let source = source.unwrap_or_else(|| Arc::new(KeySource::new(jwt)));
            sources.push(Arc::clone(&source));
            source
        };
        let mut issuer = |jwt: &Jwt| Issuer {
            jwt: jwt.clone(),
            name: jwt.issuer.as_str().into(),
            source: source_of(jwt),
        };
        let believing = snapshot.listeners().filter(|(_, listener)| !listener.jwt.is_empty());
        let issuers: HashMap<_, Vec<_>> = believing
            .map(|(name, l)| (name.clone(), l.jwt.iter().map(&mut issuer).collect()))
            .collect();
        if issuers.is_empty() {
            return None;
        }
        let of_tenant = |(name, tenant): (&Name, &pigeon_proto::model::Tenant)| {
            let name = name.clone();
            let pair = move |s: &pigeon_proto::model::TokenSubject| {
                ((s.issuer.clone(), s.subject.clone()), name.clone())
            };
            tenant.subjects.iter().map(pair).collect::<Vec<_>>()
        };
        Some(Self {
            issuers,
            subjects: snapshot.tenants().flat_map(of_tenant).collect(),
            tenants: snapshot.tenants().map(|(name, _)| name.clone()).collect(),
            asked: claims_asked_for(snapshot),
            remembered: Remembered::default(),
            bad: before.map_or_else(|| Arc::new(Bad::new(now)), |b| Arc::clone(&b.bad)),
        })
    }

    /// Whether `snapshot` believes the same issuers and asks for the same claims.
    pub(super) fn are_of(before: Option<&Self>, snapshot: &Snapshot) -> bool {
        let listeners = snapshot.listeners().filter(|(_, listener)| !listener.jwt.is_empty());
        let Some(before) = before else { return listeners.count() == 0 };
        let believed: Vec<_> = listeners.collect();
        believed.len() == before.issuers.len()
            && believed.iter().all(|(name, listener)| {
                let known = before.issuers.get(*name).into_iter().flatten().map(|i| &i.jwt);
                known.eq(&listener.jwt)
            })
            && before.asked == claims_asked_for(snapshot)
    }

    /// Every source of keys, each once.
    pub(super) fn sources(&self) -> Vec<Arc<KeySource>> {
        let mut sources: Vec<_> =
            self.issuers.values().flatten().map(|i| Arc::clone(&i.source)).collect();
        sources.sort_by(|a, b| (&a.location, &a.ca).cmp(&(&b.location, &b.ca)));
        sources.dedup_by(|a, b| Arc::ptr_eq(a, b));
        sources
    }

    fn source_of(&self, jwt: &Jwt) -> Option<Arc<KeySource>> {
        self.issuers.values().flatten().map(|i| &i.source).find(|s| s.is_of(jwt)).cloned()
    }

    /// Whose token it is; `now` in Unix seconds.
    ///
    /// # Errors
    /// It is not good, or that cannot be told now.
    pub(super) fn check(
        &self,
        asked: &Asked<'_>,
        token: &[u8],
        now: u64,
    ) -> Result<Arc<Verified>, Rejection> {
        let Some(issuers) = self.issuers.get(asked.listener) else {
            return refuse("the listener believes no issuer of tokens", Lack::NotValid);
        };
        if (asked.repeated)("authorization") {
            // The engine may look at the other one.
            return refuse("there is more than one authorization", Lack::NotValid);
        }
        if token.len() > Token::LONGEST {
            return refuse("the token is too long", Lack::NotValid);
        }
        let print = Print::of(asked.listener, token);
        if let Some(known) = self.remembered.good(&print) {
            let current = issuers.get(known.issuer).map(|issuer| issuer.source.generation());
            if known.until > now && current == Some(known.generation) {
                return Ok(known);
            }
        }
        self.verify(issuers, asked, token, print, now)
    }

    fn verify(
        &self,
        issuers: &[Issuer],
        asked: &Asked<'_>,
        token: &[u8],
        print: Print,
        now: u64,
    ) -> Result<Arc<Verified>, Rejection> {
        let not_valid = |why: &'static str| refusal(why, Lack::NotValid);
        let token = Token::read(token).map_err(not_valid)?;
        let at = issuers.iter().position(|i| token.issuer() == Some(&i.jwt.issuer));
        let Some((at, issuer)) = at.and_then(|at| Some((at, issuers.get(at)?))) else {
            return refuse("the token is of nobody this listener believes (iss)", Lack::NotValid);
        };
        let until = token.holds(&issuer.jwt, now).map_err(not_valid)?;
        let subject = token.subject().map_err(not_valid)?;
        let Some(held) = issuer.source.held() else {
            tracing::debug!(jwks = %issuer.source.location, "there are no keys to check tokens with yet");
            return Err(Rejection::NoKeys);
        };
        let fault = self.remembered.bad(&print);
        if fault == Some(Fault::Forged(held.generation)) {
            return refuse("the token's signature is wrong", Lack::NotValid);
        }
        self.bad.allows(asked)?;
        let kid = token.kid.as_deref();
        match held.keys.made(token.alg, kid, token.signed, &token.signature) {
            Ok(()) => {}
            Err(NotMade::Wrong) => {
                self.bad.count(asked);
                self.remembered.note(print, Fault::Forged(held.generation));
                if kid.is_none() {
                    // Where keys have no names a new one looks like this, too.
                    issuer.source.miss();
                }
                return refuse("the token's signature is wrong", Lack::NotValid);
            }
            Err(NotMade::Unknown) => return self.unknown(issuer, print, fault),
        }
        let verified = Arc::new(Verified {
            identity: self.identity(issuer, subject, &token.claims),
            claims: self.kept(token.claims),
            until,
            issuer: at,
            generation: held.generation,
        });
        self.remembered.keep(print, Arc::clone(&verified), now);
        Ok(verified)
    }

    /// The token names a key that is not there. It may be new: that is not known before the source was looked
    /// at once more.
    fn unknown<T>(
        &self,
        issuer: &Issuer,
        print: Print,
        fault: Option<Fault>,
    ) -> Result<T, Rejection> {
        let look = issuer.source.miss();
        let missed = match fault {
            Some(Fault::Unknown(look)) => look,
            _ => {
                self.remembered.note(print, Fault::Unknown(look));
                look
            }
        };
        if issuer.source.has_looked_since(missed) {
            return refuse("the token's key is none of the issuer's (kid)", Lack::NotValid);
        }
        tracing::debug!(jwks = %issuer.source.location, "a token names a key that is not known yet");
        Err(Rejection::NoKeys)
    }

    /// Who calls: the tenant that lists the subject, or the one the token names, if there is one.
    fn identity(
        &self,
        issuer: &Issuer,
        subject: &str,
        claims: &Map<String, Value>,
    ) -> Arc<Identity> {
        let listed = self.subjects.get(&(issuer.jwt.issuer.clone(), subject.to_owned()));
        let named = || {
            let name = claims.get(issuer.jwt.tenant_claim.as_ref()?)?.as_str()?.parse().ok()?;
            self.tenants.get::<Name>(&name)
        };
        let tenant = listed.or_else(named).cloned();
        Identity::new(tenant, subject, How::Jwt { issuer: Arc::clone(&issuer.name) })
    }

    fn kept(&self, claims: Map<String, Value>) -> Box<[(String, Value)]> {
        claims.into_iter().filter(|(name, _)| self.asked.contains(name)).collect()
    }
}

impl Bad {
    fn new(start: Instant) -> Self {
        Self { start, rule: Rule::new(BAD, BAD_AT_ONCE), sources: Sources::default() }
    }

    fn now(&self, asked: &Asked<'_>) -> u64 {
        let since = asked.now.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a signature may be verified that came from there.
    fn allows(&self, asked: &Asked<'_>) -> Result<(), Rejection> {
        let retry = self.sources.wait(source(asked.peer), &self.rule, self.now(asked));
        if retry.is_zero() { Ok(()) } else { Err(Rejection::RateLimited { retry }) }
    }

    fn count(&self, asked: &Asked<'_>) {
        // An error says that another call of the source was faster.
        let _ = self.sources.take(source(asked.peer), &self.rule, self.now(asked));
    }
}

fn claims_asked_for(snapshot: &Snapshot) -> BTreeSet<String> {
    let auths = snapshot.routes().filter_map(|(_, route)| route.auth.as_ref());
    auths.flat_map(|auth| auth.claims.keys().cloned()).collect()
}

#[cfg(test)]
pub(super) mod signer;
#[cfg(test)]
mod tests;
