//! The head of a request, line by line as it comes (RFC 9112 sections 3, 5 and 6).

use std::ops::Range;

use memchr::memchr;

use super::fault::Fault;
use super::{is_text, is_token};

/// What was read of a head. All positions are from its first byte, which stays in place until it is whole.
#[derive(Default)]
pub(super) struct Head {
    /// Where the line begins that is not whole yet, and how far no end of it was found.
    line: usize,
    looked: usize,
    /// The request line has been read.
    begun: bool,
    old: bool,
    length: Option<u64>,
    chunked: bool,
    host: Option<Range<usize>>,
    /// Of a target that is a URL.
    authority: Option<Range<usize>>,
    upgrade: bool,
    connection: bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    /// Nothing, and the request asks for another protocol.
    Asks,
}

impl Head {
    /// Whether anything of it has come.
    pub(super) fn has_begun(&self) -> bool {
        self.looked > 0
    }

    /// Reads on: where the head ends, if it does. `bytes` begins with the head.
    pub(super) fn read(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, Fault> {
        while let Some(found) = memchr(b'\n', &bytes[self.looked..]) {
            let end = self.looked + found + 1;
            if end > most {
                return Err(Fault::TooLong);
            }
            let range = self.line..end;
            (self.line, self.looked) = (end, end);
            let Some(line) = bytes[range.clone()].strip_suffix(b"\r\n") else {
                return Err(Fault::Control);
            };
            match (self.begun, line.is_empty()) {
                // Empty lines before a request are let pass (RFC 9112 section 2.2).
                (false, true) => {}
                (true, true) => return Ok(Some(end)),
                (false, false) => {
                    self.request_line(line, range.start)?;
                    self.begun = true;
                }
                (true, false) => self.field(line, range.start)?,
            }
        }
        self.looked = bytes.len();
        if bytes.len() > most { Err(Fault::TooLong) } else { Ok(None) }
    }

    /// What follows the head, which is whole.
    pub(super) fn framing(&self, bytes: &[u8]) -> Result<Framing, Fault> {
        if self.host.is_none() && !self.old {
            return Err(Fault::Hosts);
        }
        if let (Some(authority), Some(host)) = (&self.authority, &self.host)
            && !is_same_host(&bytes[authority.clone()], &bytes[host.clone()])
        {
            return Err(Fault::OtherHost);
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Fault::LengthAndChunks),
            (true, None) if self.old => Err(Fault::CodingInOld),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length @ 1..)) => Ok(Framing::Length(length)),
            _ if self.upgrade && self.connection && !self.old => Ok(Framing::Asks),
            _ => Ok(Framing::Nothing),
        }
    }

    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), Fault> {
        if !line.iter().all(|&byte| is_text(byte)) {
            return Err(Fault::Control);
        }
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::Line);
        };
        // hyper is told of a fault by a request whose method begins like this: no client's may.
        if method.is_empty() || method[0] == b'!' || !method.iter().all(|&byte| is_token(byte)) {
            return Err(Fault::Method);
        }
        self.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Fault::Version),
        };
        self.target(method, target, start + method.len() + 1)
    }

    fn target(&mut self, method: &[u8], target: &[u8], start: usize) -> Result<(), Fault> {
        if method == b"CONNECT" {
            return Err(Fault::Connect);
        }
        if target.iter().any(|byte| matches!(byte, b'#' | b'\t')) {
            return Err(Fault::Target);
        }
        if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
            return Ok(());
        }
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme))
        });
        let Some(scheme) = scheme else { return Err(Fault::Target) };
        let rest = &target[scheme.len()..];
        let length =
            rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        if length == 0 || !is_host(&rest[..length]) {
            return Err(Fault::Host);
        }
        let start = start + scheme.len();
        self.authority = Some(start..start + length);
        Ok(())
    }

    fn field(&mut self, line: &[u8], start: usize) -> Result<(), Fault> {
        if let [b' ' | b'\t', ..] = line {
            return Err(Fault::Folded);
        }
        // `position` would stop at each byte; most names are short, and values are looked at without a way out.
        let colon = line.iter().position(|&byte| !is_token(byte)).unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let Some((b':', value)) = rest.split_first() else { return Err(Fault::Name) };
        if name.is_empty() {
            return Err(Fault::Name);
        }
        if value.iter().fold(false, |bad, &byte| bad | !is_text(byte)) {
            return Err(Fault::Control);
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        match name.len() {
            4 if is(b"host") => self.host(value, start + colon + 1),
            7 if is(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if is(b"connection") => {
                self.connection |= lists_upgrade(value);
                Ok(())
            }
            14 if is(b"content-length") => self.length(trimmed(value)),
            17 if is(b"transfer-encoding") => {
                if self.chunked || !trimmed(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Coding);
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8], start: usize) -> Result<(), Fault> {
        let host = trimmed(value);
        if !host.is_empty() && !is_host(host) {
            return Err(Fault::Host);
        }
        let before = value.iter().take_while(|&&byte| is_space(byte)).count();
        let range = start + before..start + before + host.len();
        if self.host.replace(range).is_some() { Err(Fault::Hosts) } else { Ok(()) }
    }

    /// Also of equal lengths there is one only: others might add them, or take one of them off.
    fn length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if value.is_empty() {
            return Err(Fault::Length);
        }
        let number = value.iter().try_fold(0_u64, |length, byte| match byte {
            b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        });
        let number = number.ok_or(Fault::Length)?;
        if self.length.replace(number).is_some() { Err(Fault::Lengths) } else { Ok(()) }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a `Connection` header has `upgrade` in it.
#[must_use]
pub fn lists_upgrade(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|t| trimmed(t).eq_ignore_ascii_case(b"upgrade"))
}

/// A host with or without a port (RFC 3986 section 3.2), without user information.
fn is_host(text: &[u8]) -> bool {
    let of_name = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let port = |rest: &[u8]| match rest {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if let [b'[', rest @ ..] = text {
        let end = rest.iter().position(|&byte| byte == b']');
        let Some((literal, rest)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return false;
        };
        let of_literal = |&byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        return !literal.is_empty() && literal.iter().all(of_literal) && port(&rest[1..]);
    }
    let end = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    !name.is_empty() && name.iter().all(of_name) && port(rest)
}

/// The same host and port; a port left out is 80.
fn is_same_host(one: &[u8], other: &[u8]) -> bool {
    let bare = |host| <[u8]>::strip_suffix(host, b":80").unwrap_or(host);
    bare(one).eq_ignore_ascii_case(bare(other))
}
