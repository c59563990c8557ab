//! Fields on their way through: what is dropped, added and kept (RFC 9110 section 7.6), and what a route edits.

use std::sync::{Arc, PoisonError};

use super::list::{Edited, List};
use super::state::State;
use crate::filter::identity::credential;
use crate::filter::{Edits, HeaderEdits};
use crate::h2::fields::{Fields, Indexing};
use crate::http::Client;

/// The fields for the engine, but for those that differ from call to call (see [`per_call`]).
/// `secure` = the engine is spoken to by TLS.
pub(super) fn forwarded(list: &List, grpc: bool, client: &Client, secure: bool) -> Fields {
    let mut fields = Fields::new();
    let authority = list.authority();
    let mut hops = Vec::new();
    let (mut proto, mut host) = (false, false);
    pseudo(list, authority, secure, &mut fields);
    for (name, value, indexing) in list.fields.iter().filter(|(name, ..)| !name.starts_with(b":")) {
        match name {
            b"host" | b"proxy-authorization" | b"expect" => continue,
            // Written anew for each call.
            b"grpc-timeout" if grpc => continue,
            b"x-request-id" if value.is_empty() => continue,
            b"x-forwarded-for" => {
                hops.extend_from_slice(value);
                hops.extend_from_slice(b", ");
                continue;
            }
            b"x-forwarded-proto" => proto = true,
            b"x-forwarded-host" => host = true,
            // No caller says what only the gateway may say.
            _ if name.starts_with(b"pigeon-") => continue,
            _ => {}
        }
        fields.push(name, value, indexing);
    }
    hops.extend_from_slice(client.peer.to_string().as_bytes());
    fields.push(b"x-forwarded-for", &hops, Indexing::Incremental);
    if !proto {
        fields.push(b"x-forwarded-proto", client.scheme().as_bytes(), Indexing::Incremental);
    }
    if !host && !authority.is_empty() {
        fields.push(b"x-forwarded-host", authority.as_bytes(), Indexing::Incremental);
    }
    fields
}

/// These fields without API keys; none if they have none.
pub(super) fn without_keys(forwarded: &Fields) -> Option<Fields> {
    let keys = forwarded.iter().any(|(name, value, _)| credential::is_key(name, value));
    keys.then(|| {
        let mut fields = forwarded.clone();
        fields.retain(|name, value| !credential::is_key(name, value));
        fields
    })
}

fn pseudo(list: &List, authority: &str, secure: bool, fields: &mut Fields) {
    for (name, value, indexing) in
        list.fields.iter().take_while(|(name, ..)| name.starts_with(b":"))
    {
        match name {
            b":authority" => {}
            // What the connection to the engine is, whatever the caller's was.
            b":scheme" => {
                let scheme: &[u8] = if secure { b"https" } else { b"http" };
                fields.push(name, scheme, Indexing::Indexed);
            }
            _ => fields.push(name, value, indexing),
        }
    }
    if !authority.is_empty() {
        fields.push(b":authority", authority.as_bytes(), Indexing::Incremental);
    }
}

impl State {
    /// `list` as edits change it (`by` = their number, and whether the engine is spoken to by TLS); what was made of a list that comes again is kept, under a number of its own,
    /// until other edits are asked for.
    pub(super) fn edited(
        &mut self,
        list: &List,
        by: (u64, bool, bool),
        make: impl FnOnce() -> Fields,
    ) -> Arc<Edited> {
        let mut known = list.edited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(edited) = known.as_ref().filter(|edited| edited.by == by) {
            return Arc::clone(edited);
        }
        let shared = list.id != 0;
        let id = if shared { self.shared.number() } else { 0 };
        let edited = Arc::new(Edited { by, id, fields: make() });
        if shared {
            *known = Some(Arc::clone(&edited));
        }
        edited
    }
}

/// A request's fields for the engine, with what a route changes of them.
pub(super) fn edited_request(forwarded: &Fields, edits: &Edits) -> Fields {
    let mut fields = Fields::new();
    let pseudo = |name: &[u8]| name.starts_with(b":");
    for (name, value, indexing) in forwarded.iter().filter(|(name, ..)| pseudo(name)) {
        let target = || str::from_utf8(value).ok().and_then(|target| edits.target(target));
        match name {
            b":authority" if edits.host.is_some() => {}
            b":path" => match target() {
                Some(target) => fields.push(name, target.as_bytes(), Indexing::Incremental),
                None => fields.push(name, value, indexing),
            },
            _ => fields.push(name, value, indexing),
        }
    }
    if let Some(host) = &edits.host {
        fields.push(b":authority", host.as_bytes(), Indexing::Incremental);
    }
    edit(forwarded, &edits.request, &mut fields);
    fields
}

/// The head of an answer with what a route changes of it.
pub(super) fn edited_answer(answer: &Fields, edits: &HeaderEdits) -> Fields {
    let mut fields = Fields::new();
    for (name, value, indexing) in answer.iter().filter(|(name, ..)| name.starts_with(b":")) {
        fields.push(name, value, indexing);
    }
    edit(answer, edits, &mut fields);
    fields
}

fn edit(from: &Fields, edits: &HeaderEdits, to: &mut Fields) {
    for (name, value, indexing) in from.iter().filter(|(name, ..)| !name.starts_with(b":")) {
        if !edits.drops(name) {
            to.push(name, value, indexing);
        }
    }
    for (name, value) in edits.put() {
        let indexing = if value.is_sensitive() { Indexing::Never } else { Indexing::Incremental };
        to.push(name.as_str().as_bytes(), value.as_bytes(), indexing);
    }
}

/// 32 hexadecimal digits.
pub(super) fn hex(mut number: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'0'; 32];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number & 15) as usize];
        number >>= 4;
    }
    text
}
