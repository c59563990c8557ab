//! TLS of the bench's two ends: version 1.3, one cipher and one key exchange, whoever is in between.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::Resumption;
use rustls::crypto::ring::{Ticketer, cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite,
};

use super::socket::{Got, read};

/// What HTTP/2 is called in ALPN.
pub const H2: &[u8] = b"h2";
/// What HTTP/1.1 is called in ALPN.
pub const HTTP1: &[u8] = b"http/1.1";
/// The only cipher offered and taken, so that every peer spends the same on it.
const CIPHER: SupportedCipherSuite = cipher_suite::TLS13_AES_128_GCM_SHA256;
/// The only key exchange.
const EXCHANGE: &dyn SupportedKxGroup = kx_group::X25519;
/// A record that came in parts is opened with the last of them: so much more than was read.
const RECORD: usize = 20 * 1024;

fn provider() -> Arc<CryptoProvider> {
    let (cipher_suites, kx_groups) = (vec![CIPHER], vec![EXCHANGE]);
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..default_provider() })
}

/// The clients of a load run.
pub struct Clients {
    /// One for each that remembers its own sessions; one for all that remember none.
    configs: Vec<Arc<ClientConfig>>,
    server: ServerName<'static>,
    protocol: &'static [u8],
}

impl Clients {
    /// So many that trust `ca` for `name` and speak `protocol`; with `resume` each comes back with the ticket that
    /// it was given the last time.
    ///
    /// # Errors
    /// When the file is no good, or the name cannot be one.
    pub fn new(
        ca: &Path,
        name: &str,
        protocol: &'static [u8],
        resume: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("{} is no root", ca.display()))?;
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        let one = |_| {
            let mut config = config.clone();
            if resume.is_some() {
                config.resumption = Resumption::in_memory_sessions(1);
            }
            Arc::new(config)
        };
        let configs = (0..resume.unwrap_or(1).max(1)).map(one).collect();
        let server = ServerName::try_from(name.to_owned())
            .with_context(|| format!("\"{}\" cannot be in a certificate", name.escape_debug()))?;
        Ok(Self { configs, server, protocol })
    }

    /// A new connection of the n-th client.
    ///
    /// # Errors
    /// Never, with what `new` has checked.
    pub fn session(&self, n: usize) -> Result<Session, rustls::Error> {
        let config = Arc::clone(&self.configs[n % self.configs.len()]);
        let client = ClientConnection::new(config, self.server.clone())?;
        Ok(Session::new(client.into(), Some(self.protocol)))
    }
}

/// What an engine shows its clients.
#[derive(Clone)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    /// With this certificate and its key.
    ///
    /// # Errors
    /// When a file is no good.
    pub fn new(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let private = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("{} holds no private key in PEM form", key.display()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(certificates(certificate)?, private)
            .with_context(|| format!("{} cannot be used", key.display()))?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        config.ticketer = Ticketer::new()?;
        Ok(Self(Arc::new(config)))
    }

    /// Of a new connection.
    ///
    /// # Errors
    /// Never, with what `new` has checked.
    pub fn session(&self) -> Result<Session, rustls::Error> {
        Ok(Session::new(ServerConnection::new(Arc::clone(&self.0))?.into(), None))
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = file.display();
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.with_context(|| format!("cannot read certificates from {name}"))?;
    anyhow::ensure!(!found.is_empty(), "{name} holds no certificate in PEM form");
    Ok(found)
}

/// TLS of one connection.
pub struct Session {
    connection: Connection,
    /// Of a client: what has to be agreed on.
    protocol: Option<&'static [u8]>,
    /// The handshake was over when it was last looked at.
    greeted: bool,
    /// The other side says no more.
    closed: bool,
    fault: Option<String>,
}

impl Session {
    fn new(mut connection: Connection, protocol: Option<&'static [u8]>) -> Self {
        // What waits here would else wait in the socket's own buffer.
        connection.set_buffer_limit(None);
        Self { connection, protocol, greeted: false, closed: false, fault: None }
    }

    /// Why it has failed.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the handshake is not over.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The handshake, once, when it is over: whether it resumed a session.
    pub fn resumed(&mut self) -> Option<bool> {
        if self.greeted || self.is_handshaking() {
            return None;
        }
        self.greeted = true;
        Some(self.connection.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Reads what is there; what is opened is at the beginning of `buffer`.
    pub(super) fn read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> Got {
        if self.closed || self.fault.is_some() {
            return Got::End;
        }
        let (open, sealed) = buffer.split_at_mut(buffer.len().midpoint(RECORD));
        let got = read(stream, sealed);
        let (Got::More(n) | Got::Last(n)) = got else {
            if self.is_handshaking() {
                self.fault = Some("TLS: the other side left during the handshake".to_owned());
            }
            return Got::End;
        };
        match self.open(&sealed[..n], open) {
            // An end that came with the bytes is said after them.
            Ok(count) if self.closed => Got::More(count),
            Ok(count) if matches!(got, Got::More(_)) => Got::More(count),
            Ok(count) => Got::Last(count),
            Err(error) => {
                self.fault = Some(format!("TLS: {error}"));
                // Why, for the other end, if it still listens.
                let _ = self.write(stream);
                Got::End
            }
        }
    }

    fn open(&mut self, mut sealed: &[u8], open: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while !sealed.is_empty() && !self.closed {
            self.connection.read_tls(&mut sealed)?;
            let state = self.connection.process_new_packets().map_err(io::Error::other)?;
            self.closed = state.peer_has_closed();
            let more = state.plaintext_bytes_to_read();
            self.connection.reader().read_exact(&mut open[count..count + more])?;
            count += more;
        }
        if let Some(wanted) = self.protocol
            && !self.is_handshaking()
            && self.connection.alpn_protocol() != Some(wanted)
        {
            let wanted = String::from_utf8_lossy(wanted);
            return Err(io::Error::other(format!("the other side agrees on no {wanted} by ALPN")));
        }
        Ok(count)
    }

    /// Seals all of `out`; before the end of the handshake it waits for that.
    pub(super) fn seal(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.connection.writer().write_all(out)?;
        out.clear();
        Ok(())
    }

    /// Whether sealed bytes wait.
    pub(super) fn waits(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes sealed bytes, as much as the system takes.
    pub(super) fn write(&mut self, mut stream: &TcpStream) -> io::Result<usize> {
        self.connection.write_tls(&mut stream)
    }

    /// Says that nothing more comes.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }
}
