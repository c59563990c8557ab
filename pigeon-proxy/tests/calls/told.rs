//! An engine that speaks HTTP/2 and answers as a test says, call by call.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// What the engine does with one call.
#[derive(Clone, Copy, Debug)]
pub enum Say {
    /// An answer that is nothing but this gRPC status.
    Grpc(u8),
    /// A head, a message of so many bytes, and this gRPC status.
    Message(usize, u8),
    /// This HTTP status, with a body.
    Http(u16),
    /// RST_STREAM.
    Reset(h2::Reason),
    /// A head, and then nothing until the call is reset.
    Hang,
    /// Nothing at all until the call is reset.
    Silence,
    /// CANCEL when `grpc-timeout` is over, after a head if so wanted: as grpc-go does.
    GiveUp { after_head: bool },
}

/// A call as the engine saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub uri: http::Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// None without any.
    pub trailers: Option<HeaderMap>,
    /// Which of its connections, from 0.
    pub connection: usize,
}

/// The engine.
#[derive(Clone)]
pub struct Told {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    say: Box<dyn Fn(usize) -> Say + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    opened: AtomicUsize,
    open: AtomicUsize,
    /// Calls now, and the most at once on one connection.
    now: AtomicUsize,
    most: AtomicUsize,
}

/// An engine that does `say(n)` with its nth call, from 0.
pub async fn told(say: impl Fn(usize) -> Say + Send + Sync + 'static) -> Told {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let inner = Arc::new(Inner {
        say: Box::new(say),
        seen: Mutex::default(),
        opened: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let engine = Told { address: listener.local_addr().unwrap(), inner };
    let accepting = engine.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(accepting.clone().serve(socket));
        }
    });
    engine
}

impl Told {
    /// Every call so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.inner.seen.lock().unwrap().len()
    }

    /// Connections so far.
    pub fn opened(&self) -> usize {
        self.inner.opened.load(Ordering::SeqCst)
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.inner.open.load(Ordering::SeqCst)
    }

    /// Calls now.
    pub fn now(&self) -> usize {
        self.inner.now.load(Ordering::SeqCst)
    }

    /// The most calls that were at once on one connection.
    pub fn most_on_one(&self) -> usize {
        self.inner.most.load(Ordering::SeqCst)
    }

    async fn serve(self, socket: TcpStream) {
        let number = self.inner.opened.fetch_add(1, Ordering::SeqCst);
        self.inner.open.fetch_add(1, Ordering::SeqCst);
        let here = Arc::new(AtomicUsize::new(0));
        if let Ok(mut connection) = h2::server::handshake(socket).await {
            while let Some(Ok((request, respond))) = connection.accept().await {
                let at_once = here.fetch_add(1, Ordering::SeqCst) + 1;
                self.inner.most.fetch_max(at_once, Ordering::SeqCst);
                self.inner.now.fetch_add(1, Ordering::SeqCst);
                let (engine, here) = (self.clone(), Arc::clone(&here));
                tokio::spawn(async move {
                    engine.answer(request, respond, number).await;
                    here.fetch_sub(1, Ordering::SeqCst);
                    engine.inner.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
        self.inner.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn answer(
        &self,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
        connection: usize,
    ) {
        let (head, mut body) = request.into_parts();
        let mut read = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            read.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.ok().flatten();
        let timeout = head.headers.get("grpc-timeout").and_then(|v| v.to_str().ok());
        let timeout = timeout.and_then(|t| t.strip_suffix('u')?.parse().ok()).unwrap_or(0);
        let number = {
            let mut seen = self.inner.seen.lock().unwrap();
            seen.push(Seen {
                uri: head.uri,
                headers: head.headers,
                body: read.into(),
                trailers,
                connection,
            });
            seen.len() - 1
        };
        // The other end may be gone at any time.
        let _ = say(&mut respond, (self.inner.say)(number), Duration::from_micros(timeout)).await;
    }
}

async fn say(
    respond: &mut SendResponse<Bytes>,
    what: Say,
    timeout: Duration,
) -> Result<(), h2::Error> {
    let head = |status: u16| {
        let response = Response::builder().status(status);
        response.header("content-type", "application/grpc").body(()).unwrap()
    };
    match what {
        Say::Grpc(status) => {
            let mut response = head(200);
            response.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(status)));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static("mine"));
            respond.send_response(response, true)?;
        }
        Say::Message(length, status) => {
            let mut body = vec![0];
            body.extend(u32::try_from(length).unwrap().to_be_bytes());
            body.resize(length + 5, 7);
            let mut stream = respond.send_response(head(200), false)?;
            stream.send_data(body.into(), false)?;
            let trailers = [("grpc-status", status.to_string())];
            let trailers = trailers.map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            stream.send_trailers(HeaderMap::from_iter(trailers))?;
        }
        Say::Http(status) => {
            let mut stream = respond.send_response(head(status), false)?;
            stream.send_data(Bytes::from_static(b"the engine's own words"), true)?;
        }
        Say::Reset(reason) => respond.send_reset(reason),
        Say::Hang => {
            let mut stream = respond.send_response(head(200), false)?;
            std::future::poll_fn(|cx| stream.poll_reset(cx)).await?;
        }
        Say::Silence => {
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
        }
        Say::GiveUp { after_head } => {
            let mut stream = match after_head {
                true => Some(respond.send_response(head(200), false)?),
                false => None,
            };
            tokio::time::sleep(timeout).await;
            match &mut stream {
                Some(stream) => stream.send_reset(h2::Reason::CANCEL),
                None => respond.send_reset(h2::Reason::CANCEL),
            }
        }
    }
    Ok(())
}
