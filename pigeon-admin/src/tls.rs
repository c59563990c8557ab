//! TLS of both ports: certificate and key from files, read again when they change. Files that are no good change
//! nothing: what was last good serves on, and the log says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. By content: there is no moment at which a change could be missed.
const LOOK: Duration = Duration::from_secs(2);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Largest file read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those it was signed with; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// Callers of REST must show a certificate that one of these has signed; none = they need not.
    pub client_ca: Option<PathBuf>,
    /// The same, for proxies on the stream port.
    pub grpc_client_ca: Option<PathBuf>,
}

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// REST and the dashboard: HTTP/1.1.
    Rest,
    /// The config stream: HTTP/2.
    Grpc,
}

/// What connections are accepted with.
struct Current {
    /// Of all files.
    print: [u8; 32],
    rest: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
}

/// TLS of both ports.
pub struct Tls {
    files: Files,
    current: ArcSwap<Current>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(files: Files) -> Result<Arc<Self>, String> {
        let current = load(&files, &read(&files)?)?;
        Ok(Arc::new(Self { files, current: ArcSwap::from_pointee(current) }))
    }

    /// Looks at the files again and again until told to stop.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut told = None;
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            let this = Arc::clone(&self);
            // Keys are read and checked: not for a thread that others wait for.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            let error = looked.unwrap_or_else(|panic| Err(panic.to_string())).err();
            if error != told {
                match &error {
                    Some(why) => {
                        tracing::error!(
                            "the files of TLS are no good, the ones before serve on: {why}"
                        );
                    }
                    None => tracing::info!("the files of TLS are good again"),
                }
                told = error;
            }
        }
    }

    /// Takes the files if they are others, and good.
    fn look(&self) -> Result<(), String> {
        let texts = read(&self.files)?;
        if print(&texts) != self.current.load().print {
            self.current.store(Arc::new(load(&self.files, &texts)?));
            let file = self.files.certificate.display();
            tracing::info!(%file, "new connections get the certificate that is there now");
        }
        Ok(())
    }

    fn accept(&self, port: Port, tcp: TcpStream) -> Accept<TcpStream> {
        let current = self.current.load();
        let config = match port {
            Port::Rest => &current.rest,
            Port::Grpc => &current.grpc,
        };
        TlsAcceptor::from(Arc::clone(config)).accept(tcp)
    }
}

/// What each file holds.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    grpc_client_ca: Option<Vec<u8>>,
}

fn read(files: &Files) -> Result<Texts, String> {
    let maybe = |path: &Option<PathBuf>| path.as_deref().map(read_one).transpose();
    Ok(Texts {
        certificate: read_one(&files.certificate)?,
        key: read_one(&files.key)?,
        client_ca: maybe(&files.client_ca)?,
        grpc_client_ca: maybe(&files.grpc_client_ca)?,
    })
}

fn read_one(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", path.display());
    let about = fs::metadata(path).map_err(|e| failed(&e))?;
    match about.is_file() && about.len() <= LARGEST {
        true => fs::read(path).map_err(|e| failed(&e)),
        false => Err(failed(&format!("it is no file of at most {LARGEST} bytes"))),
    }
}

fn print(texts: &Texts) -> [u8; 32] {
    let mut all = Sha256::new();
    for text in [Some(&texts.certificate), Some(&texts.key)] {
        all.update(Sha256::digest(text.map_or(&[][..], Vec::as_slice)));
    }
    for text in [&texts.client_ca, &texts.grpc_client_ca] {
        all.update(Sha256::digest(text.as_deref().unwrap_or_default()));
    }
    all.finalize().into()
}

fn load(files: &Files, texts: &Texts) -> Result<Current, String> {
    let one = |ca: &Option<PathBuf>, text: &Option<Vec<u8>>, alpn: &[u8]| {
        let ca = ca.as_deref().zip(text.as_deref());
        server(files, texts, ca, alpn).map(Arc::new)
    };
    Ok(Current {
        print: print(texts),
        rest: one(&files.client_ca, &texts.client_ca, b"http/1.1")?,
        grpc: one(&files.grpc_client_ca, &texts.grpc_client_ca, b"h2")?,
    })
}

fn server(
    files: &Files,
    texts: &Texts,
    ca: Option<(&Path, &[u8])>,
    alpn: &[u8],
) -> Result<ServerConfig, String> {
    let chain = certificates(&files.certificate, &texts.certificate)?;
    let path = files.key.display();
    let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|_| {
        format!("{path} holds no private key in PEM form (-----BEGIN … PRIVATE KEY-----)")
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = match ca {
        None => builder.with_no_client_auth(),
        Some((path, text)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, text)? {
                let bad = |e| format!("{}: {e}", path.display());
                roots.add(certificate).map_err(bad)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let bad = |e| format!("{}: {e}", path.display());
            builder.with_client_cert_verifier(verifier.map_err(bad)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| {
        format!("the key {path} does not fit the certificate {}: {e}", files.certificate.display())
    })?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!(
            "{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
            path.display()
        )),
    }
}

/// A connection, by TLS or not. Hands are shaken by whoever reads or writes first.
pub enum Io {
    /// In the clear.
    Plain(TcpStream),
    /// Shaking hands, until a time.
    Shaking(Box<Accept<TcpStream>>, Pin<Box<Sleep>>),
    /// Hands could not be shaken.
    Failed,
    /// By TLS.
    Secure(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// A connection that was accepted.
    pub fn new(tcp: TcpStream, tls: Option<&Tls>, port: Port) -> Self {
        match tls {
            None => Self::Plain(tcp),
            Some(tls) => Self::Shaking(Box::new(tls.accept(port, tcp)), Box::pin(sleep(HANDSHAKE))),
        }
    }

    /// Ready once there is something to read from and write to.
    fn shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Shaking(accept, limit) = self {
            if limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match ready!(Pin::new(accept.as_mut()).poll(cx)) {
                Ok(stream) => *self = Self::Secure(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%error, "a caller does not get in by TLS");
                    *self = Self::Failed;
                }
            }
        }
        match self {
            Self::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn stream(&mut self) -> Pin<&mut (dyn Both + Send + Unpin)> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp as &mut (dyn Both + Send + Unpin)),
            Self::Secure(tls) => Pin::new(tls.as_mut() as &mut (dyn Both + Send + Unpin)),
            // Whoever asks has waited for the hands to be shaken.
            Self::Shaking(..) | Self::Failed => unreachable!("the handshake is not done"),
        }
    }
}

trait Both: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Both for T {}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.shaken(cx))?;
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.shaken(cx))?;
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.shaken(cx))?;
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        // Either way.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.shaken(cx))?;
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Shaking(..) | Self::Failed = *self {
            // There is nobody yet to say goodbye to.
            return Poll::Ready(Ok(()));
        }
        self.stream().poll_shutdown(cx)
    }
}
