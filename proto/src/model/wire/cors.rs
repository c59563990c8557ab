//! The wire form of what browsers may do.

use super::super::cors::check;
use super::super::error::Errors;
use super::super::{Cors, Millis};
use super::{at, checked};
use crate::v1;

impl From<&Cors> for v1::Cors {
    fn from(c: &Cors) -> Self {
        Self {
            origins: c.origins.iter().map(ToString::to_string).collect(),
            headers: c.headers.clone(),
            expose: c.expose.clone(),
            max_age_ms: c.max_age.as_ms(),
            credentials: c.credentials,
        }
    }
}

pub(super) fn wire_cors(w: v1::Cors) -> Result<Cors, Errors> {
    let mut errors = Errors::default();
    let origins = w.origins.iter().enumerate();
    let origins =
        origins.filter_map(|(i, o)| at(&mut errors, &format!("/cors/origins/{i}"), o.parse()));
    let origins = origins.collect();
    errors.into_result()?;
    let value = Cors {
        origins,
        headers: w.headers,
        expose: w.expose,
        max_age: Millis::new(w.max_age_ms),
        credentials: w.credentials,
    };
    checked(value, "/cors", check)
}
