//! A request's fields on their way to the engine: what is dropped, added and kept (RFC 9110 section 7.6).

use std::net::IpAddr;

use super::list::List;
use crate::h2::fields::{Fields, Indexing};

/// The fields for the engine, but for those that differ from call to call (see [`per_call`]).
pub(super) fn forwarded(list: &List, grpc: bool, peer: IpAddr) -> Fields {
    let mut fields = Fields::new();
    let authority = list.authority();
    let mut hops = Vec::new();
    let (mut proto, mut host) = (false, false);
    pseudo(list, authority, &mut fields);
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
    hops.extend_from_slice(peer.to_string().as_bytes());
    fields.push(b"x-forwarded-for", &hops, Indexing::Incremental);
    if !proto {
        fields.push(b"x-forwarded-proto", b"http", Indexing::Incremental);
    }
    if !host && !authority.is_empty() {
        fields.push(b"x-forwarded-host", authority.as_bytes(), Indexing::Incremental);
    }
    fields
}

fn pseudo(list: &List, authority: &str, fields: &mut Fields) {
    for (name, value, indexing) in
        list.fields.iter().take_while(|(name, ..)| name.starts_with(b":"))
    {
        match name {
            b":authority" => {}
            // The connection to the engine is in the clear, whatever the caller's was.
            b":scheme" => fields.push(name, b"http", Indexing::Indexed),
            _ => fields.push(name, value, indexing),
        }
    }
    if !authority.is_empty() {
        fields.push(b":authority", authority.as_bytes(), Indexing::Incremental);
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
