//! A whole admin on free ports in a directory of its own, and a client for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pigeon_admin::app::{self, Config};
use pigeon_admin::tls::Files;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running admin.
pub struct Server {
    pub addr: SocketAddr,
    pub grpc: SocketAddr,
    pub token: String,
    pub proxy_token: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    dir: tempfile::TempDir,
}

/// What the admin answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Server {
    pub async fn start() -> Self {
        Self::with_tls(None).await
    }

    /// One that speaks TLS, if there are files for it.
    pub async fn with_tls(tls: Option<Files>) -> Self {
        Self::on(tempfile::tempdir().expect("a directory"), tls).await
    }

    /// One on a directory that may have been another's.
    pub async fn on(dir: tempfile::TempDir, tls: Option<Files>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            data_dir: dir.path().join("data"),
            database_url: None,
            listen: free,
            grpc_listen: free,
            tls,
            insecure_bind: false,
        };
        let admin = app::bind(config).await.expect("an admin");
        let read = |path| std::fs::read_to_string(path).expect("a token").trim().to_owned();
        let (token, proxy_token) = (read(admin.admin_token_file()), read(admin.proxy_token_file()));
        let (addr, grpc) = (admin.rest_addr(), admin.grpc_addr());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(admin.run(async {
            let _ = stopped.await;
        }));
        Self { addr, grpc, token, proxy_token, stop, task, dir }
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        drop(self.stopped().await);
    }

    /// Stops it, and starts another one on the same directory.
    pub async fn restart(self) -> Self {
        Self::on(self.stopped().await, None).await
    }

    /// Stops it; its directory is left.
    pub async fn stopped(self) -> tempfile::TempDir {
        self.stop.send(()).expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops in time");
        ended.expect("it does not panic").expect("it stops well");
        self.dir
    }

    /// Where its data is.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// One call on a connection of its own, exactly as given.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let tcp = TcpStream::connect(self.addr).await.expect("a connection");
        let (mut client, connection) = http1::handshake(TokioIo::new(tcp)).await.expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.addr.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, client.send_request(request)).await;
        answer.expect("an answer in time").expect("an answer")
    }

    /// One call with the given headers alone; the whole answer.
    pub async fn bare(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (head, body) = self.raw(method, path, headers, body).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time");
        let body = body.expect("a body").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// One call with the admin token and the given headers.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.bare(method, path, &all, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "").await
    }

    /// One call with a JSON body; a PATCH sends a merge patch.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let merge = method == "PATCH";
        let kind = if merge { "application/merge-patch+json" } else { "application/json" };
        let mut all = vec![("content-type", kind)];
        all.extend_from_slice(headers);
        self.call(method, path, &all, body.to_string()).await
    }

    /// Applies YAML documents, which must be good.
    pub async fn apply(&self, yaml: &str) -> Value {
        let headers = [("content-type", "application/yaml")];
        self.call("POST", "/v1/apply", &headers, yaml.to_owned()).await.expect(200)
    }

    /// The revision of the whole configuration.
    pub async fn revision(&self) -> u64 {
        self.get("/v1/listeners").await.expect(200)["revision"].as_u64().expect("a number")
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("text"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Checks that this is a whole problem document, with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["help"], format!("/help/{code}"), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        assert!(
            body["type"].as_str().is_some_and(|t| t.starts_with("urn:pigeon:problem:")),
            "{body}"
        );
        for field in ["title", "detail", "instance"] {
            assert!(body[field].as_str().is_some_and(|t| !t.is_empty()), "{field}: {body}");
        }
        body
    }
}

/// Waits until `check` gives a value.
pub async fn until<T, F: Future<Output = Option<T>>>(mut check: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the condition holds in time")
}

/// Names of the items of a list.
pub fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|i| i["name"].as_str().expect("a name")).collect()
}
