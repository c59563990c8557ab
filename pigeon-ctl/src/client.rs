//! A small client of the REST API: one request, one answer, over HTTP/1.1, by TLS where the address says so.

mod address;
mod events;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, IF_MATCH, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::error::{Failure, Problem};

pub use address::{Server, segment};
pub use events::{Event, Events};
pub use tls::TlsFiles;

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const LARGEST: usize = 64 << 20;
/// The media type of events.
const EVENTS: &str = "text/event-stream";

/// A token, already in the form in which it is sent. Never shown.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Takes a token with whatever white space is around it.
    ///
    /// # Errors
    /// It is empty, or has characters that no token has. The token itself is not repeated.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.len() > 4096 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("does not hold a token: one line of printable ASCII".into());
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| "does not hold a token".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    server: Server,
    token: Option<Token>,
    tls: TlsFiles,
    timeout: Duration,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, already encoded.
    pub target: String,
    /// Media type and content.
    pub body: Option<(&'static str, Bytes)>,
    /// The revision that must still be current.
    pub if_match: Option<u64>,
    /// The last event that came before the stream of them broke.
    pub last_event_id: Option<String>,
    /// How long the server was asked to wait before it answers.
    pub wait: Duration,
}

impl Call {
    /// A request without a body.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        let target = target.into();
        let (body, if_match, last_event_id, wait) = (None, None, None, Duration::ZERO);
        Self { method, target, body, if_match, last_event_id, wait }
    }

    /// A read.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    /// Adds a JSON body.
    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value)
    }

    /// Adds a JSON body of another media type.
    pub fn body(mut self, media_type: &'static str, value: &Value) -> Self {
        self.body = Some((media_type, value.to_string().into()));
        self
    }
}

/// A good answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 2xx.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; null if there is none.
    pub body: Value,
}

impl Client {
    /// A client of `server` that waits up to `timeout` for an answer.
    pub fn new(server: Server, token: Option<Token>, timeout: Duration) -> Self {
        Self { server, token, tls: TlsFiles::default(), timeout }
    }

    /// The same, with these files for TLS.
    pub fn with_tls(self, tls: TlsFiles) -> Self {
        Self { tls, ..self }
    }

    /// The server it talks to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends one request and reads the answer.
    ///
    /// # Errors
    /// The server cannot be reached, takes too long, or answers with a problem.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        let patience = self.timeout + call.wait;
        let stream = self.connect().await?;
        let request = self.request(call)?;
        let exchanged = match self.server.is_tls() {
            false => timeout(patience, exchange(stream, request)).await,
            true => {
                let stream = self.secure(stream).await?;
                timeout(patience, exchange(stream, request)).await
            }
        };
        let (status, headers, body) = self.in_time(exchanged, patience)?;
        self.read(status, headers, &body)
    }

    /// Sends one request, and gives the events that answer it as they come.
    ///
    /// # Errors
    /// The server cannot be reached, takes too long to begin, or answers with a problem.
    pub async fn follow(&self, call: Call) -> Result<Events, Failure> {
        let stream = self.connect().await?;
        let request = self.request(call)?;
        let opened = match self.server.is_tls() {
            false => timeout(self.timeout, open(stream, request)).await,
            true => {
                let stream = self.secure(stream).await?;
                timeout(self.timeout, open(stream, request)).await
            }
        };
        let response = self.in_time(opened, self.timeout)?;
        let (status, media_type) = (response.status(), response.headers().get(CONTENT_TYPE));
        if status.is_success() {
            return match media_type.is_some_and(|t| t.as_bytes().starts_with(EVENTS.as_bytes())) {
                true => Ok(Events::new(response.into_body())),
                false => Err(self.stranger(status)),
            };
        }
        let body = timeout(self.timeout, whole(response.into_body())).await;
        Err(self.refusal(status, &self.in_time(body, self.timeout)?))
    }

    fn in_time<T>(
        &self,
        exchanged: Result<Result<T, String>, Elapsed>,
        patience: Duration,
    ) -> Result<T, Failure> {
        match exchanged {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => {
                let message = format!("{} did not answer as HTTP does: {why}", self.server);
                Err(Failure::unreachable(message).next("check --server and its port"))
            }
            Err(_) => {
                let seconds = humane(patience);
                let message = format!("{} did not answer within {seconds}", self.server);
                Err(Failure::timed_out(message).next("pigeon-ctl --request-timeout 2m …"))
            }
        }
    }

    async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        let limit = CONNECT.min(self.timeout);
        let why = match timeout(limit, self.tls.connect(self.server.host(), stream)).await {
            Ok(shaken) => match shaken? {
                Ok(stream) => return Ok(stream),
                Err(why) => why.to_string(),
            },
            Err(_) => format!("no handshake within {}", humane(limit)),
        };
        let message = format!("cannot speak TLS with {}: {why}", self.server);
        Err(Failure::unreachable(message)
            .next("pigeon-ctl --ca FILE …    (whoever signed the server's certificate)"))
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let connecting = TcpStream::connect(self.server.authority());
        let why = match timeout(CONNECT.min(self.timeout), connecting).await {
            Ok(Ok(stream)) => {
                // Without the option a small request is only later.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nothing listens there (connection refused)".to_owned()
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no connection within {}", humane(CONNECT.min(self.timeout))),
        };
        let message = format!("cannot reach {}: {why}", self.server);
        Err(Failure::unreachable(message)
            .next("pigeon-ctl context show    (where the address comes from)")
            .next("pigeon-ctl dev             (a gateway to try things out)"))
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(&call.target)
            .header(HOST, self.server.authority())
            .header(USER_AGENT, concat!("pigeon-ctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json, application/problem+json, text/event-stream");
        if let Some(Token(value)) = &self.token {
            request = request.header(AUTHORIZATION, value.clone());
        }
        if let Some(revision) = call.if_match {
            request = request.header(IF_MATCH, format!("\"r{revision}\""));
        }
        if let Some(id) = call.last_event_id {
            request = request.header("last-event-id", id);
        }
        let body = match call.body {
            Some((media_type, body)) => {
                request = request.header(CONTENT_TYPE, media_type);
                body
            }
            None => Bytes::new(),
        };
        let cannot = |e| Failure::bug(format!("cannot make a request of {}: {e}", call.target));
        request.body(Full::new(body)).map_err(cannot)
    }

    fn read(&self, status: StatusCode, headers: HeaderMap, body: &[u8]) -> Result<Answer, Failure> {
        if !status.is_success() {
            return Err(self.refusal(status, body));
        }
        let parsed = match body {
            [] => Ok(Value::Null),
            body => serde_json::from_slice(body),
        };
        match parsed {
            Ok(body) => Ok(Answer { status, headers, body }),
            Err(_) => Err(self.stranger(status)),
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let problem = serde_json::from_slice::<Problem>(body)
            .ok()
            .filter(|p| !p.title.is_empty() || !p.detail.is_empty());
        match problem {
            Some(problem) => Failure::of_server(status.as_u16(), problem),
            None if status.is_server_error() || status == StatusCode::UNAUTHORIZED => {
                let detail = format!("{} answered {status} and did not say why", self.server);
                let problem = Problem { detail, ..Problem::default() };
                Failure::of_server(status.as_u16(), problem)
            }
            None => self.stranger(status),
        }
    }

    fn stranger(&self, status: StatusCode) -> Failure {
        let server = &self.server;
        let detail = format!("{server} answered {status}, but not as a Pigeon admin does");
        Failure::unreachable(detail).next("check --server: the REST API is at port 9800 by default")
    }
}

/// Carries one request over a fresh connection.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        Ok((head.status, head.headers, whole(body).await?))
    };
    let mut asked = std::pin::pin!(asked);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answer = &mut asked => answer,
        // The connection has ended; what was read before that is still to be had.
        _ = &mut connection => asked.await,
    }
}

async fn whole(body: Incoming) -> Result<Bytes, String> {
    let body = Limited::new(body, LARGEST).collect().await.map_err(|e| e.to_string())?;
    Ok(body.to_bytes())
}

/// Begins to carry one request over a fresh connection, which lives as long as the body of the answer.
async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|e| e.to_string())
}

/// A duration as people write it.
pub(crate) fn humane(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    pigeon_proto::model::Millis::new(ms).to_string()
}
