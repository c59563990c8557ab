//! TLS with an admin: whom it has to be, and who the proxy is to it. Files are read at every attempt, so that
//! what replaced them counts.

use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::address::AdminAddress;
use crate::config::durable;

/// Largest file read, in bytes.
const LARGEST: u64 = 4 << 20;

/// What TLS with an admin is done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminTls {
    /// Whoever signed the admin's certificate, PEM; none = those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Certificate and key to show, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl AdminTls {
    /// For connections to `address`; none if it is not spoken to by TLS.
    pub(super) fn of(&self, address: &AdminAddress) -> Result<Option<ClientTlsConfig>, String> {
        if !address.is_tls() {
            return Ok(None);
        }
        let tls = match &self.ca {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(path) => {
                let ca = Certificate::from_pem(read("--admin-ca", path)?);
                ClientTlsConfig::new().ca_certificate(ca)
            }
        };
        Ok(Some(match &self.identity {
            None => tls,
            Some((certificate, key)) => {
                let certificate = read("--admin-cert", certificate)?;
                tls.identity(Identity::from_pem(certificate, read("--admin-key", key)?))
            }
        }))
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = durable::read_limited(path, LARGEST);
    let read = read.map_err(|e| format!("cannot read {} ({flag}): {e}", path.display()))?;
    match read.windows(11).any(|word| word == b"-----BEGIN ") {
        true => Ok(read),
        false => Err(format!("{} ({flag}) is not PEM (-----BEGIN …)", path.display())),
    }
}
