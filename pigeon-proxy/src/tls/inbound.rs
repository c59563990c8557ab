//! A listener's TLS: certificates by name, whose certificates callers show, and tickets to come back with.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pigeon_proto::model::{
    ClientCertificates, FilePath, ListenerProtocol, ListenerTls, Name, TlsVersion,
};
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Facts;
use super::files::{Print, Reader};
use super::held::Held;
use super::names::ByName;
use super::{H2, HTTP1, provider};
use crate::filter::Certificate;

/// A listener's TLS, shared by all workers.
#[derive(Debug)]
pub struct Inbound {
    spec: ListenerTls,
    held: Held,
    current: ArcSwap<Current>,
}

/// What serves.
#[derive(Clone, Debug)]
struct Current {
    http: Arc<ServerConfig>,
    /// Agrees on no protocol, whatever a caller offers: only the two ends know theirs.
    raw: Arc<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
    /// Who signs callers' certificates: tickets stand for certificates that these have signed.
    ca: Print,
}

impl Inbound {
    /// Reads the files. `before` = what the listener had: its tickets stay good if nothing speaks against it.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(
        listener: &Name,
        spec: &ListenerTls,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, String> {
        let held = Held::new(format!("listener/{listener}"));
        let same = |b: &&Self| {
            b.spec.client_ca == spec.client_ca
                && b.spec.client_certificates == spec.client_certificates
        };
        let before = before.filter(same).map(|b| b.current.load_full());
        let mut reader = Reader::default();
        let current = load(spec, before.as_deref(), &mut reader)?;
        held.note(reader, Ok(()));
        let current = ArcSwap::from_pointee(current);
        Ok(Arc::new(Self { spec: spec.clone(), held, current }))
    }

    /// What the configuration says.
    pub fn spec(&self) -> &ListenerTls {
        &self.spec
    }

    /// Its files.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The paths of its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FilePath> {
        let pairs = self.spec.certificates.iter().flat_map(|c| [&c.certificate, &c.key]);
        pairs.chain(&self.spec.client_ca)
    }

    /// Reads the files again; false if they are no good and that is new.
    pub fn reload(&self) -> bool {
        let before = self.current.load_full();
        let mut reader = Reader::default();
        match load(&self.spec, Some(&before), &mut reader) {
            Ok(current) => {
                if self.held.note(reader, Ok(())) {
                    self.current.store(Arc::new(current));
                }
                true
            }
            Err(error) => !self.held.note(reader, Err(&error)),
        }
    }

    /// Shakes hands with a caller.
    ///
    /// # Errors
    /// It speaks no TLS, or none that goes with the settings.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        protocol: ListenerProtocol,
    ) -> io::Result<TlsStream<TcpStream>> {
        let current = self.current.load_full();
        let config = Arc::clone(match protocol {
            ListenerProtocol::Auto => &current.http,
            ListenerProtocol::Tcp => &current.raw,
        });
        drop(current);
        TlsAcceptor::from(config).accept(socket).await
    }
}

/// Who the caller has shown to be; its certificate was verified in the handshake.
pub(crate) fn identity(stream: &TlsStream<TcpStream>) -> Option<Arc<Certificate>> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    let facts = Facts::of(certificates.first()?);
    facts.ok().map(|facts| Arc::new(facts.identity()))
}

fn load(
    spec: &ListenerTls,
    before: Option<&Current>,
    reader: &mut Reader,
) -> Result<Current, String> {
    let mut ca_reader = Reader::default();
    let roots = spec.client_ca.as_ref().map(|path| ca_reader.roots(path));
    // Counts among what was read also if it is no good.
    reader.add(&ca_reader);
    // All of them, so that every change is noticed; the first fault is told.
    let pairs: Vec<_> =
        spec.certificates.iter().map(|c| reader.pair(&c.certificate, &c.key)).collect();
    let roots = roots.transpose()?;
    let names = ByName::new(pairs.into_iter().collect::<Result<_, _>>()?);
    let versions: &[_] = match spec.min_version {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let verifier = match spec.client_certificates {
                ClientCertificates::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| e.to_string())?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    let ca = ca_reader.print();
    let tickets = match before.filter(|before| before.ca == ca) {
        Some(before) => Arc::clone(&before.tickets),
        None => Ticketer::new().map_err(|error| error.to_string())?,
    };
    config.ticketer = Arc::clone(&tickets);
    // What a caller comes back with is in its ticket, so nothing is to be kept for it here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let raw = Arc::new(config.clone());
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    Ok(Current { http: Arc::new(config), raw, tickets, ca })
}
