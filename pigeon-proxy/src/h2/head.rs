//! Which lists of fields are a request, a response or trailers (RFC 9113 sections 8.2 and 8.3).
//!
//! A list that is refused here is malformed: an error of its stream, PROTOCOL_ERROR. These rules
//! are what keeps a field of HTTP/2 from being read as two, or as framing, by an HTTP/1.1 peer.

use super::fields::Fields;

/// What is wrong with a list of fields, and nothing of the peer's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// The pseudo-fields of a request, and its `host`, in one pass.
#[derive(Default)]
struct Request<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

/// Checks the head of a request (RFC 9113 section 8.3.1). Extended CONNECT (RFC 8441) is not
/// offered, so `:protocol` is refused.
pub fn check_request(fields: &Fields) -> Result<(), Malformed> {
    let mut request = Request::default();
    let mut regular = false;
    for (name, value, _) in fields.iter() {
        if name.first() == Some(&b':') {
            if regular {
                return Err(Malformed("a pseudo-field comes after a regular field"));
            }
            check_value(value)?;
            let place = match name {
                b":method" => &mut request.method,
                b":scheme" => &mut request.scheme,
                b":path" => &mut request.path,
                b":authority" => &mut request.authority,
                b":protocol" => return Err(Malformed(":protocol was not offered")),
                _ => return Err(Malformed("a pseudo-field that requests do not have")),
            };
            once(place, value, "a pseudo-field comes twice")?;
        } else {
            regular = true;
            check_field(name, value)?;
            if name == b"host" {
                once(&mut request.host, value, "host comes twice")?;
            }
        }
    }
    request.check()
}

fn once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    twice: &'static str,
) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed(twice)),
    }
}

impl Request<'_> {
    fn check(&self) -> Result<(), Malformed> {
        let method = self.method.ok_or(Malformed(":method is missing"))?;
        if !is_token(method) {
            return Err(Malformed(":method is not a token"));
        }
        if method == b"CONNECT" {
            return self.check_connect();
        }
        let scheme = self.scheme.ok_or(Malformed(":scheme is missing"))?;
        if !is_scheme(scheme) {
            return Err(Malformed(":scheme is not a scheme"));
        }
        check_path(self.path.ok_or(Malformed(":path is missing"))?, method)?;
        self.check_authority(scheme)
    }

    /// RFC 9113 section 8.5.
    fn check_connect(&self) -> Result<(), Malformed> {
        if self.scheme.is_some() || self.path.is_some() {
            return Err(Malformed("CONNECT has :scheme or :path"));
        }
        if self.authority.is_none() {
            return Err(Malformed("CONNECT has no :authority"));
        }
        self.check_authority(b"")
    }

    fn check_authority(&self, scheme: &[u8]) -> Result<(), Malformed> {
        if let (None, None) = (self.authority, self.host) {
            return Err(Malformed(":authority and host are missing"));
        }
        for authority in [self.authority, self.host].into_iter().flatten() {
            if !is_authority(authority) {
                return Err(Malformed(":authority or host is not a host with or without a port"));
            }
        }
        match (self.authority, self.host) {
            (Some(authority), Some(host)) if !is_same_host(authority, host, scheme) => {
                Err(Malformed(":authority and host differ"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the head of a response, final or interim, and returns its status (RFC 9113 section
/// 8.3.2). HTTP/2 has no 101 (section 8.6).
pub fn check_response(fields: &Fields) -> Result<u16, Malformed> {
    let mut status = None;
    let mut regular = false;
    for (name, value, _) in fields.iter() {
        if name.first() != Some(&b':') {
            regular = true;
            check_field(name, value)?;
        } else if regular {
            return Err(Malformed("a pseudo-field comes after a regular field"));
        } else if name != b":status" {
            return Err(Malformed("a pseudo-field that responses do not have"));
        } else if status.replace(parse_status(value)?).is_some() {
            return Err(Malformed(":status comes twice"));
        }
    }
    status.ok_or(Malformed(":status is missing"))
}

fn parse_status(value: &[u8]) -> Result<u16, Malformed> {
    let &[b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = value else {
        return Err(Malformed(":status is not a number from 100 to 999"));
    };
    if value == b"101" {
        return Err(Malformed(":status is 101, which HTTP/2 does not have"));
    }
    Ok(value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// Checks trailers: fields without pseudo-fields (RFC 9113 section 8.1).
pub fn check_trailers(fields: &Fields) -> Result<(), Malformed> {
    for (name, value, _) in fields.iter() {
        if name.first() == Some(&b':') {
            return Err(Malformed("a pseudo-field in trailers"));
        }
        check_field(name, value)?;
    }
    Ok(())
}

/// The length that `content-length` announces, bytes; several must agree (RFC 9110 section 8.6).
pub fn content_length(fields: &Fields) -> Result<Option<u64>, Malformed> {
    let mut found = None;
    for (_, value, _) in fields.iter().filter(|(name, _, _)| *name == b"content-length") {
        let length = parse_length(value)
            .ok_or(Malformed("content-length is not a number of up to 64 bits"))?;
        if found.replace(length).is_some_and(|other| other != length) {
            return Err(Malformed("content-length comes twice and differs"));
        }
    }
    Ok(found)
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// RFC 9113 sections 8.2.1 and 8.2.2, for all but pseudo-fields.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    if name.is_empty() {
        return Err(Malformed("a field has no name"));
    }
    if !name.iter().all(|&byte| NAME_BYTES[usize::from(byte)]) {
        return Err(Malformed("a field's name has a byte that lowercase tokens do not have"));
    }
    check_value(value)?;
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed("a field that is about the connection in HTTP/1.1"))
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => {
            Err(Malformed("te has another value than trailers"))
        }
        _ => Ok(()),
    }
}

fn check_value(value: &[u8]) -> Result<(), Malformed> {
    // Not `any`: without a way out in the middle the compiler looks at many bytes at once.
    let bad = |bad: bool, &byte: &u8| bad | matches!(byte, 0 | b'\r' | b'\n');
    if value.iter().fold(false, bad) {
        return Err(Malformed("a field's value has NUL, CR or LF in it"));
    }
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
        return Err(Malformed("a field's value begins or ends with a space or tab"));
    }
    Ok(())
}

/// The bytes of a token (RFC 9110 section 5.6.2) but for uppercase letters.
static NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut n = 0;
    while n < 256 {
        bytes[n] = matches!(n as u8, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+'
            | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        n += 1;
    }
    bytes
};

fn is_token(text: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_uppercase() || NAME_BYTES[usize::from(*byte)];
    !text.is_empty() && text.iter().all(of_token)
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &[u8]) -> bool {
    let of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(of_scheme)
}

/// A path is absolute, or `*` for OPTIONS. Spaces and control bytes would let it go on as more than
/// a path in the first line of HTTP/1.1.
fn check_path(path: &[u8], method: &[u8]) -> Result<(), Malformed> {
    match path {
        [] => Err(Malformed(":path is empty")),
        b"*" if method == b"OPTIONS" => Ok(()),
        [b'/', ..] if path.iter().all(|&byte| byte > b' ' && byte != 0x7f) => Ok(()),
        [b'/', ..] => Err(Malformed(":path has a space or control byte in it")),
        _ => Err(Malformed(":path does not begin with /")),
    }
}

/// A host with or without a port. User information is not allowed (RFC 9113 section 8.3.1).
fn is_authority(text: &[u8]) -> bool {
    let of_authority = |byte: &u8| byte.is_ascii_graphic() && !b"@/?#\\".contains(byte);
    !text.is_empty() && text.iter().all(of_authority)
}

/// The same host and port, where a port left out is that of the scheme.
fn is_same_host(one: &[u8], other: &[u8], scheme: &[u8]) -> bool {
    let port: &[u8] = match scheme {
        _ if scheme.eq_ignore_ascii_case(b"http") => b":80",
        _ if scheme.eq_ignore_ascii_case(b"https") => b":443",
        _ => b"",
    };
    let bare = |host| <[u8]>::strip_suffix(host, port).unwrap_or(host);
    bare(one).eq_ignore_ascii_case(bare(other))
}

#[cfg(test)]
mod tests;
