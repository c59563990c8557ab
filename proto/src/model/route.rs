//! Routes: which calls go to which engine.

use deserr::Deserr;
use serde::Serialize;

use super::error::Errors;
use super::matching::Match;
use super::text::{Millis, Name};

/// Sends the calls it matches to an engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Route {
    /// Which calls.
    #[deserr(default)]
    #[serde(rename = "match")]
    #[deserr(rename = "match")]
    pub matches: Match,
    /// Name of the engine.
    pub engine: Name,
    /// Between routes that match equally well the higher wins (default 0).
    #[deserr(default)]
    pub priority: i32,
    /// Longest time a call may take, waiting included; the caller's own deadline counts too.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}
