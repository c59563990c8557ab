//! `POST /v1/route-tests`: which route takes a call, and why not the others. [`explain`] decides as the
//! proxies do, on the same configuration; it is pure.

mod call;

use std::cmp::Reverse;

use axum::extract::{Request, State};
use axum::response::Response;
use pigeon_proto::model::{HostPattern, Key, Kind, Match, Name, PathPattern, Route, Spec};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use call::{Call, Target};

use super::error::Problem;
use super::types::{Representation, RouteObject};
use super::{ApiState, body, query, write};

/// How many other routes an answer tells of.
const MOST_CONSIDERED: usize = 50;

/// The calls of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(test))
}

/// A call that might come in.
#[allow(dead_code)] // The schema only; the body is read field by field, for better errors.
#[derive(ToSchema)]
pub struct RouteTest {
    /// The listener it comes in on; without it, routes of one listener do not match.
    #[schema(required = false)]
    listener: String,
    /// The host it is for, without scheme; without it, routes of a host do not match.
    #[schema(required = false, example = "asr.example.com")]
    host: String,
    /// The method of a gRPC call. Excludes `path` and `method`; one of `grpc` and `path` is needed.
    #[schema(required = false, example = "speech.v1.Recognizer/Recognize")]
    grpc: String,
    /// The path of an HTTP call.
    #[schema(required = false, example = "/users/7")]
    path: String,
    /// The method of an HTTP call: GET unless given.
    #[schema(required = false, example = "GET")]
    method: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "match")]
    matched: Option<Representation<'a>>,
    reason: String,
    considered: Vec<Considered>,
}

/// Which route takes a call, and why.
#[allow(dead_code)] // The schema of `Answer`.
#[derive(ToSchema)]
pub struct RouteTestAnswer {
    /// The route that takes it; null if none does.
    #[schema(required = true)]
    r#match: Option<RouteObject>,
    /// Why this one, or why none.
    reason: String,
    /// Other routes: first those that match too, then those that nearly do; at most 50.
    considered: Vec<Considered>,
}

/// A route that does not take a call.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Considered {
    /// Its name.
    name: String,
    /// Why not.
    why: String,
}

/// Explain a match
///
/// Tells which route takes a call, by the rules the proxies follow, and why others do not.
#[utoipa::path(post, path = "/v1/route-tests", operation_id = "test_route", tag = "routes", request_body = RouteTest,
    responses((status = 200, description = "Which route takes it", body = RouteTestAnswer)))]
async fn test(State(api): State<ApiState>, request: Request) -> Result<Response, Problem> {
    query::none(request.uri())?;
    let call = Call::from_json(body::json(request, &[body::JSON]).await?)?;
    let view = api.app().catalog.view();
    let routes = super::objects::of_kind(&view, Kind::Route);
    let verdict = explain(
        &call,
        routes.filter_map(|s| match &s.object.spec {
            Spec::Route(route) => Some((&s.object.key.name, route)),
            _ => None,
        }),
    );
    let winner = verdict.winner.map(|name| Key { kind: Kind::Route, name: name.clone() });
    let stored = winner.and_then(|key| view.objects.get(&key));
    let matched = stored.map(|s| Representation::of(s, &Default::default()));
    let Verdict { reason, considered, .. } = verdict;
    Ok(write::read(view.revision, &Answer { matched, reason, considered }, None))
}

/// What [`explain`] found.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The route that takes the call.
    pub winner: Option<&'a Name>,
    /// Why this one, or why none.
    pub reason: String,
    /// Others, and why not they.
    pub considered: Vec<Considered>,
}

/// How well a route fits a call: of two that match, the greater takes it.
type Rank = ((u8, usize), (u8, usize), bool, bool, i32);

/// Finds the route that takes `call`. The order: host (exact, longest suffix, none); then gRPC method,
/// gRPC service, exact path, longest prefix, none; then methods set; then listener set; then priority.
pub fn explain<'a>(
    call: &Call,
    routes: impl Iterator<Item = (&'a Name, &'a Route)>,
) -> Verdict<'a> {
    let (mut matching, mut near, mut all) = (Vec::new(), Vec::new(), 0_usize);
    for (name, route) in routes {
        all += 1;
        let Fit { held, failed } = fit(call, &route.matches);
        match failed.as_slice() {
            [] => matching.push((name, route, rank(route))),
            [why] => near.push((held, name, why.clone())),
            _ => {}
        }
    }
    // Names decide between equals, so that the answer is at least always the same.
    matching.sort_by_key(|(name, _, rank)| (Reverse(*rank), *name));
    near.sort_by_key(|(held, name, _)| (Reverse(*held), *name));
    let mut considered = Vec::new();
    if let Some((winner, best, _)) = matching.first() {
        for (name, route, _) in &matching[1..] {
            let why = format!("matches too, but {}", lost(route, winner, best));
            considered.push(Considered { name: name.to_string(), why });
        }
    }
    considered.extend(near.into_iter().map(|(_, n, why)| Considered { name: n.to_string(), why }));
    let reason = match matching.as_slice() {
        [] if all == 0 => "there are no routes yet".to_owned(),
        [] => format!("none of the {all} routes matches {call}"),
        [(name, route, _)] => {
            format!("only route \"{name}\" matches: {}", in_words(&route.matches))
        }
        [(name, route, _), rest @ ..] => format!(
            "route \"{name}\" matches best of {}: {}",
            rest.len() + 1,
            in_words(&route.matches)
        ),
    };
    considered.truncate(MOST_CONSIDERED);
    Verdict { winner: matching.first().map(|(name, _, _)| *name), reason, considered }
}

/// How the conditions of a route hold for a call.
struct Fit {
    held: usize,
    failed: Vec<String>,
}

fn fit(call: &Call, m: &Match) -> Fit {
    let mut fit = Fit { held: 0, failed: Vec::new() };
    let mut check = |holds: bool, why: String| match holds {
        true => fit.held += 1,
        false => fit.failed.push(why),
    };
    if let Some(wanted) = &m.host {
        let is =
            call.host.as_ref().map_or("the call names none".to_owned(), |h| format!("not {h}"));
        check(
            call.host.as_ref().is_some_and(|h| host_holds(wanted, h)),
            format!("only for host {wanted}, {is}"),
        );
    }
    if let Some(wanted) = &m.listener {
        let is =
            call.listener.as_ref().map_or("the call names none".to_owned(), |l| format!("not {l}"));
        check(call.listener.as_ref() == Some(wanted), format!("only on listener {wanted}, {is}"));
    }
    if let Some(wanted) = &m.grpc {
        let (holds, is) = match &call.target {
            Target::Grpc(t) => {
                let same = wanted.service == t.service;
                (same && (wanted.method.is_none() || wanted.method == t.method), format!("not {t}"))
            }
            Target::Http { .. } => (false, "and this is no gRPC call".to_owned()),
        };
        check(holds, format!("only for gRPC {wanted}, {is}"));
    }
    if let Some(wanted) = &m.path {
        let path = call.path();
        check(path_holds(wanted, &path), format!("only for path {wanted}, not {path}"));
    }
    if !m.methods.is_empty() {
        let method = call.method();
        let wanted: Vec<_> = m.methods.iter().map(ToString::to_string).collect();
        let holds = wanted.iter().any(|w| w == method);
        check(holds, format!("only for method {}, not {method}", wanted.join(" or ")));
    }
    fit
}

fn host_holds(wanted: &HostPattern, host: &str) -> bool {
    match wanted {
        HostPattern::Exact(exact) => exact == host,
        HostPattern::Suffix(suffix) => host
            .strip_suffix(suffix.as_str())
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
    }
}

fn path_holds(wanted: &PathPattern, path: &str) -> bool {
    match wanted {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => path
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn rank(route: &Route) -> Rank {
    let m = &route.matches;
    let host = match &m.host {
        Some(HostPattern::Exact(_)) => (2, 0),
        Some(HostPattern::Suffix(s)) => (1, s.len()),
        None => (0, 0),
    };
    let target = match (&m.grpc, &m.path) {
        (Some(grpc), _) if grpc.method.is_some() => (4, 0),
        (Some(_), _) => (3, 0),
        (None, Some(PathPattern::Exact(_))) => (2, 0),
        (None, Some(PathPattern::Prefix(p))) => (1, p.len()),
        (None, None) => (0, 0),
    };
    (host, target, !m.methods.is_empty(), m.listener.is_some(), route.priority)
}

/// What decided against `route`, for the route `best` named `winner`: the first thing in which they differ.
fn lost(route: &Route, winner: &Name, best: &Route) -> String {
    let (mine, theirs) = (rank(route), rank(best));
    let m = &best.matches;
    let text = |x: Option<String>| x.unwrap_or_default();
    if mine.0 != theirs.0 {
        format!(
            "the host {} of \"{winner}\" is closer",
            text(m.host.as_ref().map(|h| h.to_string()))
        )
    } else if mine.1 != theirs.1 {
        let target = m.grpc.as_ref().map(|g| format!("gRPC {g}"));
        let target = target.or_else(|| m.path.as_ref().map(|p| format!("path {p}")));
        format!("{} of \"{winner}\" is closer", text(target))
    } else if mine.2 != theirs.2 {
        format!("\"{winner}\" names the method")
    } else if mine.3 != theirs.3 {
        format!("\"{winner}\" names the listener")
    } else if mine.4 != theirs.4 {
        format!("\"{winner}\" has the priority {}, not {}", best.priority, route.priority)
    } else {
        format!("\"{winner}\" comes first by name")
    }
}

fn in_words(m: &Match) -> String {
    let mut parts = Vec::new();
    if let Some(host) = &m.host {
        parts.push(format!("host {host}"));
    }
    if let Some(grpc) = &m.grpc {
        parts.push(format!("gRPC {grpc}"));
    }
    if let Some(path) = &m.path {
        parts.push(format!("path {path}"));
    }
    if !m.methods.is_empty() {
        let methods: Vec<_> = m.methods.iter().map(ToString::to_string).collect();
        parts.push(format!("method {}", methods.join(" or ")));
    }
    if let Some(listener) = &m.listener {
        parts.push(format!("listener {listener}"));
    }
    if parts.is_empty() { "it takes every call".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests;
