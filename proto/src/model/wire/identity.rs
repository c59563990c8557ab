//! The wire form of who may call: tenants, and what routes and listeners say of callers.

use super::super::error::{BadValue, Errors};
use super::super::{
    ApiKey, Auth, AuthMethod, Jwt, KeyHash, Tenant, Time, TokenSubject, auth, tenant,
};
use super::{at, checked, unknown};
use crate::v1;

impl From<&Tenant> for v1::Tenant {
    fn from(t: &Tenant) -> Self {
        let key = |k: &ApiKey| v1::ApiKey {
            id: k.id.to_string(),
            sha256: bytes::Bytes::copy_from_slice(&k.sha256.0),
            expires: k.expires.map(Time::unix),
        };
        let subject = |s: &TokenSubject| v1::TokenSubject {
            issuer: s.issuer.clone(),
            subject: s.subject.clone(),
        };
        Self {
            keys: t.keys.iter().map(key).collect(),
            certificates: t.certificates.iter().map(ToString::to_string).collect(),
            subjects: t.subjects.iter().map(subject).collect(),
        }
    }
}

impl TryFrom<v1::Tenant> for Tenant {
    type Error = Errors;

    fn try_from(w: v1::Tenant) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let keys = w.keys.into_iter().enumerate();
        let keys = keys.filter_map(|(i, k)| errors.keep(wire_key(&k, &format!("/keys/{i}"))));
        let keys = keys.collect();
        let certificates = w.certificates.iter().enumerate();
        let certificates = certificates
            .filter_map(|(i, c)| at(&mut errors, &format!("/certificates/{i}"), c.parse()))
            .collect();
        let subjects = w.subjects.into_iter().enumerate();
        let subjects = subjects
            .filter_map(|(i, v1::TokenSubject { issuer, subject })| {
                let value = TokenSubject { issuer, subject };
                errors.keep(checked(value, &format!("/subjects/{i}"), tenant::check_subject))
            })
            .collect();
        errors.into_result()?;
        checked(Self { keys, certificates, subjects }, "", tenant::check)
    }
}

fn wire_key(w: &v1::ApiKey, prefix: &str) -> Result<ApiKey, Errors> {
    let mut errors = Errors::default();
    let id = at(&mut errors, &format!("{prefix}/id"), w.id.parse());
    let hash = <[u8; 32]>::try_from(&w.sha256[..]);
    let hash = hash.map_err(|_| BadValue(format!("has {} bytes, not 32", w.sha256.len())));
    let hash = at(&mut errors, &format!("{prefix}/sha256"), hash);
    match (id, hash) {
        (Some(id), Some(hash)) => {
            Ok(ApiKey { id, sha256: KeyHash(hash), expires: w.expires.map(Time::from_unix) })
        }
        _ => Err(errors),
    }
}

impl From<&Auth> for v1::Auth {
    fn from(a: &Auth) -> Self {
        let method = |m: &AuthMethod| match m {
            AuthMethod::ApiKey => v1::auth::Method::ApiKey.into(),
            AuthMethod::Jwt => v1::auth::Method::Jwt.into(),
            AuthMethod::Certificate => v1::auth::Method::Certificate.into(),
        };
        Self {
            methods: a.methods.iter().map(method).collect(),
            tenants: a.tenants.iter().map(ToString::to_string).collect(),
            claims: a.claims.clone().into_iter().collect(),
        }
    }
}

pub(super) fn auth(w: v1::Auth) -> Result<Auth, Errors> {
    let mut errors = Errors::default();
    let methods = w.methods.iter().enumerate();
    let methods = methods.filter_map(|(i, m)| errors.keep(wire_method(*m, i))).collect();
    let tenants = w.tenants.iter().enumerate();
    let tenants = tenants
        .filter_map(|(i, t)| at(&mut errors, &format!("/auth/tenants/{i}"), t.parse()))
        .collect();
    errors.into_result()?;
    let value = Auth { methods, tenants, claims: w.claims.into_iter().collect() };
    checked(value, "/auth", auth::check)
}

fn wire_method(number: i32, i: usize) -> Result<AuthMethod, Errors> {
    match v1::auth::Method::try_from(number) {
        Ok(v1::auth::Method::ApiKey) => Ok(AuthMethod::ApiKey),
        Ok(v1::auth::Method::Jwt) => Ok(AuthMethod::Jwt),
        Ok(v1::auth::Method::Certificate) => Ok(AuthMethod::Certificate),
        Ok(v1::auth::Method::Unspecified) | Err(_) => {
            Err(unknown(&format!("/auth/methods/{i}"), number))
        }
    }
}

impl From<&Jwt> for v1::Jwt {
    fn from(j: &Jwt) -> Self {
        Self {
            issuer: j.issuer.clone(),
            audiences: j.audiences.clone(),
            jwks: j.jwks.to_string(),
            tenant_claim: j.tenant_claim.clone().unwrap_or_default(),
            ca: j.ca.clone().unwrap_or_default(),
        }
    }
}

pub(super) fn jwt(w: v1::Jwt, prefix: &str) -> Result<Jwt, Errors> {
    let mut errors = Errors::default();
    let jwks = at(&mut errors, &format!("{prefix}/jwks"), w.jwks.parse());
    let Some(jwks) = jwks else { return Err(errors) };
    let some = |s: String| (!s.is_empty()).then_some(s);
    let value = Jwt {
        issuer: w.issuer,
        audiences: w.audiences,
        jwks,
        tenant_claim: some(w.tenant_claim),
        ca: some(w.ca),
    };
    checked(value, prefix, auth::check_jwt)
}
