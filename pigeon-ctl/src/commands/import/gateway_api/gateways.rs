//! Gateways: listeners of Pigeon, one for each port, and what routes may come in there.

use std::net::{IpAddr, SocketAddr};

use pigeon_proto::model::Kind;
use serde_json::{Value, json};

use super::form::{Gateway, Listener, Reference, Tls};
use super::{GROUP, Read};
use crate::commands::import::draft::Draft;
use crate::commands::import::place::Place;

/// Where certificates are expected: a folder for each namespace and Secret.
const CERTIFICATES: &str = "/etc/pigeon/tls";

/// A listener of a Gateway.
pub(super) struct Section {
    gateway: (String, String),
    name: String,
    /// Its port.
    pub(super) port: u16,
    /// The only hosts it takes.
    pub(super) hostname: Option<String>,
    /// Whether callers speak TLS.
    pub(super) tls: bool,
    /// The listener of Pigeon; none if there is none.
    pub(super) listener: Option<String>,
    everywhere: bool,
    kinds: Vec<String>,
}

impl Section {
    /// Whether a route names it, or all of its Gateway.
    pub(super) fn is_meant(&self, namespace: &str, parent: &Reference) -> bool {
        let namespace = parent.namespace.as_deref().unwrap_or(namespace);
        self.gateway.0 == namespace
            && self.gateway.1 == parent.name
            && parent.section_name.as_ref().is_none_or(|name| *name == self.name)
            && parent.port.is_none_or(|port| port == self.port)
    }

    /// Whether it takes routes of a kind and namespace.
    pub(super) fn takes(&self, kind: &str, namespace: &str) -> bool {
        let near = self.everywhere || self.gateway.0 == namespace;
        near && (self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind))
    }
}

/// Makes the listeners of one Gateway; `sections` are those of all Gateways before.
pub(super) fn import(
    draft: &mut Draft,
    read: &Read,
    gateway: Gateway,
    sections: &mut Vec<Section>,
    taken: &mut Vec<(SocketAddr, String)>,
) {
    let at = read.at.key("spec");
    draft.no_counterpart(&at, &gateway.other);
    let address = address(draft, &at, &gateway.addresses);
    if gateway.gateway_class_name.is_some() {
        draft.not_needed(&at.key("gatewayClassName"), "Pigeon is the only class");
    }
    let mut ports: Vec<(u16, bool, Option<String>)> = Vec::new();
    for (index, listener) in gateway.listeners.iter().enumerate() {
        let place = at.key("listeners").item(index);
        draft.no_counterpart(&place, &listener.other);
        let Some(tls) = is_tls(draft, &place, listener) else { continue };
        let known = ports.iter().find(|(port, ..)| *port == listener.port);
        let name = match known {
            Some((_, other, _)) if *other != tls => {
                draft.not_supported(
                    &place,
                    "a port speaks TLS or does not; another listener of it does otherwise",
                );
                continue;
            }
            Some((.., name)) => name.clone(),
            None => {
                let same: Vec<(usize, &Listener)> = gateway
                    .listeners
                    .iter()
                    .enumerate()
                    .filter(|(_, l)| l.port == listener.port)
                    .collect();
                let name =
                    make(draft, read, &at, SocketAddr::new(address, listener.port), &same, taken);
                ports.push((listener.port, tls, name.clone()));
                name
            }
        };
        if let Some(name) = &name {
            draft.mapped(&place, format!("listener/{name}"));
        }
        sections.push(section(draft, &place, read, listener, tls, name));
    }
}

fn section(
    draft: &mut Draft,
    at: &Place,
    read: &Read,
    listener: &Listener,
    tls: bool,
    name: Option<String>,
) -> Section {
    let allowed = listener.allowed_routes.clone().unwrap_or_default();
    draft.no_counterpart(&at.key("allowedRoutes"), &allowed.other);
    let from = allowed.namespaces.unwrap_or_default().from;
    if from.as_deref() == Some("Selector") {
        let why = "the labels of namespaces are not known here: routes of all namespaces are taken";
        draft.not_supported(&at.key("allowedRoutes.namespaces.selector"), why);
    }
    Section {
        gateway: (read.namespace.clone(), read.name.clone()),
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname.clone().filter(|host| !host.is_empty()),
        tls,
        listener: name,
        everywhere: matches!(from.as_deref(), Some("All" | "Selector")),
        kinds: allowed.kinds.into_iter().filter_map(|kind| kind.kind).collect(),
    }
}

/// The listener of a port of one Gateway; none if another Gateway has the port.
fn make(
    draft: &mut Draft,
    read: &Read,
    at: &Place,
    address: SocketAddr,
    listeners: &[(usize, &Listener)],
    taken: &mut Vec<(SocketAddr, String)>,
) -> Option<String> {
    let overlaps = |other: &SocketAddr| {
        let all = other.ip().is_unspecified() || address.ip().is_unspecified();
        other.port() == address.port() && (all || other.ip() == address.ip())
    };
    if let Some((_, other)) = taken.iter().find(|(other, _)| overlaps(other)) {
        let index = listeners.first().map_or(0, |(index, _)| *index);
        draft.not_supported(&at.key("listeners").item(index), format!(
            "{other} has port {} already, and one machine has it once: import this Gateway by itself, for other proxies",
            address.port()
        ));
        return None;
    }
    let wanted = format!("{}-{}-{}", read.namespace, read.name, address.port());
    let name = draft.names.unique(Kind::Listener, &wanted);
    taken.push((address, read.at.source.clone()));
    let mut spec = json!({ "address": address.to_string() });
    let mut certificates = Vec::new();
    for (index, listener) in listeners {
        if let Some(tls) = &listener.tls {
            let place = at.key("listeners").item(*index).key("tls");
            draft.no_counterpart(&place, &tls.other);
            certificates.extend(files(draft, &place, read, tls));
        }
    }
    if !certificates.is_empty() {
        spec["tls"] = json!({ "certificates": certificates });
    }
    draft.add(at, Kind::Listener, &name, json!({}), spec);
    Some(name)
}

/// Whether a listener speaks TLS; none if Pigeon has nothing like it.
fn is_tls(draft: &mut Draft, at: &Place, listener: &Listener) -> Option<bool> {
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref()).unwrap_or("Terminate");
    let certificates = listener.tls.as_ref().map_or(0, |tls| tls.certificate_refs.len());
    match listener.protocol.as_str() {
        "HTTP" => return Some(false),
        "HTTPS" if mode == "Terminate" && certificates > 0 => return Some(true),
        "HTTPS" => draft.not_supported(
            &at.key("tls"),
            "TLS needs a certificate of its own here (mode Terminate, certificateRefs)",
        ),
        other => draft.not_supported(
            &at.key("protocol"),
            format!(
                "{other} is not imported; for raw connections write a listener with protocol: tcp"
            ),
        ),
    }
    None
}

/// The files where the certificates of Secrets are expected.
fn files(draft: &mut Draft, at: &Place, read: &Read, tls: &Tls) -> Vec<Value> {
    let mut files = Vec::new();
    for (index, secret) in tls.certificate_refs.iter().enumerate() {
        let namespace = secret.namespace.as_deref().unwrap_or(&read.namespace);
        let folder = format!("{CERTIFICATES}/{namespace}/{}", secret.name);
        draft.not_supported(&at.key("certificateRefs").item(index), format!(
            "proxies read certificates from files, not from Secrets: put {namespace}/{} where they are as {folder}/tls.crt and tls.key, or change the paths; until then the listener is refused",
            secret.name
        ));
        let file = json!({ "certificate": format!("{folder}/tls.crt"), "key": format!("{folder}/tls.key") });
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

/// The address of the listeners: the one that the Gateway asks for, or all.
fn address(draft: &mut Draft, at: &Place, addresses: &[Value]) -> IpAddr {
    let all = IpAddr::from([0, 0, 0, 0]);
    let asked = addresses.first().and_then(|a| a["value"].as_str()?.parse().ok());
    match (asked, addresses.len()) {
        (_, 0) => all,
        (Some(address), 1) => {
            draft.mapped(&at.key("addresses"), format!("listener/* address: {address}"));
            address
        }
        _ => {
            draft.not_supported(
                &at.key("addresses"),
                "only one IP address can be asked for; listeners take all",
            );
            all
        }
    }
}

/// Whether a parent is a Gateway.
pub(super) fn is_gateway(parent: &Reference) -> bool {
    parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
        && parent.group.as_deref().unwrap_or(GROUP) == GROUP
}
