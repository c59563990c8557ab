//! An engine's TLS: whom its endpoints have to be, and who the proxy is to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use pigeon_proto::model::{Address, EngineTls, FilePath, Name};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::files::{Print, Reader};
use super::held::Held;
use super::{H2, HTTP1, provider};

/// Endpoints whose sessions are remembered, per engine and protocol.
const SESSIONS: usize = 256;

/// What is said of an endpoint that speaks no HTTP/2.
const NO_H2: &str = "TLS: the endpoint does not choose HTTP/2 (h2 by ALPN); \
                     set protocol http1 if it speaks only that";

/// An engine's TLS, shared by all workers.
#[derive(Debug)]
pub struct Outbound {
    /// Unique in this process and never 0; connections of another were opened under other settings.
    id: u64,
    spec: EngineTls,
    held: Held,
    /// What connections are opened with, or why none can be.
    current: ArcSwap<Result<Current, String>>,
}

/// What is wanted of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
    /// Either, or something else: who opens it looks.
    Any,
    /// What callers bring, which only the two ends know: nothing is agreed on.
    Raw,
}

#[derive(Debug)]
struct Current {
    h2: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    any: Arc<ClientConfig>,
    raw: Arc<ClientConfig>,
    print: Print,
}

/// Whether the files of an engine can be used.
///
/// # Errors
/// What is wrong with which file.
pub fn usable(spec: &EngineTls) -> Result<(), String> {
    load(spec, &mut Reader::default()).map(|_| ())
}

impl Outbound {
    /// Reads the files. If they are no good no connection can be opened, until they are.
    pub fn open(engine: &Name, spec: &EngineTls) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let outbound = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            spec: spec.clone(),
            held: Held::new(format!("engine/{engine}")),
            current: ArcSwap::from_pointee(Err("its files were not read yet".to_owned())),
        };
        outbound.reload();
        Arc::new(outbound)
    }

    /// What the configuration says.
    pub fn spec(&self) -> &EngineTls {
        &self.spec
    }

    /// Tells connections opened under other settings from its own.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Its files.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The paths of its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.spec.ca.iter().chain(&self.spec.certificate).chain(&self.spec.key)
    }

    /// Reads the files again; false if they are no good and that is new.
    pub fn reload(&self) -> bool {
        let mut reader = Reader::default();
        match load(&self.spec, &mut reader) {
            Ok(current) => {
                let same = |now: &Result<Current, String>| {
                    now.as_ref().is_ok_and(|now| now.print == current.print)
                };
                // Sessions are remembered as long as the files say the same.
                if !same(&self.current.load()) {
                    self.current.store(Arc::new(Ok(current)));
                }
                self.held.note(reader, Ok(()));
                true
            }
            Err(error) => {
                let new = self.held.note(reader, Err(&error));
                if self.current.load().is_err() {
                    self.current.store(Arc::new(Err(error)));
                }
                !new
            }
        }
    }

    /// Shakes hands with an endpoint.
    ///
    /// # Errors
    /// Why it is not trusted, or does not speak what is wanted.
    pub(crate) async fn connect(
        &self,
        socket: TcpStream,
        address: &Address,
        speaks: Speaks,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = match &**self.current.load() {
            Ok(current) => Arc::clone(match speaks {
                Speaks::H2 => &current.h2,
                Speaks::Http1 => &current.http1,
                Speaks::Any => &current.any,
                Speaks::Raw => &current.raw,
            }),
            Err(error) => return Err(format!("TLS: {error}")),
        };
        let host = match &self.spec.server_name {
            Some(name) => name.as_str(),
            None => host_of(address.as_str()),
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("TLS: {host} cannot be in a certificate; set tls.server_name"))?;
        let stream = TlsConnector::from(config).connect(name, socket).await;
        let stream = stream.map_err(|error| match speaks {
            Speaks::H2 if is_no_protocol(&error.to_string()) => NO_H2.to_owned(),
            _ => format!("TLS: {error}"),
        })?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if speaks == Speaks::H2 && chosen != Some(H2) {
            return Err(NO_H2.to_owned());
        }
        Ok(stream)
    }
}

/// Whether an endpoint has ended a handshake because it speaks none of the protocols offered (RFC 7301).
pub(crate) fn is_no_protocol(error: &str) -> bool {
    error.contains("NoApplicationProtocol")
}

/// Shakes hands with a server that is no engine, for HTTP/1.1; `ca` = a file of authorities other than the
/// system's. The files are read anew each time: this is for what happens rarely.
///
/// # Errors
/// Why it is not trusted.
pub(crate) async fn dial(
    socket: TcpStream,
    host: &str,
    ca: Option<&str>,
) -> Result<TlsStream<TcpStream>, String> {
    let ca = ca.map(str::parse::<FilePath>).transpose().map_err(|error| error.to_string())?;
    let spec = EngineTls { ca, ..EngineTls::default() };
    let read = move || load(&spec, &mut Reader::default());
    let current = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())??;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("TLS: {host} cannot be in a certificate"))?;
    let stream = TlsConnector::from(current.http1).connect(name, socket).await;
    stream.map_err(|error| format!("TLS: {error}"))
}

/// The host of `host:port`, without brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn load(spec: &EngineTls, reader: &mut Reader) -> Result<Current, String> {
    let roots = match &spec.ca {
        Some(path) => reader.roots(path),
        None => system_roots(),
    };
    let own = match (&spec.certificate, &spec.key) {
        (Some(certificate), Some(key)) => Some(reader.pair(certificate, key)),
        _ => None,
    };
    let (roots, own) = (roots?, own.transpose()?);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let resolver = SingleCertAndKey::from(pair.key);
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
    };
    let speaking = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Arc::new(config)
    };
    Ok(Current {
        h2: speaking(&[H2]),
        http1: speaking(&[HTTP1]),
        any: speaking(&[H2, HTTP1]),
        raw: speaking(&[]),
        print: reader.print(),
    })
}

/// The roots that this machine trusts.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine has no root certificates; \
                    install its package of them (ca-certificates), or name a file of them (ca)"
            .to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_of_an_endpoint_has_no_port_and_no_brackets() {
        for (address, host) in
            [("a.example:1", "a.example"), ("10.0.0.7:50051", "10.0.0.7"), ("[::1]:9", "::1")]
        {
            assert_eq!(host_of(address), host);
        }
    }
}
