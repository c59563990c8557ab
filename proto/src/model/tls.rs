//! TLS of listeners and engines. Certificates and keys are named by path: what is in them stays on the machines
//! of the proxies.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, MergeWithError, Value, ValuePointerRef, take_cf_content};
use serde::{Serialize, Serializer};

use super::code;
use super::error::{BadValue, Contradiction, Errors};
use super::text::{as_text, clip, is_host};

/// Certificates of one listener.
const MOST_CERTIFICATES: usize = 1_000;

/// TLS towards callers.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_listener_tls -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListenerTls {
    /// Chosen by the host a caller asks for (SNI): exact names before wildcards. The first is for callers that
    /// name no host, or one that none is for.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken (default "1.2").
    #[deserr(default)]
    pub min_version: TlsVersion,
    /// PEM file on the proxy's machine: who signs the certificates of callers.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<FilePath>,
    /// Whether callers show a certificate of their own (default none).
    #[deserr(default)]
    pub client_certificates: ClientCertificates,
}

/// A certificate and its key: PEM files on the proxy's machine, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateFiles {
    /// The certificate, then those that lead to its root.
    pub certificate: FilePath,
    /// Its private key.
    pub key: FilePath,
}

/// TLS towards the endpoints of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(deny_unknown_fields, error = Errors, validate = check_engine_tls -> Contradiction)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EngineTls {
    /// PEM file on the proxy's machine: who signs the engine's certificates (default: the roots of the proxy's
    /// system).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,
    /// The name that its certificates are for, also sent as SNI (default: the host of the endpoint).
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<HostName>,
    /// PEM file on the proxy's machine: the certificate that the proxy shows the engine.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<FilePath>,
    /// Its private key.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<FilePath>,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    V12,
    /// TLS 1.3 only.
    V13,
}
as_text!(TlsVersion, "\"1.2\" or \"1.3\", in quotes");

/// Whether callers show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Errors)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    #[deserr(rename = "none")]
    None,
    /// They may; a bad one is refused.
    #[deserr(rename = "optional")]
    Optional,
    /// They must, or the connection ends.
    #[deserr(rename = "required")]
    Required,
}

/// The absolute path of a file on a proxy's machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);
as_text!(FilePath, "an absolute path, such as /etc/pigeon/tls/a.pem");

/// A DNS name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);
as_text!(HostName, "a host name, such as asr.internal");

impl FilePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TlsVersion {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        match s {
            "1.2" => Ok(Self::V12),
            "1.3" => Ok(Self::V13),
            _ => Err(BadValue(format!(
                "\"{}\" is not a version of TLS that is spoken; write \"1.2\" or \"1.3\"",
                clip(s)
            ))),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        })
    }
}

impl FromStr for FilePath {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        // Not repeated: it may be a key that somebody pasted.
        if s.contains("-----") || s.chars().any(char::is_control) {
            return Err(BadValue(
                "is not a path; write the path of a file on the proxy's machine, not what is in it"
                    .into(),
            ));
        }
        if !s.starts_with('/') || s.ends_with('/') || s.len() > 1_024 {
            return Err(BadValue(format!(
                "\"{}\" is not the absolute path of a file; write it like /etc/pigeon/tls/a.pem",
                clip(s)
            )));
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, BadValue> {
        if is_host(s) || s.parse::<std::net::IpAddr>().is_ok() {
            return Ok(Self(s.to_ascii_lowercase()));
        }
        let s = clip(s);
        Err(BadValue(format!("\"{s}\" is not a host name; write it like asr.internal")))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn check_listener_tls(
    tls: ListenerTls,
    _: ValuePointerRef,
) -> Result<ListenerTls, Contradiction> {
    let conflict =
        |field, message: &str| Err(Contradiction(field, code::CONFLICTING_FIELDS, message.into()));
    if tls.certificates.is_empty() {
        let message = "is empty; TLS needs at least one certificate with its key";
        return Err(Contradiction("/certificates", code::BAD_VALUE, message.into()));
    }
    if tls.certificates.len() > MOST_CERTIFICATES {
        let message = format!("has more than {MOST_CERTIFICATES}; use several listeners");
        return Err(Contradiction("/certificates", code::BAD_VALUE, message));
    }
    match (tls.client_certificates, &tls.client_ca) {
        (ClientCertificates::None, Some(_)) => conflict(
            "/client_certificates",
            "is none, but client_ca is set; set it to optional or required, or remove client_ca",
        ),
        (ClientCertificates::Optional | ClientCertificates::Required, None) => conflict(
            "/client_ca",
            "is missing; client_certificates needs the file of who signs them",
        ),
        _ => Ok(tls),
    }
}

pub(super) fn check_engine_tls(
    tls: EngineTls,
    _: ValuePointerRef,
) -> Result<EngineTls, Contradiction> {
    let conflict =
        |field, message: &str| Err(Contradiction(field, code::CONFLICTING_FIELDS, message.into()));
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => conflict("/key", "is missing; a certificate needs its key"),
        (None, Some(_)) => conflict("/certificate", "is missing; a key needs its certificate"),
        _ => Ok(tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_key_is_not_repeated() {
        for pasted in ["-----BEGIN PRIVATE KEY-----\nMIIsecret", "MIIsecret\nMIIsecret"] {
            let error = pasted.parse::<FilePath>().expect_err("refused").0;
            assert!(!error.contains("MII") && error.contains("path"), "{error}");
        }
        assert!("a.pem".parse::<FilePath>().expect_err("relative").0.contains("absolute"));
        assert!("/a.pem".parse::<FilePath>().is_ok());
    }

    #[test]
    fn only_versions_that_are_spoken_are_taken() {
        assert_eq!("1.3".parse(), Ok(TlsVersion::V13));
        assert!("1.1".parse::<TlsVersion>().is_err());
    }
}
