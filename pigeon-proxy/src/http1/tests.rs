//! Tables of what passes and what does not; and that it does not matter how the bytes come.

use proptest::prelude::*;

use super::*;

const MAX: usize = 8192;

/// Reads a connection at once; whether all of it passed, and what is wrong.
fn read(text: &[u8]) -> (usize, Option<Fault>) {
    let scan = Scanner::new(MAX).scan(text);
    (scan.pass, scan.fault)
}

fn fault(text: &str) -> Option<Fault> {
    read(text.as_bytes()).1
}

/// A request with this request line and these fields.
fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\nhost: a\r\n{fields}\r\n")
}

#[test]
fn what_is_well_formed_passes_whole() {
    for text in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\nGET /?a=b&c HTTP/1.1\r\nHOST:a:80\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1]:8080\r\nempty:\r\nx: \t \r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://A.b:80/x?y HTTP/1.1\r\nhost: a.B\r\n\r\n",
        "GET http://a HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 00\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding:\tChunked \r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
         A;x=\"y z\"\r\n0123456789\r\n0a\r\n0123456789\r\n00;\r\na: b\r\nc:\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "GET /caf\u{e9} HTTP/1.1\r\nhost: a\r\nx: caf\u{e9}\r\n\r\n",
    ] {
        assert_eq!(read(text.as_bytes()), (text.len(), None), "{text:?}");
    }
}

/// Each text is refused for this reason.
fn refuses<const N: usize>(cases: [(String, Fault); N]) {
    for (text, wanted) in cases {
        assert_eq!(fault(&text), Some(wanted), "{text:?}");
    }
}

fn post(fields: &str) -> String {
    head("POST / HTTP/1.1", fields)
}

fn chunked(body: &str) -> String {
    post("transfer-encoding: chunked\r\n") + body
}

#[test]
fn lengths_that_could_be_read_differently_are_refused() {
    refuses([
        (post("content-length: 5\r\ntransfer-encoding: chunked\r\n"), Fault::LengthAndChunks),
        (post("transfer-encoding: chunked\r\ncontent-length: 0\r\n"), Fault::LengthAndChunks),
        (post("content-length: 5\r\ncontent-length: 6\r\n"), Fault::Lengths),
        (post("content-length: 5\r\nContent-Length: 5\r\n"), Fault::Lengths),
        (post("content-length: 5, 5\r\n"), Fault::Length),
        (post("content-length: +5\r\n"), Fault::Length),
        (post("content-length: -5\r\n"), Fault::Length),
        (post("content-length: 0x5\r\n"), Fault::Length),
        (post("content-length: 5 5\r\n"), Fault::Length),
        (post("content-length:\r\n"), Fault::Length),
        (post("content-length: 18446744073709551616\r\n"), Fault::Length),
        (post("transfer-encoding: gzip, chunked\r\n"), Fault::Coding),
        (post("transfer-encoding: chunked, chunked\r\n"), Fault::Coding),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), Fault::Coding),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"), Fault::Coding),
        (post("transfer-encoding: xchunked\r\n"), Fault::Coding),
        (post("transfer-encoding: \"chunked\"\r\n"), Fault::Coding),
        (post("transfer-encoding:\r\n"), Fault::Coding),
        (post("transfer-encoding: \u{b}chunked\r\n"), Fault::Control),
        (head("POST / HTTP/1.0", "transfer-encoding: chunked\r\n"), Fault::CodingInOld),
    ]);
}

#[test]
fn lines_that_could_be_read_differently_are_refused() {
    refuses([
        (post("a: b\r\n c\r\n"), Fault::Folded),
        (post("a: b\r\n\tc\r\n"), Fault::Folded),
        (post("a: b\n"), Fault::Control),
        (post("a: b\rc: d\r\n"), Fault::Control),
        (post("a: b\r\r\n"), Fault::Control),
        (post("a: b\0\r\n"), Fault::Control),
        (post("a: b\u{7f}\r\n"), Fault::Control),
        (post("content-length : 5\r\n"), Fault::Name),
        (post("transfer-encoding\t: chunked\r\n"), Fault::Name),
        (post(": b\r\n"), Fault::Name),
        (post("a\r\n"), Fault::Name),
        (post("a(b): c\r\n"), Fault::Name),
        (post("\u{e9}: c\r\n"), Fault::Name),
        ("GET / HTTP/1.1\nhost: a\n\n".into(), Fault::Control),
        ("\nGET / HTTP/1.1\r\n".into(), Fault::Control),
    ]);
}

#[test]
fn targets_and_hosts_that_could_be_read_differently_are_refused() {
    refuses([
        (head("GET  / HTTP/1.1", ""), Fault::Line),
        (head("GET / HTTP/1.1 ", ""), Fault::Line),
        (head("GET / x HTTP/1.1", ""), Fault::Line),
        (head("GET /", ""), Fault::Line),
        (head(" GET / HTTP/1.1", ""), Fault::Line),
        (head("GET\t/ HTTP/1.1", ""), Fault::Line),
        (head("G@T / HTTP/1.1", ""), Fault::Method),
        (head("!refused /1 HTTP/1.1", ""), Fault::Method),
        (head("CONNECT a:1 HTTP/1.1", ""), Fault::Connect),
        (head("GET / HTTP/1.2", ""), Fault::Version),
        (head("GET / HTTP/2.0", ""), Fault::Version),
        (head("GET / http/1.1", ""), Fault::Version),
        (head("GET a HTTP/1.1", ""), Fault::Target),
        (head("GET * HTTP/1.1", ""), Fault::Target),
        (head("GET ?a HTTP/1.1", ""), Fault::Target),
        (head("GET /a#b HTTP/1.1", ""), Fault::Target),
        (head("GET ftp://a/ HTTP/1.1", ""), Fault::Target),
        (head("GET http:///a HTTP/1.1", ""), Fault::Host),
        (head("GET http://u@a/ HTTP/1.1", ""), Fault::Host),
        (head("GET http://b/ HTTP/1.1", ""), Fault::OtherHost),
        (head("GET http://a:81/ HTTP/1.1", ""), Fault::OtherHost),
        // Hosts.
        (post("host: a\r\n"), Fault::Hosts),
        ("GET / HTTP/1.1\r\n\r\n".into(), Fault::Hosts),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: a:80:80\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: a:http\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: [::1\r\n\r\n".into(), Fault::Host),
        ("GET / HTTP/1.1\r\nhost: [::1]x\r\n\r\n".into(), Fault::Host),
    ]);
}

#[test]
fn chunks_that_could_be_read_differently_are_refused() {
    refuses([
        (chunked("+1\r\na\r\n"), Fault::Chunk),
        (chunked("0x1\r\na\r\n"), Fault::Chunk),
        (chunked(" 1\r\na\r\n"), Fault::Chunk),
        (chunked("1 \r\na\r\n"), Fault::Chunk),
        (chunked("1\na\r\n"), Fault::Chunk),
        (chunked("\r\n"), Fault::Chunk),
        (chunked(";a\r\n"), Fault::Chunk),
        (chunked("1;a\nb\r\na\r\n"), Fault::Chunk),
        (chunked("1;a\rb\r\na\r\n"), Fault::Chunk),
        (chunked("1\r\nab\r\n"), Fault::Chunk),
        (chunked("1\r\na\n0\r\n\r\n"), Fault::Chunk),
        (chunked("1\r\na0\r\n\r\n"), Fault::Chunk),
        (chunked("00000000000000001\r\na\r\n"), Fault::Chunk),
        (chunked(&format!("1;{}\r\na\r\n", "x".repeat(300))), Fault::Chunk),
        (chunked("0\r\n\n"), Fault::Trailers),
        (chunked("0\r\na : b\r\n\r\n"), Fault::Trailers),
        (chunked("0\r\na: b\r\n c\r\n\r\n"), Fault::Trailers),
        (chunked("0\r\na: b\n\r\n"), Fault::Trailers),
        (chunked("0\r\nGET / HTTP/1.1\r\n\r\n"), Fault::Trailers),
    ]);
}

#[test]
fn nothing_of_a_refused_head_passes() {
    let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let bad = head("GET / HTTP/1.1", "a : b\r\n");
    assert_eq!(read((good.to_owned() + &bad).as_bytes()), (good.len(), Some(Fault::Name)));
}

#[test]
fn a_head_is_as_long_as_it_may_be() {
    let long = |n: usize| {
        let rest = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        head("GET / HTTP/1.1", &format!("x: {}\r\n", "y".repeat(n - rest)))
    };
    assert_eq!(read(long(MAX).as_bytes()), (MAX, None));
    assert_eq!(read(long(MAX + 1).as_bytes()), (0, Some(Fault::TooLong)));
    assert_eq!(read(&vec![b'x'; MAX + 1]), (0, Some(Fault::TooLong)));
    assert_eq!(read(&b"\r\n".repeat(MAX)), (0, Some(Fault::TooLong)));
}

#[test]
fn after_a_request_for_another_protocol_nothing_passes_until_it_is_answered() {
    let ask = head("GET / HTTP/1.1", "connection: x, Upgrade\r\nupgrade: websocket\r\n");
    let get = head("GET / HTTP/1.1", "");
    let mut scanner = Scanner::new(MAX);
    let text = ask.clone() + &get;
    assert_eq!(scanner.scan(text.as_bytes()), Scan { pass: ask.len(), fault: None });
    assert!(scanner.asked());
    assert_eq!(scanner.scan(get.as_bytes()), Scan { pass: 0, fault: None });
    scanner.stays();
    assert_eq!(scanner.scan(get.as_bytes()), Scan { pass: get.len(), fault: None });
    for other in [
        head("GET / HTTP/1.1", "upgrade: websocket\r\n"),
        head("GET / HTTP/1.0", "connection: upgrade\r\nupgrade: websocket\r\n"),
        head("GET / HTTP/1.1", "connection: upgrade\r\nupgrade: a\r\ncontent-length: 1\r\n"),
    ] {
        let mut scanner = Scanner::new(MAX);
        scanner.scan(other.as_bytes());
        assert!(!scanner.asked(), "{other:?}");
    }
}

/// Pieces that requests, good and bad, are made of.
const PIECES: [&str; 28] = [
    "GET / HTTP/1.1\r\n",
    "POST /p HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "host: a\r\n",
    "host: a\r\n\r\n",
    "content-length: 4\r\n",
    "content-length: 10\r\n\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: chunked\r\n\r\n",
    "transfer-encoding: identity\r\n",
    "Content-Length : 4\r\n",
    "connection: upgrade\r\nupgrade: a\r\n",
    "x: y\r\n",
    " z\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "4\r\nabcd\r\n",
    "a;x=y\r\n0123456789\r\n",
    "0\r\n\r\n",
    "0\r\nt: u\r\n\r\n",
    "0",
    "abcd",
    ":",
    "expect: 100-continue\r\n",
];

/// The whole connection, however it was cut up: what passed, and the fault.
fn in_parts(text: &[u8], cuts: &[usize]) -> (usize, Option<Fault>) {
    let mut scanner = Scanner::new(MAX);
    let (mut passed, mut end) = (0, 0);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        end = end.max(cut.min(text.len()));
        let scan = scanner.scan(&text[passed..end]);
        passed += scan.pass;
        if scan.fault.is_some() {
            return (passed, scan.fault);
        }
    }
    (passed, None)
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_come(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14),
        mut cuts in prop::collection::vec(0_usize..300, 0..20),
    ) {
        let text = pieces.concat();
        cuts.sort_unstable();
        prop_assert_eq!(in_parts(text.as_bytes(), &cuts), read(text.as_bytes()));
        let each: Vec<usize> = (0..text.len()).collect();
        prop_assert_eq!(in_parts(text.as_bytes(), &each), read(text.as_bytes()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (pass, _) = read(&bytes);
        prop_assert!(pass <= bytes.len());
    }
}
