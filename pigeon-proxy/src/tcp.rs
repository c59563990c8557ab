//! Raw connections (`protocol: tcp`): one is one call. It takes a slot, bytes move both ways, and the slot
//! comes back with its end.
//!
//! A connection: TLS, if there is → limits → admission → [`reach`] → [`exchange`] → record. What does not end in order ends with
//! a reset on both sides, so that neither takes what it has for complete; an engine that was reset like that
//! gets its slot's rest (`pool.cancel_cooldown`).

mod exchange;
mod reach;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pigeon_proto::model::Listener;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch as channel;
use tokio::time::timeout;

use self::exchange::{Exchange, Limits, Side};
use crate::admit::Permit;
use crate::engine::Engine;
use crate::engine::lifetime::shortened;
use crate::filter::{Asked, Stop};
use crate::http::{Client, Handshake, keep_alive, rest, secured};
use crate::listen::{Phase, at_least};
use crate::record::{Beginning, Record};
use crate::reject::Rejection;
use crate::table::{RouteEntry, hash_of};
use crate::tls::Stream;

/// How a connection ended.
enum End {
    /// Both sides have closed in order.
    Closed,
    /// The client broke it off.
    ClientGone(Gone),
    /// The engine broke it off.
    EngineGone(Gone),
    /// We did.
    Rejected(Rejection),
}

/// How a side was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// Its connection broke.
    Broken,
    /// By TLS it said no more, and not that this was all; what it had said has been passed on.
    Unsaid,
}

impl Gone {
    /// Has the other side see that this was not everything: by TLS an end without a last word says so, and
    /// costs nothing of what is on its way.
    fn tell(self, other: &Stream) {
        if self == Self::Broken || matches!(other, Stream::Plain(_)) {
            reset(other.socket());
        }
    }
}

impl From<Rejection> for End {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Carries a connection from its beginning to its end.
pub(crate) async fn serve(
    socket: TcpStream,
    mut client: Client,
    settings: Arc<Listener>,
    tls: Option<Handshake>,
    mut phase: channel::Receiver<Phase>,
) {
    if let Err(error) = keep_alive(&socket) {
        tracing::debug!(%error, "the connection is gone already");
        return;
    }
    let shaken = tokio::select! {
        // It is no call yet.
        () = at_least(&mut phase, Phase::Late), if tls.is_some() => return,
        shaken = timeout(settings.header_timeout.duration(), secured(socket, tls, &mut client)) => shaken,
    };
    let Ok(Ok(mut socket)) = shaken else { return };
    let _open = client.gateway.open_call(&client.tally);
    let mut record = begin(&client);
    let end = tokio::select! {
        biased;
        () = at_least(&mut phase, Phase::Cut) => Rejection::Draining.into(),
        end = carry(&mut socket, &client, &settings, &mut record) => end,
    };
    match end {
        End::Closed => record.complete(),
        End::ClientGone(_) => reset(socket.socket()),
        End::EngineGone(how) => {
            record.rejected(&Rejection::EngineReset { code: None });
            how.tell(&socket);
        }
        End::Rejected(rejection) => {
            record.rejected(&rejection);
            reset(socket.socket());
        }
    }
}

fn begin(client: &Client) -> Record {
    let unmatched = client.gateway.metrics().unmatched();
    let mut record = Record::begin(unmatched, Instant::now(), false);
    record.is_raw();
    let log = client.gateway.access_log();
    if log.is_on() {
        let (listener, peer) = (&client.listener, client.peer);
        let none = Beginning {
            listener,
            peer,
            protocol: "tcp",
            method: "",
            host: "",
            path: "",
            request_id: "",
            user_agent: "",
            traceparent: None,
            tracestate: None,
        };
        // Nothing in it says whether it is part of a trace.
        record.watch(log, None, (fastrand::u128(..), 0), &none);
    }
    record
}

async fn carry(
    socket: &mut Stream,
    client: &Client,
    settings: &Listener,
    record: &mut Record,
) -> End {
    let (route, engine) = match decide(client, record) {
        Ok(decided) => decided,
        Err(rejection) => return rejection.into(),
    };
    let hash = {
        let settings = engine.settings();
        settings.hash_key.as_ref().and_then(|key| hash_of(key, |_| None, (client.peer, None)))
    };
    let reached = tokio::select! {
        biased;
        reached = reach::reach(&engine, hash, record) => reached,
        () = watch::gone(socket) => return End::ClientGone(Gone::Broken),
    };
    drop(route);
    let (permit, mut upstream) = match reached {
        Ok(reached) => reached,
        Err(rejection) => return rejection.into(),
    };
    let mut leg = Leg { permit: Some(permit), socket: &mut upstream, client: Gone::Broken };
    let cut = leg.cut(client);
    let exchange = Exchange::new(limits(settings, record.started()));
    let moved = |side, bytes| match side {
        Side::Client => record.raw_received(bytes),
        Side::Engine => record.raw_sent(bytes),
    };
    let end = tokio::select! {
        biased;
        () = cut => Rejection::EndpointDrained.into(),
        end = exchange.run(socket, leg.socket, moved) => end,
    };
    match end {
        End::Closed => leg.ended(),
        End::EngineGone(_) => {
            // By TLS it may still read.
            reset(leg.socket.socket());
            leg.ended();
        }
        End::ClientGone(how) => leg.client = how,
        End::Rejected(_) => {}
    }
    end
}

/// Finds the route and the engine.
fn decide(
    client: &Client,
    record: &mut Record,
) -> Result<(Arc<RouteEntry>, Arc<Engine>), Rejection> {
    let table = client.gateway.table().ok_or(Rejection::NoConfig)?;
    if let Some(rejection) = client.gateway.refuses() {
        return Err(rejection);
    }
    let route = table.raw(&client.listener).ok_or(Rejection::NoRoute)?;
    let target = route.target(fastrand::u64(..));
    record.routed(route, target);
    let passed = route.filters.run(&Asked {
        listener: &client.listener,
        peer: client.peer,
        // A raw connection is one call: the limit of connections is that of calls.
        beyond: false,
        certificate: client.certificate.as_ref(),
        authority: "",
        target: "",
        grpc: false,
        header: &|_| None,
        repeated: &|_| false,
        wall: &std::time::SystemTime::now,
        now: record.started(),
    });
    match passed {
        Ok(passed) => {
            if let Some(tenant) = passed.identity.as_ref().and_then(|who| who.tenant.as_ref()) {
                record.tenant(tenant.as_str());
            }
        }
        Err(Stop::Reject(rejection)) => return Err(rejection),
        // Validation refuses such a route for a raw connection, which could not read the answer.
        Err(Stop::Answer(_)) => return Err(Rejection::NoEndpoint),
    }
    let engine = target.engine.clone().ok_or(Rejection::NoEndpoint)?;
    Ok((Arc::clone(route), engine))
}

fn limits(settings: &Listener, started: Instant) -> Limits {
    let idle = settings.idle_timeout.map(|time| time.duration());
    let lifetime = settings.max_lifetime.map(|time| time.duration());
    // Connections that came together do not go together.
    let until = lifetime.and_then(|time| started.checked_add(shortened(time, fastrand::u64(..))));
    Limits { idle: idle.filter(|time| !time.is_zero()), until: until.map(Into::into) }
}

/// A connection's stay at an endpoint. However it ends, the slot is given back exactly once: at once if the
/// engine has ended too, else after a rest.
struct Leg<'s> {
    permit: Option<Permit>,
    socket: &'s mut Stream,
    /// How the client was lost, if it was.
    client: Gone,
}

impl Leg<'_> {
    /// Waits until the connections of the endpoint are to end.
    fn cut(&self, client: &Client) -> impl Future<Output = ()> + Send + 'static {
        let cut = self.permit.as_ref().map(|permit| client.upstreams.cut(permit));
        async move {
            match cut {
                Some(cut) => cut.await,
                None => std::future::pending().await,
            }
        }
    }

    /// The engine has ended.
    fn ended(&mut self) {
        self.permit = None;
    }
}

impl Drop for Leg<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.client.tell(self.socket);
            rest(permit);
        }
    }
}

/// Has the other end see a reset, not an end, when the socket is dropped.
fn reset(socket: &TcpStream) {
    if let Err(error) = SockRef::from(socket).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "a connection ends without a reset");
    }
}
