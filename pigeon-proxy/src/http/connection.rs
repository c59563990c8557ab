//! One client connection from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pigeon_proto::model::{Listener, ListenerProtocol};
use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::caller::CallerBody;
use super::gate::{Answered, Gate, asks, refusal};
use super::h2c::{self, Change};
use super::preface::{Rewound, Version, detect};
use super::relay::CallBody;
use super::tunnel::{self, Tunnel};
use super::{Client, call};
use crate::listen::{Phase, at_least};
use crate::metrics::HandshakeSeries;
use crate::relay::Relayed;
use crate::tls::{Inbound, Stream, identity};

/// A client that does not answer a ping is gone, and its calls with it.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client may send ahead on one call: a call that waits for its slot holds no more than this.
const STREAM_WINDOW: u32 = 256 << 10;
/// And on all calls of a connection together: so much that calls which wait do not stop those that run.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Streams that a client may open and reset before they are looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 100;
/// Header fields of an HTTP/1.1 request; their bytes are limited by the listener.
const MAX_HEADERS: usize = 256;
/// So long an HTTP/1.1 connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Serves a connection to its end, and drops `counted` then. `phase` tells when to end.
///
/// A connection that is relayed holds no more than its reader: everything else is in boxes that go.
pub(crate) fn serve(
    socket: TcpStream,
    client: Client,
    settings: Arc<Listener>,
    tls: Option<Handshake>,
    phase: watch::Receiver<Phase>,
    counted: impl Send,
) -> impl Future<Output = ()> + Send {
    let begun = Box::pin(begin(socket, client, settings, tls, phase));
    async move {
        match begun.await {
            Next::End => {}
            Next::Relayed(relayed) => relayed.run().await,
            Next::General(connection) => {
                if let Some(rest) = connection.await {
                    rest.await;
                }
            }
        }
        drop(counted);
    }
}

/// What is to be done with a connection that has said what it speaks.
enum Next {
    /// Nothing.
    End,
    /// The relay has it.
    Relayed(Relayed),
    /// The general path carries it.
    General(Carried<Option<Carried>>),
}

/// A connection on its way; the general path may end with what it goes on as.
type Carried<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What an HTTP/1.1 connection goes on as.
pub(super) enum After {
    /// Bytes that are the engine's affair.
    Tunnel(Tunnel),
    /// HTTP/2.
    Http2(Change),
}

async fn begin(
    socket: TcpStream,
    mut client: Client,
    settings: Arc<Listener>,
    tls: Option<Handshake>,
    mut phase: watch::Receiver<Phase>,
) -> Next {
    let header_timeout = settings.header_timeout.duration();
    let detected = tokio::select! {
        // Whoever has only just connected is about to send a call.
        () = at_least(&mut phase, Phase::Late) => return Next::End,
        detected = tokio::time::timeout(header_timeout, greet(socket, tls, &mut client)) => detected,
    };
    let Ok(Ok((version, socket))) = detected else { return Next::End };
    let client = Arc::new(client);
    match version {
        Version::Http1 => {
            Next::General(Box::pin(http1_connection(socket, client, settings, phase)))
        }
        Version::Http2 => http2(socket, client, settings, phase),
    }
}

/// An HTTP/2 connection, on the path that carries it.
fn http2(
    socket: Rewound,
    client: Arc<Client>,
    settings: Arc<Listener>,
    phase: watch::Receiver<Phase>,
) -> Next {
    let Some(relay) = client.relay.clone() else {
        // How a connection ends is the client's affair; its calls have been recorded.
        return Next::General(Box::pin(async {
            http2_connection(socket, client, settings, phase).await;
            None
        }));
    };
    // A listener that drains has told its connections so already, and this one is not yet among them.
    let leaving = *phase.borrow() != Phase::Open;
    let (first, socket) = socket.into_parts();
    Next::Relayed(relay.accept(socket, client, &settings, &first, leaving))
}

/// Shakes hands where there is TLS, and finds out what the client speaks.
async fn greet(
    socket: TcpStream,
    tls: Option<Handshake>,
    client: &mut Client,
) -> io::Result<(Version, Rewound)> {
    detect(secured(socket, tls, client).await?).await
}

/// Shakes hands where there is TLS, and notes who the client shows to be.
pub(crate) async fn secured(
    socket: TcpStream,
    tls: Option<Handshake>,
    client: &mut Client,
) -> io::Result<Stream> {
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let stream = tls.shake(socket, client.peer).await?;
    client.certificate = identity(&stream);
    client.secure = true;
    Ok(Stream::Caller(Box::new(stream)))
}

/// What a handshake needs.
pub(crate) struct Handshake {
    pub(crate) tls: Arc<Inbound>,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) series: HandshakeSeries,
}

impl Handshake {
    /// One that does not come to an end, for want of time or of the listener, counts as failed.
    async fn shake(self, socket: TcpStream, peer: IpAddr) -> io::Result<TlsStream<TcpStream>> {
        let mut counts = Unfinished(Some(&self.series));
        let shaken = self.tls.accept(socket, self.protocol).await;
        match &shaken {
            Ok(stream) => {
                let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                counts.0 = None;
                let series = &self.series;
                if resumed { series.resumed.inc() } else { series.full.inc() }
            }
            Err(error) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        }
        shaken
    }
}

/// A handshake that may be dropped at any time.
struct Unfinished<'s>(Option<&'s HandshakeSeries>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(series) = self.0 {
            series.failed.inc();
        }
    }
}

async fn http1_connection(
    socket: Rewound,
    client: Arc<Client>,
    settings: Arc<Listener>,
    mut phase: watch::Receiver<Phase>,
) -> Option<Carried> {
    let (longest, timeout) =
        (settings.max_header_bytes as usize, settings.header_timeout.duration());
    let gate = Gate::new(socket, longest, timeout);
    let answered = gate.answered();
    let tight = client.gateway.guard().tight();
    let told = Arc::clone(&answered);
    let listener = phase.clone();
    let h2c = settings.h2c_upgrade && !client.secure;
    let caller = Arc::clone(&client);
    let service = service_fn(move |request| {
        let (client, listener) = (Arc::clone(&caller), listener.clone());
        let answered = Arc::clone(&answered);
        async move {
            let mut response = http1_answer(client, answered, request, h2c).await;
            if let Ok(response) = response.as_mut()
                && *listener.borrow() >= Phase::Draining
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().entry(CONNECTION).or_insert(close);
            }
            response
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // From the end of one request to the end of the next head. How long a head itself may take is up to the
        // gate, and is counted from its first byte.
        .header_read_timeout(KEEP_ALIVE + timeout)
        .max_buf_size(longest)
        .max_headers(MAX_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(gate), service).with_upgrades();
    let ends = http1::UpgradeableConnection::graceful_shutdown;
    // To close one that is idle at once would meet a request on its way; the next answer says close.
    until_end(Box::pin(connection).as_mut(), tight, phase.clone(), Phase::Late, ends).await;
    match told.after()? {
        After::Http2(change) => Box::pin(changed(change, client, settings, phase)).await,
        After::Tunnel(tunnel) => {
            tokio::select! {
                () = tunnel.run() => {}
                () = at_least(&mut phase, Phase::Cut) => {}
            }
            None
        }
    }
}

/// What a connection goes on as that changes to HTTP/2; nothing if it does not come to that.
async fn changed(
    change: Change,
    client: Arc<Client>,
    settings: Arc<Listener>,
    mut phase: watch::Receiver<Phase>,
) -> Option<Carried> {
    let done = tokio::time::timeout(settings.header_timeout.duration(), change.done());
    let socket = tokio::select! {
        () = at_least(&mut phase, Phase::Late) => return None,
        done = done => done.ok()?.ok()?,
    };
    match http2(socket, client, settings, phase) {
        Next::End => None,
        Next::Relayed(relayed) => Some(Box::pin(relayed.run())),
        Next::General(connection) => Some(Box::pin(async {
            connection.await;
        })),
    }
}

async fn http2_connection(
    socket: Rewound,
    client: Arc<Client>,
    settings: Arc<Listener>,
    phase: watch::Receiver<Phase>,
) {
    let tight = client.gateway.guard().tight();
    let service = service_fn(move |request| answer(Arc::clone(&client), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(settings.max_header_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    until_end(connection, tight, phase, Phase::Draining, http2::Connection::graceful_shutdown)
        .await;
}

async fn http1_answer(
    client: Arc<Client>,
    answered: Arc<Answered>,
    mut request: Request<Incoming>,
    h2c: bool,
) -> Result<Response<CallBody>, Infallible> {
    if let Some(rejection) = refusal(&request) {
        return Ok(call::refuse(&client, request.map(CallerBody::Hyper), &rejection));
    }
    if !asks(&request) {
        return answer(client, request).await;
    }
    if h2c && let Some(change) = h2c::asked(&mut request) {
        answered.tell(Some(After::Http2(change)));
        return Ok(h2c::granted());
    }
    let offered = tunnel::offered(request.headers());
    let upgrade = offered.map(|offered| (offered, hyper::upgrade::on(&mut request)));
    let request = request.map(CallerBody::Hyper);
    let (response, tunnel) = call::call_or_upgrade(&client, request, upgrade).await;
    answered.tell(tunnel.map(After::Tunnel));
    Ok(response)
}

async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<CallBody>, Infallible> {
    Ok(call::call(&client, request.map(CallerBody::Hyper)).await)
}

/// Drives a connection; asks it to end when the listener is as far as `when` or memory is `tight`, and drops it when it is cut.
async fn until_end<C: Future>(
    mut connection: Pin<&mut C>,
    mut tight: watch::Receiver<bool>,
    mut phase: watch::Receiver<Phase>,
    when: Phase,
    end: impl FnOnce(Pin<&mut C>),
) {
    tokio::select! {
        _ = connection.as_mut() => return,
        () = at_least(&mut phase, when) => {}
        // Closes it if it has no call; else after the calls it has.
        () = at_least(&mut tight, true) => {}
    }
    end(connection.as_mut());
    tokio::select! {
        _ = connection => {}
        () = at_least(&mut phase, Phase::Cut) => {}
    }
}
