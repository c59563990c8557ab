//! The wire form of routes.

use super::super::error::Errors;
use super::super::retry::check_retry;
use super::super::{
    HeaderEdits, Limit, Match, Millis, Retry, Rewrite, Route, Shadow, Split, limit, matching, route,
};
use super::cors::wire_cors;
use super::own::{from_wire, to_wire, wire_answer, wire_redirect};
use super::{at, checked, identity, some_text, some_time, time_or_zero};
use crate::v1;

impl From<&Route> for v1::Route {
    fn from(r: &Route) -> Self {
        let m = &r.matches;
        let target = match (&m.grpc, &m.path) {
            (Some(g), _) => Some(v1::r#match::Target::Grpc(g.to_string())),
            (None, Some(p)) => Some(v1::r#match::Target::Path(p.to_string())),
            (None, None) => None,
        };
        let matches = v1::Match {
            listener: m.listener.as_ref().map(ToString::to_string).unwrap_or_default(),
            host: m.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            target,
            methods: m.methods.iter().map(ToString::to_string).collect(),
        };
        Self {
            r#match: Some(matches),
            engine: r.engine.as_ref().map(ToString::to_string).unwrap_or_default(),
            priority: r.priority,
            timeout_ms: time_or_zero(r.timeout),
            split: r.split.iter().map(Into::into).collect(),
            retry: Some((&r.retry).into()),
            limits: r.limits.iter().map(Into::into).collect(),
            request_headers: edits(&r.request_headers),
            response_headers: edits(&r.response_headers),
            rewrite: r.rewrite.as_ref().map(Into::into),
            cors: r.cors.as_ref().map(Into::into),
            transcode: r.transcode,
            max_body_bytes: r.max_body_bytes.unwrap_or(0),
            shadow: r
                .shadow
                .as_ref()
                .map(|s| v1::Shadow { engine: s.engine.to_string(), percent: s.percent }),
            redirect: r.redirect.as_ref().map(Into::into),
            answer: r.answer.as_ref().map(Into::into),
            auth: r.auth.as_ref().map(Into::into),
        }
    }
}

impl From<&Split> for v1::Split {
    fn from(s: &Split) -> Self {
        Self { engine: s.engine.to_string(), percent: s.percent }
    }
}

impl From<&Limit> for v1::Limit {
    fn from(l: &Limit) -> Self {
        Self { rate: l.rate.to_string(), burst: l.burst, per: l.per.as_str().to_owned() }
    }
}

impl From<&Retry> for v1::Retry {
    fn from(r: &Retry) -> Self {
        Self {
            attempts: r.attempts,
            on: r.on.iter().map(ToString::to_string).collect(),
            backoff_ms: r.backoff.as_ms(),
            max_backoff_ms: r.max_backoff.as_ms(),
            buffer: r.buffer,
            budget: r.budget,
        }
    }
}

impl TryFrom<v1::Route> for Route {
    type Error = Errors;

    fn try_from(w: v1::Route) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let matches = errors.keep(wire_match(w.r#match.unwrap_or_default()));
        let engine = some_text(w.engine).and_then(|e| at(&mut errors, "/engine", e.parse()));
        let split: Vec<_> = w
            .split
            .into_iter()
            .enumerate()
            .filter_map(|(i, s)| errors.keep(wire_split(s, &format!("/split/{i}"))))
            .collect();
        let retry = errors.keep(w.retry.map_or(Ok(Retry::default()), wire_retry));
        let limits: Vec<_> = w
            .limits
            .into_iter()
            .enumerate()
            .filter_map(|(i, l)| errors.keep(wire_limit(l, &format!("/limits/{i}"))))
            .collect();
        let rewrite = w.rewrite.and_then(|r| errors.keep(wire_rewrite(r)));
        let cors = w.cors.and_then(|c| errors.keep(wire_cors(c)));
        let shadow = w.shadow.and_then(|s| errors.keep(wire_shadow(s)));
        let redirect = w.redirect.and_then(|r| errors.keep(wire_redirect(r)));
        let answer = w.answer.and_then(|a| errors.keep(wire_answer(a)));
        let auth = w.auth.and_then(|auth| errors.keep(identity::auth(auth)));
        let (priority, timeout) = (w.priority, some_time(w.timeout_ms));
        match (matches, retry) {
            (Some(matches), Some(retry)) if errors.0.is_empty() => {
                let value = Self {
                    matches,
                    engine,
                    split,
                    priority,
                    timeout,
                    retry,
                    limits,
                    request_headers: wire_edits(w.request_headers),
                    response_headers: wire_edits(w.response_headers),
                    rewrite,
                    cors,
                    transcode: w.transcode,
                    max_body_bytes: (w.max_body_bytes > 0).then_some(w.max_body_bytes),
                    shadow,
                    redirect,
                    answer,
                    auth,
                };
                checked(value, "", route::check)
            }
            _ => Err(errors),
        }
    }
}

fn edits(edits: &HeaderEdits) -> Option<v1::HeaderEdits> {
    (!edits.is_empty()).then(|| v1::HeaderEdits {
        remove: edits.remove.clone(),
        set: to_wire(&edits.set),
        add: to_wire(&edits.add),
    })
}

fn wire_edits(w: Option<v1::HeaderEdits>) -> HeaderEdits {
    let w = w.unwrap_or_default();
    HeaderEdits { remove: w.remove, set: from_wire(w.set), add: from_wire(w.add) }
}

impl From<&Rewrite> for v1::Rewrite {
    fn from(r: &Rewrite) -> Self {
        Self {
            path: r.path.as_ref().map(ToString::to_string).unwrap_or_default(),
            host: r.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

fn wire_rewrite(w: v1::Rewrite) -> Result<Rewrite, Errors> {
    let mut errors = Errors::default();
    let e = &mut errors;
    let value = Rewrite {
        path: some_text(w.path).and_then(|s| at(e, "/rewrite/path", s.parse())),
        host: some_text(w.host).and_then(|s| at(e, "/rewrite/host", s.parse())),
    };
    errors.into_result()?;
    Ok(value)
}

fn wire_shadow(w: v1::Shadow) -> Result<Shadow, Errors> {
    let mut errors = Errors::default();
    let engine = at(&mut errors, "/shadow/engine", w.engine.parse());
    let Some(engine) = engine else { return Err(errors) };
    checked(Shadow { engine, percent: w.percent }, "/shadow", route::check_shadow)
}

fn wire_split(w: v1::Split, prefix: &str) -> Result<Split, Errors> {
    let mut errors = Errors::default();
    let engine = at(&mut errors, &format!("{prefix}/engine"), w.engine.parse());
    let Some(engine) = engine else { return Err(errors) };
    checked(Split { engine, percent: w.percent }, prefix, route::check_split)
}

fn wire_limit(w: v1::Limit, prefix: &str) -> Result<Limit, Errors> {
    let mut errors = Errors::default();
    let rate = at(&mut errors, &format!("{prefix}/rate"), w.rate.parse());
    let per = at(&mut errors, &format!("{prefix}/per"), w.per.parse());
    let (Some(rate), Some(per)) = (rate, per) else { return Err(errors) };
    checked(Limit { rate, burst: w.burst, per }, prefix, limit::check)
}

fn wire_retry(w: v1::Retry) -> Result<Retry, Errors> {
    let mut errors = Errors::default();
    let on = w.on.iter().enumerate();
    let on =
        on.filter_map(|(i, s)| at(&mut errors, &format!("/retry/on/{i}"), s.parse())).collect();
    errors.into_result()?;
    let value = Retry {
        attempts: w.attempts,
        on,
        backoff: Millis::new(w.backoff_ms),
        max_backoff: Millis::new(w.max_backoff_ms),
        buffer: w.buffer,
        budget: w.budget,
    };
    checked(value, "/retry", check_retry)
}

fn wire_match(w: v1::Match) -> Result<Match, Errors> {
    let mut errors = Errors::default();
    let e = &mut errors;
    let mut value = Match {
        listener: some_text(w.listener).and_then(|s| at(e, "/match/listener", s.parse())),
        host: some_text(w.host).and_then(|s| at(e, "/match/host", s.parse())),
        ..Match::default()
    };
    match w.target {
        Some(v1::r#match::Target::Grpc(s)) => value.grpc = at(e, "/match/grpc", s.parse()),
        Some(v1::r#match::Target::Path(s)) => value.path = at(e, "/match/path", s.parse()),
        None => {}
    }
    value.methods = w.methods.iter().filter_map(|m| at(e, "/match/methods", m.parse())).collect();
    errors.into_result()?;
    checked(value, "/match", matching::check)
}
