//! TLS with a server: whom it has to be, and who the caller is to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Failure;

/// Files for TLS; none of them = the roots that the system trusts, and no certificate of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whoever signed the server's certificate, PEM.
    pub ca: Option<PathBuf>,
    /// A certificate to show, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Shakes hands with the server `host`; the inner error is the handshake's.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<io::Result<TlsStream<TcpStream>>, Failure> {
        let config = self.config()?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Failure::usage(format!("\"{host}\" is no name for TLS")))?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await)
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::bug(e.to_string()))?
            .with_root_certificates(self.roots()?);
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("--cert", certificate)?;
                let bad = |why: &str| Failure::usage(format!("--key: {} {why}", key.display()));
                let private = PrivateKeyDer::from_pem_slice(&read("--key", key)?)
                    .map_err(|_| bad("holds no private key in PEM form"))?;
                builder.with_client_auth_cert(chain, private).map_err(|e| {
                    bad(&format!("does not fit the certificate {}: {e}", certificate.display()))
                })
            }
            _ => Err(Failure::usage("--cert and --key belong together; give both")),
        }
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        let all = match &self.ca {
            Some(path) => certificates("--ca", path)?,
            // Whatever cannot be read of the system's is not trusted.
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(all);
        match roots.is_empty() {
            false => Ok(roots),
            true => Err(Failure::usage(
                "this system trusts no authority (there are no CA certificates); give --ca FILE",
            )),
        }
    }
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(flag, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => {
            let why = format!("{flag}: {} holds no certificate in PEM form", path.display());
            Err(Failure::usage(why))
        }
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|e| Failure::usage(format!("{flag}: cannot read {}: {e}", path.display())))
}
