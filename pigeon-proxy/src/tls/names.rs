//! Which certificate a caller is shown, by the host it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::Pair;

/// Certificates by the names they are for.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    /// Of these, in the order of the configuration.
    pub(super) fn new(pairs: Vec<Pair>) -> Self {
        let mut names = Self { exact: HashMap::new(), wildcard: HashMap::new(), all: Vec::new() };
        for Pair { key, facts } in pairs {
            for host in facts.hosts {
                let (map, name) = match host.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcard, rest.to_owned()),
                    None => (&mut names.exact, host),
                };
                map.entry(name).or_default().push(Arc::clone(&key));
            }
            names.all.push(key);
        }
        names
    }

    /// Those for a host, the best first: exact, then wildcard, then all others in order.
    fn candidates(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let host = host.map(str::to_ascii_lowercase);
        let exact = host.as_ref().and_then(|host| self.exact.get(host));
        let wildcard = host
            .as_ref()
            .and_then(|host| host.split_once('.'))
            .and_then(|(_, rest)| self.wildcard.get(rest));
        exact.into_iter().flatten().chain(wildcard.into_iter().flatten()).chain(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    /// The first for the host whose key the caller can check; if it can check none, the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let host = hello.server_name();
        let found = self.candidates(host).find(fits).or_else(|| self.candidates(host).next());
        found.cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    use super::super::certificate::Facts;
    use super::super::provider;
    use super::*;

    fn pair(hosts: &[&str]) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("a key");
        let made = CertificateParams::new(hosts).and_then(|p| p.self_signed(&key)).expect("signed");
        let facts = Facts::of(made.der()).expect("read");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let signs = provider().key_provider.load_private_key(private).expect("loaded");
        Pair { key: Arc::new(CertifiedKey::new(vec![made.der().clone()], signs)), facts }
    }

    #[test]
    fn exact_names_go_before_wildcards_and_the_first_is_for_all_others() {
        let names = ByName::new(vec![
            pair(&["first.example"]),
            pair(&["*.b.example"]),
            pair(&["a.b.example", "c.example"]),
        ]);
        let at = |host| {
            let found = names.candidates(host).next().expect("there is always one");
            names.all.iter().position(|key| Arc::ptr_eq(key, found)).expect("one of them")
        };
        assert_eq!(at(Some("A.b.example")), 2);
        assert_eq!(at(Some("x.b.example")), 1);
        // A wildcard stands for one label (RFC 9525, section 6.3).
        assert_eq!(at(Some("y.x.b.example")), 0);
        assert_eq!(at(Some("b.example")), 0);
        assert_eq!(at(Some("c.example")), 2);
        assert_eq!(at(None), 0);
    }
}
