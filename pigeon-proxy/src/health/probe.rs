//! One check on one new connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pigeon_proto::model::Address;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::grpc;
use crate::engine::Endpoint;
use crate::engine::health::{Answer, Check};
use crate::http::{DialError, Dialled, dial};
use crate::tls::{Speaks, Stream, is_no_protocol};

/// How the proxy calls itself in checks.
pub(super) const USER_AGENT: &str =
    concat!("pigeon-proxy/", env!("CARGO_PKG_VERSION"), " (health)");

/// Checks once; takes `limit` at most. None: it could not be asked, for want of descriptors.
pub(super) async fn probe(check: &Check, endpoint: &Endpoint, limit: Duration) -> Option<Answer> {
    let until = Instant::now() + limit;
    let address = endpoint.address();
    let speaks = match check {
        Check::Grpc(_) => Speaks::Any,
        Check::Tcp => Speaks::Raw,
        Check::Http(_) => Speaks::Http1,
    };
    let Dialled { stream, tls } = match dial(endpoint, limit, speaks).await {
        Ok(dialled) => dialled,
        Err(DialError::Exhausted) => return None,
        Err(DialError::Failed(why)) if is_no_protocol(&why) && matches!(check, Check::Grpc(_)) => {
            return Some(Answer::NotHttp2);
        }
        Err(error) => return Some(Answer::Down(format!("cannot be reached: {error}"))),
    };
    if matches!(check, Check::Grpc(_)) && stream.agreed_http2() == Some(false) {
        return Some(Answer::NotHttp2);
    }
    let scheme = if tls == 0 { "http" } else { "https" };
    let heard = Arc::new(Heard::default());
    let io =
        Listening { socket: stream, heard: Arc::clone(&heard), first: [0; FRAME_TYPE], count: 0 };
    let answer = match check {
        Check::Tcp => return Some(Answer::Up),
        Check::Grpc(service) => {
            let asked = grpc::ask(io, (scheme, address), service, limit);
            timeout_at(until, asked).await.map(|asked| asked.unwrap_or_else(|e| broken(&heard, &e)))
        }
        Check::Http(path) => timeout_at(until, get(io, address, path)).await,
    };
    Some(match (answer, check, heard.what()) {
        (Ok(answer), ..) => answer,
        (Err(_), Check::Grpc(_), NOTHING) => Answer::Silent,
        (Err(_), ..) => Answer::Down(format!("no answer within {limit:?}")),
    })
}

/// What it means when a connection breaks before grpc.health.v1 has answered.
fn broken(heard: &Heard, error: &str) -> Answer {
    match heard.what() {
        HTTP2 => Answer::Down(format!("the connection broke: {error}")),
        _ => Answer::NotHttp2,
    }
}

/// GET; any 2xx is up.
async fn get(io: Listening, address: &Address, path: &str) -> Answer {
    let request = Request::get(path)
        .header(header::HOST, address.as_str())
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::<Bytes>::new());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::Down(format!("the path {path} cannot be asked for: {error}")),
    };
    let answered = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        sender.send_request(request).await
    };
    match answered.await {
        Ok(response) if response.status().is_success() => Answer::Up,
        Ok(response) => Answer::Down(format!("GET {path} says {}", response.status().as_u16())),
        Err(error) => Answer::Down(format!("GET {path} got no answer: {error}")),
    }
}

/// Where the type stands in a frame (RFC 9113, section 4.1), and the type that every HTTP/2 peer sends first
/// (section 3.4).
const FRAME_TYPE: usize = 4;
const SETTINGS: u8 = 4;

const NOTHING: u8 = 0;
const HTTP2: u8 = 1;
const SOMETHING: u8 = 2;

/// What a peer has said so far.
#[derive(Debug, Default)]
struct Heard(AtomicU8);

impl Heard {
    fn what(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that notes whether the peer speaks HTTP/2.
pub(super) struct Listening {
    socket: Stream,
    heard: Arc<Heard>,
    first: [u8; FRAME_TYPE],
    count: usize,
}

impl Listening {
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().take(FRAME_TYPE - self.count) {
            self.first[self.count] = *byte;
            self.count += 1;
        }
        let what = match self.count {
            0 => NOTHING,
            FRAME_TYPE if self.first[FRAME_TYPE - 1] == SETTINGS => HTTP2,
            _ => SOMETHING,
        };
        self.heard.0.store(what, Ordering::Relaxed);
    }
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if self.count < FRAME_TYPE {
            self.note(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
