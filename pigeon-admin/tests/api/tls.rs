//! REST by TLS: who gets in, who does not, and a caller that says nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pigeon_admin::app::{self, Config, StartError};
use pigeon_admin::tls::Files;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::{PATIENCE, Server};

/// A folder with an authority (`ca.pem`), and the certificates that it has signed.
struct Pki {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).expect("written");
        Self { dir, ca }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Certificate and key of `name`, as `name.pem` and `name.key`.
    fn issue(&self, name: &str) {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("signed");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    fn files(&self, client_ca: bool) -> Files {
        Files {
            certificate: self.path("localhost.pem"),
            key: self.path("localhost.key"),
            client_ca: client_ca.then(|| self.path("ca.pem")),
            grpc_client_ca: None,
        }
    }

    fn client(&self, shows: Option<&str>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(&self.path("ca.pem")));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
                let chain = chain(&self.path(&format!("{name}.pem")));
                builder.with_client_auth_cert(chain, key.expect("a key")).expect("a pair")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(path).expect("a file");
    all.map(|certificate| certificate.expect("PEM")).collect()
}

/// What a call by TLS is answered, as text.
async fn call(s: &Server, client: &TlsConnector, request: &str) -> std::io::Result<String> {
    let tcp = TcpStream::connect(s.addr).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = client.connect(name, tcp).await?;
    tls.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, tls.read_to_string(&mut answer)).await.expect("in time")?;
    Ok(answer)
}

fn log_in(s: &Server) -> String {
    let body = format!("{{\"token\": \"{}\"}}", s.token);
    format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_session_by_tls_is_for_tls_alone() {
    let pki = Pki::new();
    pki.issue("localhost");
    let s = Server::with_tls(Some(pki.files(false))).await;
    let answer = call(&s, &pki.client(None), &log_in(&s)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(answer.contains("HttpOnly; Secure; SameSite=Strict"), "{answer}");
    // In the clear there is nothing, and somebody who says nothing keeps nobody out.
    let _silent = TcpStream::connect(s.addr).await.expect("connected");
    let mut clear = TcpStream::connect(s.addr).await.expect("connected");
    clear.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = tokio::time::timeout(PATIENCE, clear.read_to_end(&mut answer)).await.expect("in time");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let again = call(&s, &pki.client(None), &log_in(&s)).await.expect("an answer");
    assert!(again.starts_with("HTTP/1.1 204"), "{again}");
    s.stop().await;
}

#[tokio::test]
async fn with_an_authority_of_callers_only_those_it_signed_get_in() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("localhost");
    pki.issue("ann");
    other.issue("eve");
    let s = Server::with_tls(Some(pki.files(true))).await;
    let answer = call(&s, &pki.client(Some("ann")), &log_in(&s)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    for file in ["eve.pem", "eve.key"] {
        std::fs::copy(other.path(file), pki.path(file)).expect("copied");
    }
    for shows in [None, Some("eve")] {
        let answer = call(&s, &pki.client(shows), &log_in(&s)).await;
        assert!(answer.as_ref().map_or(true, String::is_empty), "{shows:?}: {answer:?}");
    }
    s.stop().await;
}

#[tokio::test]
async fn files_that_are_no_good_keep_it_from_starting() {
    let (pki, dir) = (Pki::new(), tempfile::tempdir().expect("a folder"));
    pki.issue("localhost");
    pki.issue("other");
    let start = |files: Files| async {
        let any = "127.0.0.1:0".parse().expect("an address");
        let data_dir = dir.path().join("data");
        let (database_url, insecure_bind) = (None, false);
        let tls = Some(files);
        let config =
            Config { data_dir, database_url, listen: any, grpc_listen: any, tls, insecure_bind };
        match app::bind(config).await {
            Err(StartError::Tls(why)) => why,
            other => panic!("{:?}", other.err()),
        }
    };
    let good = pki.files(true);
    let missing = start(Files { key: pki.path("gone.key"), ..good.clone() }).await;
    assert!(missing.contains("gone.key"), "{missing}");
    let not_it = start(Files { key: pki.path("localhost.pem"), ..good.clone() }).await;
    assert!(not_it.contains("no private key"), "{not_it}");
    let unfit = start(Files { key: pki.path("other.key"), ..good.clone() }).await;
    assert!(unfit.contains("does not fit") && unfit.contains("other.key"), "{unfit}");
    let no_ca = start(Files { client_ca: Some(pki.path("localhost.key")), ..good }).await;
    assert!(no_ca.contains("no certificate") && no_ca.contains("localhost.key"), "{no_ca}");
}
