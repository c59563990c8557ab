//! What a certificate says of its holder.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::{Any, ToDer as _};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use crate::filter::Certificate;

/// Attributes that RFC 4514 (section 3) and its readers have a short name for.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// What a certificate says.
pub(super) struct Facts {
    /// As RFC 4514 writes it.
    pub(super) subject: String,
    /// The names it is for, of every kind.
    pub(super) names: Vec<String>,
    /// Of these, the DNS names, in lower case.
    pub(super) hosts: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Facts {
    /// Reads a certificate.
    pub(super) fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        let (mut names, mut hosts) = (Vec::new(), Vec::new());
        let alternatives = certificate.subject_alternative_name().map_err(|e| e.to_string())?;
        for name in alternatives.iter().flat_map(|found| &found.value.general_names) {
            let text = match name {
                GeneralName::DNSName(host) => {
                    hosts.push(host.to_ascii_lowercase());
                    (*host).to_owned()
                }
                GeneralName::URI(name) | GeneralName::RFC822Name(name) => (*name).to_owned(),
                GeneralName::IPAddress(bytes) => match address(bytes) {
                    Some(address) => address,
                    None => continue,
                },
                GeneralName::DirectoryName(name) => subject(name),
                _ => continue,
            };
            names.push(text);
        }
        let validity = certificate.validity();
        Ok(Self {
            subject: subject(certificate.subject()),
            names,
            hosts,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// The day and time it ends.
    pub(super) fn until(&self) -> String {
        jiff::Timestamp::from_second(self.not_after).map_or_else(|_| "?".into(), |t| t.to_string())
    }

    /// As identity.
    pub(super) fn identity(self) -> Certificate {
        Certificate { subject: self.subject, names: self.names }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).to_string())
}

/// The text of a name: the last part first (RFC 4514, section 2.1).
fn subject(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let part = |part: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        let attribute = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            let oid = a.attr_type().to_id_string();
            match SHORT.iter().find(|(known, _)| *known == oid) {
                Some((_, short)) => format!("{short}={}", value(a.attr_value())),
                None => format!("{oid}={}", hex(a.attr_value())),
            }
        };
        part.iter().map(attribute).collect::<Vec<_>>().join("+")
    };
    parts.iter().rev().map(part).collect::<Vec<_>>().join(",")
}

fn value(value: &Any<'_>) -> String {
    match value.as_any_str() {
        Ok(text) => escape(&text),
        Err(_) => hex(value),
    }
}

/// RFC 4514, section 2.4.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', c]),
            ' ' if i == 0 || i == last => escaped.push_str("\\ "),
            '#' if i == 0 => escaped.push_str("\\#"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a text does not fail.
                    let _ = write!(escaped, "\\{byte:02x}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The encoding of what has no text (RFC 4514, section 2.4).
fn hex(value: &Any<'_>) -> String {
    let mut text = String::from("#");
    for byte in value.to_der_vec().unwrap_or_default() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn facts(params: CertificateParams) -> Facts {
        let key = KeyPair::generate().expect("a key");
        Facts::of(params.self_signed(&key).expect("signed").der()).expect("read")
    }

    #[test]
    fn the_subject_is_written_as_rfc_4514_says() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, \"Inc\"");
        params.distinguished_name.push(DnType::CommonName, " #asr+client");
        assert_eq!(facts(params).subject, r##"CN=\ #asr\+client,O=Example\, \"Inc\""##);
        assert_eq!(escape("#a\0 "), r"\#a\00\ ");
    }

    #[test]
    fn every_kind_of_name_is_read() {
        let mut params = CertificateParams::new(vec!["A.Example".to_owned()]).expect("a name");
        let spiffe = "spiffe://example/asr".to_owned().try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::URI(spiffe));
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let facts = facts(params);
        assert_eq!(facts.names, ["A.Example", "spiffe://example/asr", "127.0.0.1"]);
        assert_eq!(facts.hosts, ["a.example"]);
    }
}
