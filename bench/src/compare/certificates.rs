//! Certificates of a measurement, made when it begins: ECDSA on P-256, as most servers have.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// The name that proxy and engine have a certificate for.
pub const NAME: &str = "bench.example";

/// Files of TLS.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Who signs.
    pub ca: PathBuf,
    /// The certificate of proxy and engine.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub both: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let mut signer = CertificateParams::default();
        signer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        signer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        signer.distinguished_name.push(DnType::CommonName, "bench");
        let ca_key = KeyPair::generate()?;
        let ca = signer.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(signer, ca_key);
        let mut own = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?;
        own.distinguished_name.push(DnType::CommonName, NAME);
        let own_key = KeyPair::generate()?;
        let certificate = own.signed_by(&own_key, &issuer)?.pem();
        let key = own_key.serialize_pem();
        let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca.pem", &ca)?,
            certificate: write("certificate.pem", &certificate)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &(certificate + &key))?,
        })
    }
}
