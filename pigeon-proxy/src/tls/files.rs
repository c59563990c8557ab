//! Reading certificates and keys: what is wrong is said with the path, never with what is in the file.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use pigeon_proto::model::FilePath;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use super::certificate::Facts;
use super::{ShownCertificate, provider};

/// The largest file read; bundles of roots have a quarter of a megabyte.
const MOST: u64 = 4 << 20;
/// Readable for everybody.
const FOR_ALL: u32 = 0o004;

/// What a set of files holds, as a number: the same as long as they say the same.
pub(super) type Print = [u8; 32];

/// Reads files, and notes what they say.
#[derive(Default)]
pub(super) struct Reader {
    print: Sha256,
    /// What is worth a warning.
    pub(super) warnings: Vec<String>,
    /// The certificates shown to others, as people see them.
    pub(super) shown: Vec<ShownCertificate>,
}

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

impl Reader {
    /// What was read so far.
    pub(super) fn print(&self) -> Print {
        self.print.clone().finalize().into()
    }

    /// What another has read counts as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.print.update(other.print());
    }

    fn read(&mut self, path: &FilePath) -> Result<Vec<u8>, String> {
        let read = read(path);
        match &read {
            Ok(bytes) => self.print.update(bytes),
            Err(error) => self.print.update(error),
        }
        self.print.update([0]);
        read
    }

    fn certificates(&mut self, path: &FilePath) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = self.read(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(format!(
                "{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
            )),
        }
    }

    fn key(&mut self, path: &FilePath) -> Result<PrivateKeyDer<'static>, String> {
        let bytes = self.read(path)?;
        let open = fs::metadata(path.as_str()).is_ok_and(|m| m.permissions().mode() & FOR_ALL != 0);
        if open {
            self.warnings.push(format!("every user of this machine can read the key {path}"));
        }
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
            match encrypted {
                true => format!(
                    "the key {path} is encrypted, and a proxy has nobody to ask for the pass phrase; \
                     store it in the clear, readable for the proxy alone"
                ),
                false => format!("{path} holds no private key in PEM form (-----BEGIN … PRIVATE KEY-----)"),
            }
        })
    }

    /// A certificate and the key that fits it. Looks at both files also if the first is no good, so that a
    /// change of either is noticed.
    pub(super) fn pair(&mut self, certificate: &FilePath, key: &FilePath) -> Result<Pair, String> {
        let (chain, private) = (self.certificates(certificate), self.key(key));
        let (chain, private) = (chain?, private?);
        let facts = Facts::of(&chain[0])
            .map_err(|why| format!("the certificate in {certificate} cannot be read: {why}"))?;
        let signs = provider().key_provider.load_private_key(private).map_err(|_| {
            format!(
                "the key {key} is of a kind that is not supported; \
                 use RSA of 2048 bits or more, ECDSA (P-256, P-384) or Ed25519"
            )
        })?;
        let certified = CertifiedKey::new(chain, signs);
        certified
            .keys_match()
            .map_err(|_| format!("the key {key} does not fit the certificate {certificate}"))?;
        let now = jiff::Timestamp::now().as_second();
        if facts.not_after < now {
            let since = facts.until();
            self.warnings.push(format!("the certificate {certificate} has expired on {since}"));
        }
        if facts.not_before > now {
            self.warnings.push(format!("the certificate {certificate} is not valid yet"));
        }
        self.shown.push(ShownCertificate {
            path: certificate.to_string(),
            subject: facts.subject.clone(),
            names: facts.names.clone(),
            not_after: facts.not_after,
        });
        Ok(Pair { key: Arc::new(certified), facts })
    }

    /// Those who sign the certificates of the other side.
    pub(super) fn roots(&mut self, path: &FilePath) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(path)? {
            roots.add(certificate).map_err(|error| {
                format!(
                    "a certificate in {path} cannot be one that others are signed with: {error}"
                )
            })?;
        }
        Ok(roots)
    }
}

fn read(path: &FilePath) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
    let metadata = fs::metadata(path.as_str()).map_err(failed)?;
    if !metadata.is_file() {
        // To open a pipe would wait for its writer.
        return Err(format!("cannot read {path}: it is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path.as_str()).map_err(failed)?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("cannot read {path}: it is larger than {MOST} bytes"));
    }
    Ok(bytes)
}
