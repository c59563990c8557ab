//! Copies of calls for the engine of a route's shadow: they never delay, fail or change the call itself.
//!
//! A copy takes a slot only if one is free, gets each part of the request as the call's own engine takes it, and is
//! dropped when its engine takes it more slowly than that. What is answered is read and dropped.

mod tee;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Version, request};
use http_body_util::BodyExt as _;

use self::tee::{Copied as CopiedBody, Flow, Tee};
use super::call::Call;
use super::caller::CallerBody;
use super::forward::{self, To};
use super::head::GRPC_TIMEOUT;
use super::leg::Leg;
use super::upload::{Limits, RequestBody, Upload};
use super::upstream::{Attempt, Link, Upstreams, unreachable};
use crate::admit::{Admission, Ask, Permit, Tried, admit};
use crate::grpc::timeout;
use crate::metrics::{Copied, OpenCopy, ShadowSeries};
use crate::record::Inbound;
use crate::table::{self, RouteEntry, hash_of};

/// Tells the engine that nobody waits for its answer.
const SHADOW: HeaderName = HeaderName::from_static("pigeon-shadow");
/// Copies of a route under way at once, so that a slow engine without slots is no leak.
const MOST: usize = 256;
/// How long an engine may take for its answer after the end of the request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the transport that read a call has decided of it, for the one that carries it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    /// Whether the call is copied.
    pub(crate) copied: bool,
}

/// A copy that has a slot.
pub(super) struct Copy {
    parts: request::Parts,
    version: Version,
    grpc: bool,
    deadline: Option<Instant>,
    permit: Permit,
    upstreams: Arc<Upstreams>,
    open: OpenCopy,
    series: Arc<ShadowSeries>,
}

impl Copy {
    /// The copy of a call that has found its own endpoint; `parts` are still the caller's. None if it is not
    /// one of those that are copied, or there is no room for it now.
    pub(super) fn of(
        call: &Call<'_>,
        route: &RouteEntry,
        shadow: &table::Shadow,
        parts: &request::Parts,
    ) -> Option<Self> {
        if call.upgrade.is_some() {
            // What follows its head is not a body.
            return None;
        }
        let chosen = parts.extensions.get::<Chosen>().map(|chosen| chosen.copied);
        if !chosen.unwrap_or_else(|| shadow.takes(fastrand::u64(..))) {
            return None;
        }
        let (engine, series) = (&shadow.engine, Arc::clone(&shadow.series));
        let Some(open) = series.open(MOST) else {
            series.count(Copied::TooMany);
            return None;
        };
        let hash = engine.settings().hash_key.as_ref().and_then(|key| {
            let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
            hash_of(key, header, (call.client.peer, call.tenant()))
        });
        let tried = Tried::default();
        let ask = Ask { hash, ..Ask::new(&tried, fastrand::u64(..)) };
        // A place in line is left at once: copies do not wait.
        let Admission::Granted(permit) = admit(engine, &ask) else {
            series.count(Copied::NoSlot);
            return None;
        };
        let version = call.version_for(engine);
        let mut parts = parts.clone();
        let authority = permit.endpoint().address().as_str();
        let secure = engine.settings().tls.is_some();
        let edits = route.filters.edits().map(Arc::as_ref);
        let to = To { version, authority, secure, edits };
        // A copy is told no more, and no less, than the engine itself.
        if route.filters.hides_keys() {
            forward::hide_keys(&mut parts.headers);
        }
        forward::request(&mut parts, &call.head, call.client, &to);
        forward::caller(&mut parts.headers, call.identity.as_deref());
        parts.headers.insert(SHADOW, HeaderValue::from_static("1"));
        let (grpc, deadline) = (call.head.grpc, call.deadline);
        let upstreams = Arc::clone(&call.client.upstreams);
        Some(Self { parts, version, grpc, deadline, permit, upstreams, open, series })
    }

    /// Sends it, with what comes of the body; returns the body for the call itself.
    pub(super) fn begin(self, body: CallerBody) -> CallerBody {
        let (tee, copy) = Tee::new(body);
        tokio::spawn(async move {
            let _open = self.open;
            let flow = Arc::clone(copy.flow());
            let exchange = Exchange {
                parts: self.parts,
                version: self.version,
                grpc: self.grpc,
                deadline: self.deadline,
                permit: self.permit,
                upstreams: self.upstreams,
            };
            let outcome = tokio::select! {
                outcome = exchange.run(copy) => outcome,
                outcome = cut_short(&flow, self.deadline) => outcome,
            };
            // What ended it, rather than how that showed.
            self.series.count(flow.cause().unwrap_or(outcome));
        });
        CallerBody::Boxed(Box::pin(tee))
    }
}

/// Resolves when the copy is to be broken off.
async fn cut_short(flow: &Flow, deadline: Option<Instant>) -> Copied {
    let patience = async {
        flow.ended().await;
        tokio::time::sleep(PATIENCE).await;
    };
    let late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = flow.given_up() => outcome,
        () = patience => Copied::Late,
        () = late => Copied::Late,
    }
}

struct Exchange {
    parts: request::Parts,
    version: Version,
    grpc: bool,
    deadline: Option<Instant>,
    permit: Permit,
    upstreams: Arc<Upstreams>,
}

impl Exchange {
    async fn run(self, body: CopiedBody) -> Copied {
        let Self { mut parts, version, grpc, deadline, permit, upstreams } = self;
        let endpoint = permit.endpoint();
        let link = match upstreams.link(&permit, version, false).await {
            Ok(link) => link,
            Err(error) => {
                unreachable(permit.engine(), endpoint, &error);
                return Copied::Failed;
            }
        };
        permit.engine().dial_succeeded(endpoint);
        if let Some(deadline) = deadline.filter(|_| grpc) {
            let left = deadline.saturating_duration_since(Instant::now());
            // Digits and a letter are always a value.
            if let Ok(left) = HeaderValue::from_bytes(timeout::format(left).as_bytes()) {
                parts.headers.insert(GRPC_TIMEOUT, left);
            }
        }
        let cut = link.cut();
        tokio::select! {
            outcome = exchange(link, permit, parts, body, grpc) => outcome,
            // The endpoint drains no longer.
            () = cut => Copied::Failed,
        }
    }
}

async fn exchange(
    mut link: Link,
    permit: Permit,
    parts: request::Parts,
    body: CopiedBody,
    grpc: bool,
) -> Copied {
    let upload =
        Upload::new(CallerBody::Boxed(Box::pin(body)), 0, Limits::default(), Inbound::of_copy());
    let uplink = upload.attempt();
    let mut leg = Leg::begin(permit, Arc::clone(&uplink));
    let request = Request::from_parts(parts, RequestBody(uplink));
    let response = match link.send(request).await {
        Attempt::Answered(response) => response,
        Attempt::NotSent => {
            link.give_up();
            drop(leg.broken_off());
            return Copied::Failed;
        }
        // If the engine did not break it off we did, and then the slot rests.
        Attempt::Failed(_) => return Copied::Failed,
    };
    leg.holds(link.hold());
    upload.settle();
    let mut answer = response.into_body();
    loop {
        match answer.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return Copied::Failed,
            None => break,
        }
    }
    leg.completed(grpc);
    Copied::Answered
}
