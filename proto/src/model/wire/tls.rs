//! The wire form of TLS.

use super::super::error::Errors;
use super::super::tls::{check_engine_tls, check_listener_tls};
use super::super::{
    CertificateFiles, ClientCertificates, EngineTls, FilePath, HostName, ListenerTls, TlsVersion,
};
use super::{at, checked, unknown};
use crate::v1;

impl From<&ListenerTls> for v1::ListenerTls {
    fn from(t: &ListenerTls) -> Self {
        let certificate = |c: &CertificateFiles| v1::listener_tls::Certificate {
            certificate: c.certificate.to_string(),
            key: c.key.to_string(),
        };
        let min_version = match t.min_version {
            TlsVersion::V12 => v1::listener_tls::Version::V12,
            TlsVersion::V13 => v1::listener_tls::Version::V13,
        };
        let client_certificates = match t.client_certificates {
            ClientCertificates::None => v1::listener_tls::ClientCertificates::None,
            ClientCertificates::Optional => v1::listener_tls::ClientCertificates::Optional,
            ClientCertificates::Required => v1::listener_tls::ClientCertificates::Required,
        };
        Self {
            certificates: t.certificates.iter().map(certificate).collect(),
            min_version: min_version.into(),
            client_ca: or_empty(t.client_ca.as_ref()),
            client_certificates: client_certificates.into(),
        }
    }
}

pub(super) fn wire_listener_tls(w: v1::ListenerTls) -> Result<ListenerTls, Errors> {
    let mut errors = Errors::default();
    let mut certificates = Vec::new();
    for (i, c) in w.certificates.iter().enumerate() {
        let certificate =
            at(&mut errors, &format!("/tls/certificates/{i}/certificate"), c.certificate.parse());
        let key = at(&mut errors, &format!("/tls/certificates/{i}/key"), c.key.parse());
        if let (Some(certificate), Some(key)) = (certificate, key) {
            certificates.push(CertificateFiles { certificate, key });
        }
    }
    let min_version = match v1::listener_tls::Version::try_from(w.min_version) {
        Ok(v1::listener_tls::Version::V12) => Ok(TlsVersion::V12),
        Ok(v1::listener_tls::Version::V13) => Ok(TlsVersion::V13),
        Err(_) => Err(unknown("/tls/min_version", w.min_version)),
    };
    let asked = match v1::listener_tls::ClientCertificates::try_from(w.client_certificates) {
        Ok(v1::listener_tls::ClientCertificates::None) => Ok(ClientCertificates::None),
        Ok(v1::listener_tls::ClientCertificates::Optional) => Ok(ClientCertificates::Optional),
        Ok(v1::listener_tls::ClientCertificates::Required) => Ok(ClientCertificates::Required),
        Err(_) => Err(unknown("/tls/client_certificates", w.client_certificates)),
    };
    let client_ca = path(&mut errors, "/tls/client_ca", &w.client_ca);
    match (errors.keep(min_version), errors.keep(asked)) {
        (Some(min_version), Some(client_certificates)) if errors.0.is_empty() => {
            let value = ListenerTls { certificates, min_version, client_ca, client_certificates };
            checked(value, "/tls", check_listener_tls)
        }
        _ => Err(errors),
    }
}

impl From<&EngineTls> for v1::EngineTls {
    fn from(t: &EngineTls) -> Self {
        Self {
            ca: or_empty(t.ca.as_ref()),
            server_name: or_empty(t.server_name.as_ref()),
            certificate: or_empty(t.certificate.as_ref()),
            key: or_empty(t.key.as_ref()),
        }
    }
}

pub(super) fn wire_engine_tls(w: v1::EngineTls) -> Result<EngineTls, Errors> {
    let mut errors = Errors::default();
    let server_name: Option<HostName> = Some(w.server_name)
        .filter(|name| !name.is_empty())
        .and_then(|name| at(&mut errors, "/tls/server_name", name.parse()));
    let value = EngineTls {
        ca: path(&mut errors, "/tls/ca", &w.ca),
        server_name,
        certificate: path(&mut errors, "/tls/certificate", &w.certificate),
        key: path(&mut errors, "/tls/key", &w.key),
    };
    errors.into_result()?;
    checked(value, "/tls", check_engine_tls)
}

fn or_empty(text: Option<&impl ToString>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn path(errors: &mut Errors, pointer: &str, text: &str) -> Option<FilePath> {
    if text.is_empty() { None } else { at(errors, pointer, text.parse()) }
}
