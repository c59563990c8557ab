//! Certificates for the tests, TLS clients, and TLS before an engine that speaks none.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::{Channel, Endpoint};

/// Who signs, and a folder for what is signed.
pub struct Pki {
    pub folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test root");
        let made = params.self_signed(&key).unwrap();
        let pki = Self {
            folder: tempfile::tempdir().unwrap(),
            ca: made.der().clone(),
            issuer: Issuer::new(params, key),
        };
        std::fs::write(pki.path("ca.pem"), made.pem()).unwrap();
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes NAME.pem and NAME.key for these hosts.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        // Like a tool that renews: whole files take the place of others.
        for (end, text) in [("key", key.serialize_pem()), ("pem", made.pem())] {
            std::fs::write(self.path("new"), text).unwrap();
            std::fs::rename(self.path("new"), self.path(&format!("{name}.{end}"))).unwrap();
        }
    }

    /// `{certificate: …, key: …}`
    pub fn files(&self, name: &str) -> String {
        let file = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        format!("{{certificate: {}, key: {}}}", file("pem"), file("key"))
    }

    fn pair(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let read = |end: &str| std::fs::read(self.path(&format!("{name}.{end}"))).unwrap();
        let chain = CertificateDer::pem_slice_iter(&read("pem")).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(&read("key")).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        roots
    }

    /// A client that trusts this root, and shows the certificate `own`.
    pub fn client(&self, own: Option<(&Pki, &str)>, alpn: &[&[u8]]) -> ClientConfig {
        self.client_of(rustls::DEFAULT_VERSIONS, own, alpn)
    }

    pub fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<(&Pki, &str)>,
        alpn: &[&[u8]],
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((pki, name)) => {
                let (chain, key) = pki.pair(name);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        config
    }

    /// TLS before an engine: passes on what it opens. With `clients` it asks for certificates of theirs.
    pub async fn before(&self, name: &str, alpn: &[&[u8]], clients: bool, to: SocketAddr) -> Front {
        Front::start(self.acceptor(name, alpn, clients), to).await
    }

    /// The TLS of an engine.
    pub fn acceptor(&self, name: &str, alpn: &[&[u8]], clients: bool) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
        let builder = match clients {
            true => builder.with_client_cert_verifier(verifier.build().unwrap()),
            false => builder.with_no_client_auth(),
        };
        let (chain, key) = self.pair(name);
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What was seen of a connection to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    pub host: Option<String>,
    pub alpn: Option<String>,
    pub resumed: bool,
    pub certificate: bool,
}

/// TLS before an engine.
pub struct Front {
    pub address: SocketAddr,
    met: Arc<Mutex<Vec<Met>>>,
}

impl Front {
    async fn start(acceptor: TlsAcceptor, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let met = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&met);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let connection = stream.get_ref().1;
                    let alpn = connection.alpn_protocol();
                    seen.lock().unwrap().push(Met {
                        host: connection.server_name().map(ToOwned::to_owned),
                        alpn: alpn.map(|a| String::from_utf8(a.to_vec()).unwrap()),
                        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
                        certificate: connection.peer_certificates().is_some(),
                    });
                    let mut engine = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut engine).await;
                });
            }
        });
        Self { address, met }
    }

    pub fn met(&self) -> Vec<Met> {
        self.met.lock().unwrap().clone()
    }
}

/// Shakes hands with `to`, asking for `host`.
pub async fn connect(
    config: &Arc<ClientConfig>,
    host: &str,
    to: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, socket).await
}

/// A gRPC channel over one connection by TLS.
pub fn channel(config: ClientConfig, host: &'static str, to: SocketAddr) -> Channel {
    let config = Arc::new(config);
    let connector = tower::service_fn(move |_: http::Uri| {
        let config = Arc::clone(&config);
        async move {
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(connect(&config, host, to).await?))
        }
    });
    Endpoint::from_shared(format!("http://{host}:{}", to.port()))
        .unwrap()
        .connect_with_connector_lazy(connector)
}
