//! HTTP/2 by an upgrade (RFC 7540 section 3.2), where a listener allows it: the HTTP/1.1 request that asks for it
//! becomes stream 1.
//!
//! After 101 the client sends what every HTTP/2 client begins with. Between its SETTINGS and the rest the request
//! is put, as HEADERS, so that the connection goes on as if HTTP/2 had been spoken from its first byte: on either
//! path, by the same routes and filters, and with nothing in it that only an upgrade has.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use super::forward;
use super::gate::Gate;
use super::preface::Rewound;
use super::relay::CallBody;
use crate::h2::frame::{self, HEADER, flag, kind};
use crate::h2::guard::MAX_SETTINGS;
use crate::h2::{Encoder, Indexing};

/// Bytes of an entry of SETTINGS.
const ENTRY: usize = 6;
/// Read at once of what follows 101.
const PART: usize = 4096;

/// A connection that changes to HTTP/2.
pub(super) struct Change {
    client: OnUpgrade,
    request: Asked,
}

/// The request that asked for it.
struct Asked {
    /// What it says of the client, as the entries of a SETTINGS frame.
    settings: Vec<u8>,
    /// HEADERS of stream 1.
    head: Vec<u8>,
}

/// The change that a request without a body asks for, as the specification has it to be asked. Who does it
/// otherwise is answered in HTTP/1.1, as is who offers other protocols beside: their turn comes first.
pub(super) fn asked<B>(request: &mut Request<B>) -> Option<Change> {
    let asked = Asked::of(request)?;
    Some(Change { client: hyper::upgrade::on(request), request: asked })
}

/// 101.
pub(super) fn granted() -> Response<CallBody> {
    let mut response = Response::new(CallBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    forward::upgrade(response.headers_mut(), HeaderValue::from_static("h2c"));
    response
}

impl Change {
    /// Waits until the client has begun with HTTP/2: the connection, as if it had never done anything else.
    ///
    /// # Errors
    /// It is gone, or begins with something else.
    pub(super) async fn done(self) -> io::Result<Rewound> {
        let upgraded = self.client.await.map_err(io::Error::other)?;
        let parts = upgraded.downcast::<TokioIo<Gate<Rewound>>>();
        let parts = parts.map_err(|_| io::Error::other("it is no connection of a client"))?;
        let (ahead, before) = parts.io.into_inner().into_parts();
        let (first, mut socket) = before.into_parts();
        let mut came = [&parts.read_buf[..], &ahead, &first].concat();
        loop {
            if let Some(bytes) = self.request.put_into(&came)? {
                return Ok(Rewound::new(bytes.into(), socket));
            }
            came.reserve(PART);
            if socket.read_buf(&mut came).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let mut offers = tokens(headers, UPGRADE.as_str());
        let (Some(offer), None) = (offers.next(), offers.next()) else { return None };
        let mut values = headers.get_all(forward::HTTP2_SETTINGS).iter();
        let (Some(settings), None) = (values.next(), values.next()) else { return None };
        // Else a proxy in between may have let it pass without knowing what it is (RFC 7540 section 3.2.1).
        let listed = tokens(headers, CONNECTION.as_str())
            .any(|token| token.eq_ignore_ascii_case(forward::HTTP2_SETTINGS.as_str()));
        if !offer.eq_ignore_ascii_case("h2c") || !listed {
            return None;
        }
        let settings = URL_SAFE_NO_PAD.decode(settings.as_bytes()).ok()?;
        let entries = settings.len() / ENTRY;
        let whole = settings.len().is_multiple_of(ENTRY) && entries <= MAX_SETTINGS;
        whole.then(|| Self { settings, head: head(request) })
    }

    /// What the client has sent since, with the request in its place. None: its SETTINGS have yet to come.
    fn put_into(&self, came: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let no_http2 = || io::Error::from(io::ErrorKind::InvalidData);
        let Some(mut rest) = came.strip_prefix(frame::PREFACE) else {
            return if frame::PREFACE.starts_with(came) { Ok(None) } else { Err(no_http2()) };
        };
        let first = frame::take(&mut rest).map_err(|_| no_http2())?;
        let Some(first) = first else { return Ok(None) };
        let entries = self.settings.len() + first.payload.len();
        if first.kind != kind::SETTINGS
            || first.stream != 0
            || first.has(flag::ACK)
            || entries > MAX_SETTINGS * ENTRY
        {
            return Err(no_http2());
        }
        let length = frame::PREFACE.len() + HEADER + entries + self.head.len() + rest.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(frame::PREFACE);
        // One frame, for the client waits for one acknowledgement; what it said last counts.
        bytes.extend_from_slice(&frame::header(entries, kind::SETTINGS, 0, 0));
        bytes.extend_from_slice(&self.settings);
        bytes.extend_from_slice(first.payload);
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(rest);
        Ok(Some(bytes))
    }
}

/// The request as HEADERS that change nobody's table: the client knows nothing of them.
fn head<B>(request: &Request<B>) -> Vec<u8> {
    let mut headers = request.headers().clone();
    forward::for_http2(&mut headers);
    let host = headers.remove(HOST);
    let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let uri = request.uri();
    let authority = uri.authority().map_or(host, |authority| authority.as_str().as_bytes());
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut out = vec![0; HEADER];
    let mut encoder = Encoder::new();
    let mut put = |name: &str, value: &[u8]| {
        encoder.field(name.as_bytes(), value, Indexing::Plain, &mut out);
    };
    put(":method", request.method().as_str().as_bytes());
    put(":scheme", b"http");
    if !authority.is_empty() {
        put(":authority", authority);
    }
    put(":path", path.as_bytes());
    for (name, value) in &headers {
        put(name.as_str(), value.as_bytes());
    }
    frame::frame_block(&mut out, 0, 1, true);
    out
}

fn tokens<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::{Decoder, Fields};

    fn request(connection: &str, settings: &[&str]) -> Request<()> {
        let mut request = Request::get("/a?b=%20")
            .header("host", "Host.example:80")
            .header("connection", connection)
            .header("upgrade", "H2C")
            .header("keep-alive", "9")
            .header("te", "gzip, trailers")
            .header("x", "kept");
        for value in settings {
            request = request.header("http2-settings", *value);
        }
        request.body(()).expect("a request")
    }

    const PROPER: &str = "Upgrade, HTTP2-Settings, x-listed";

    #[test]
    fn it_is_asked_for_properly_or_not_at_all() {
        // SETTINGS_INITIAL_WINDOW_SIZE = 65536
        let asked = |connection, settings: &[&str]| Asked::of(&request(connection, settings));
        let settings = asked(PROPER, &["AAQAAQAA"]).expect("proper").settings;
        assert_eq!(settings, [0, 4, 0, 1, 0, 0]);
        assert!(asked(PROPER, &[""]).is_some(), "nothing to say");
        assert!(asked("Upgrade", &["AAQAAQAA"]).is_none(), "not listed");
        assert!(asked(PROPER, &[]).is_none(), "no settings");
        assert!(asked(PROPER, &["AAQAAQAA", "AAQAAQAA"]).is_none(), "two");
        assert!(asked(PROPER, &["AAQAAQAA, AAQAAQAA"]).is_none(), "two in one");
        for bad in ["AAQAAQA", "AAQAAQAA=", "AAQAAQ//", "!", &"AAQAAQAA".repeat(MAX_SETTINGS + 1)] {
            assert!(asked(PROPER, &[bad]).is_none(), "{bad}");
        }
        let mut two = request(PROPER, &["AAQAAQAA"]);
        two.headers_mut().append("upgrade", HeaderValue::from_static("websocket"));
        assert!(Asked::of(&two).is_none());
    }

    #[test]
    fn the_request_is_put_after_the_settings_and_before_the_rest() {
        let asked = Asked::of(&request(PROPER, &["AAQAAQAA"])).expect("proper");
        let mut sent = frame::PREFACE.to_vec();
        let settings = [&frame::header(6, kind::SETTINGS, 0, 0)[..], &[0, 3, 0, 0, 0, 9]].concat();
        sent.extend_from_slice(&settings);
        let whole = sent.len();
        frame::put_ping(&mut sent, 0, [7; 8]);
        for end in 0..whole {
            assert!(asked.put_into(&sent[..end]).expect("fine so far").is_none(), "{end}");
        }
        let bytes = asked.put_into(&sent).expect("fine").expect("whole");
        let mut rest = bytes.strip_prefix(frame::PREFACE).expect("the preface");
        let mut next = || frame::take(&mut rest).expect("a frame").expect("whole");
        assert_eq!(next().payload, [0, 4, 0, 1, 0, 0, 0, 3, 0, 0, 0, 9]);
        let head = next();
        assert_eq!((head.kind, head.stream), (kind::HEADERS, 1));
        assert!(head.has(flag::END_STREAM) && head.has(flag::END_HEADERS));
        let (mut decoder, mut fields) = (Decoder::new(4096), Fields::new());
        let before = decoder.generation();
        decoder.decode(head.payload, &mut fields, 65_536).expect("fields");
        assert_eq!(decoder.generation(), before, "nothing was added to the table");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let found: Vec<_> = fields.iter().map(|(n, v, _)| (text(n), text(v))).collect();
        let wanted = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "Host.example:80"),
            (":path", "/a?b=%20"),
            ("te", "trailers"),
            ("x", "kept"),
        ];
        assert_eq!(found, wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(next().kind, kind::PING);
    }

    #[test]
    fn what_does_not_begin_like_http2_is_nothing() {
        let asked = Asked::of(&request(PROPER, &["AAQAAQAA"])).expect("proper");
        let ping = [&frame::header(8, kind::PING, 0, 0)[..], &[0; 8]].concat();
        let many = frame::header((MAX_SETTINGS + 1) * ENTRY, kind::SETTINGS, 0, 0);
        let many = [&many[..], &[0; (MAX_SETTINGS + 1) * ENTRY]].concat();
        for wrong in [
            b"GET /admin HTTP/1.1\r\n".to_vec(),
            [frame::PREFACE, &ping].concat(),
            [frame::PREFACE, &frame::header(0, kind::SETTINGS, flag::ACK, 0)].concat(),
            [frame::PREFACE, &frame::header(0, kind::SETTINGS, 0, 1)].concat(),
            [frame::PREFACE, &many].concat(),
            [frame::PREFACE, &[0xff; HEADER]].concat(),
        ] {
            assert!(asked.put_into(&wrong).is_err(), "{wrong:?}");
        }
    }
}
