//! One table for each kind of list: what is changed of a good one, and what is wrong with it then.

use super::super::fields::Indexing;
use super::{Fields, Malformed, check_request, check_response, check_trailers, content_length};

type Pair<'a> = (&'a str, &'a str);

fn list(fields: &[Pair]) -> Fields {
    let mut list = Fields::new();
    for (name, value) in fields {
        list.push(name.as_bytes(), value.as_bytes(), Indexing::Plain);
    }
    list
}

const GOOD: [Pair; 6] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/echo.Echo/Unary"),
    (":authority", "engine:50051"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

/// The good request with other values for some fields, without those whose value is `-`.
fn changed(changes: &[Pair]) -> Fields {
    let value = |&(name, value): &Pair<'static>| {
        let change = changes.iter().find(|change| change.0 == name);
        (name, change.map_or(value.to_owned(), |change| change.1.to_owned()))
    };
    let fields: Vec<_> = GOOD.iter().map(value).filter(|field| field.1 != "-").collect();
    list(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

/// The good request with more fields at the end.
fn and(more: &[Pair]) -> Fields {
    list(&[&GOOD, more].concat())
}

fn refused<T: std::fmt::Debug>(result: Result<T, Malformed>, why: &str) {
    let Err(found) = result else { panic!("accepted, but {why}") };
    assert!(found.to_string().contains(why), "{found}, but wanted: {why}");
}

#[test]
fn good_requests() {
    for request in [
        list(&GOOD),
        and(&[("x-empty", ""), ("x-any", "\u{e9}\t \u{7f}"), ("!#$%&'*+-.^_`|~09az", "1")]),
        and(&[("te", "Trailers"), ("host", "engine:50051"), ("cookie", "a"), ("cookie", "b")]),
        changed(&[(":method", "OPTIONS"), (":path", "*")]),
        changed(&[(":method", "x-Own!"), (":path", "/?a=%20&b=\u{e9}"), (":scheme", "a+b-c.1")]),
        list(&[(":path", "/"), (":scheme", "https"), (":method", "GET"), ("host", "[::1]:443")]),
        list(&[(":method", "CONNECT"), (":authority", "engine:443")]),
    ] {
        assert_eq!(check_request(&request), Ok(()), "{request:?}");
    }
}

#[test]
fn pseudo_fields_of_requests() {
    for (request, why) in [
        (list(&[]), ":method is missing"),
        (changed(&[(":method", "-")]), ":method is missing"),
        (changed(&[(":scheme", "-")]), ":scheme is missing"),
        (changed(&[(":path", "-")]), ":path is missing"),
        (changed(&[(":method", "")]), ":method is not a token"),
        (changed(&[(":method", "GET /")]), ":method is not a token"),
        (changed(&[(":scheme", "")]), ":scheme is not"),
        (changed(&[(":scheme", "1a")]), ":scheme is not"),
        (changed(&[(":scheme", "http:")]), ":scheme is not"),
        (changed(&[(":path", "")]), ":path is empty"),
        (changed(&[(":path", "*")]), ":path does not begin"),
        (changed(&[(":path", "echo")]), ":path does not begin"),
        (changed(&[(":path", "http://engine/")]), ":path does not begin"),
        (changed(&[(":method", "OPTIONS"), (":path", "*a")]), ":path does not begin"),
        (changed(&[(":path", "/a b")]), ":path has a space"),
        (changed(&[(":path", "/\t1")]), ":path has a space"),
        (changed(&[(":path", "/\u{7f}")]), ":path has a space"),
        (changed(&[(":path", "/a\r\nb: c")]), "NUL, CR or LF"),
        (list(&[&[(":method", "GET")], &GOOD[..]].concat()), "comes twice"),
        (list(&[&[(":path", "/")], &GOOD[..]].concat()), "comes twice"),
        (list(&[&[(":authority", "a")], &GOOD[..]].concat()), "comes twice"),
        (list(&[&[(":scheme", "http")], &GOOD[..]].concat()), "comes twice"),
        (and(&[(":authority", "engine")]), "after a regular field"),
        (list(&[&[("a", "b")], &GOOD[..]].concat()), "after a regular field"),
        (list(&[&[(":status", "200")], &GOOD[..]].concat()), "that requests do not have"),
        (list(&[&[(":Method", "GET")], &GOOD[..]].concat()), "that requests do not have"),
        (list(&[&[(":", "")], &GOOD[..]].concat()), "that requests do not have"),
        (list(&[&[(":protocol", "websocket")], &GOOD[..]].concat()), ":protocol"),
    ] {
        refused(check_request(&request), why);
    }
}

#[test]
fn connect_has_an_authority_and_neither_scheme_nor_path() {
    let connect = (":method", "CONNECT");
    for (request, why) in [
        (list(&[connect]), "no :authority"),
        (list(&[connect, ("host", "engine:443")]), "no :authority"),
        (list(&[connect, (":authority", "")]), "host with or without"),
        (list(&[connect, (":authority", "a:1"), (":scheme", "http")]), "CONNECT has"),
        (list(&[connect, (":authority", "a:1"), (":path", "/")]), "CONNECT has"),
        (list(&[connect, (":authority", "a:1"), ("host", "b:1")]), "differ"),
    ] {
        refused(check_request(&request), why);
    }
}

#[test]
fn authority_and_host_agree_or_one_is_absent() {
    let check = |scheme: &str, authority: &str, host: &str| {
        let mut request = changed(&[(":scheme", scheme), (":authority", authority)]);
        if host != "-" {
            request.push(b"host", host.as_bytes(), Indexing::Plain);
        }
        check_request(&request)
    };
    for (scheme, authority, host) in [
        ("http", "engine", "-"),
        ("http", "-", "engine"),
        ("http", "engine", "ENGINE"),
        ("http", "engine:80", "engine"),
        ("https", "engine", "engine:443"),
        ("HTTPS", "engine", "engine:443"),
        ("grpc", "engine:80", "engine:80"),
    ] {
        assert_eq!(check(scheme, authority, host), Ok(()), "{scheme} {authority} {host}");
    }
    for (scheme, authority, host, why) in [
        ("http", "-", "-", "are missing"),
        ("http", "engine", "other", "differ"),
        ("http", "engine", "engine:443", "differ"),
        ("https", "engine:80", "engine", "differ"),
        ("grpc", "engine:80", "engine", "differ"),
        ("http", "", "-", "host with or without"),
        ("http", "engine", "", "host with or without"),
        ("http", "-", "", "host with or without"),
        ("http", "user@engine", "-", "host with or without"),
        ("http", "engine/path", "-", "host with or without"),
        ("http", "engine?", "-", "host with or without"),
        ("http", "engine#", "-", "host with or without"),
        ("http", "a b", "-", "host with or without"),
        ("http", "caf\u{e9}", "-", "host with or without"),
    ] {
        refused(check(scheme, authority, host), why);
    }
    refused(check_request(&and(&[("host", "engine:50051"), ("host", "engine:50051")])), "twice");
}

/// What no list may have, each with why.
const FAULTS: [(Pair, &str); 23] = [
    (("", "value"), "no name"),
    (("Upper", ""), "lowercase tokens"),
    (("a b", ""), "lowercase tokens"),
    (("a:b", ""), "lowercase tokens"),
    (("a\0", ""), "lowercase tokens"),
    (("a\r\n", ""), "lowercase tokens"),
    (("a\u{e9}", ""), "lowercase tokens"),
    (("\u{7f}", ""), "lowercase tokens"),
    (("a", "b\0c"), "NUL, CR or LF"),
    (("a", "b\rc"), "NUL, CR or LF"),
    (("a", "b\nc: d"), "NUL, CR or LF"),
    (("a", " "), "space or tab"),
    (("a", "\tb"), "space or tab"),
    (("a", "b "), "space or tab"),
    (("a", "b\t"), "space or tab"),
    (("connection", "close"), "about the connection"),
    (("keep-alive", "1"), "about the connection"),
    (("proxy-connection", "close"), "about the connection"),
    (("transfer-encoding", "chunked"), "about the connection"),
    (("upgrade", "h2c"), "about the connection"),
    (("te", "gzip"), "te has"),
    (("te", "trailers, gzip"), "te has"),
    (("te", ""), "te has"),
];

#[test]
fn faults_of_fields_are_refused_in_requests_responses_and_trailers() {
    for (fault, why) in FAULTS {
        refused(check_request(&and(&[fault])), why);
        refused(check_response(&list(&[(":status", "200"), fault])), why);
        refused(check_trailers(&list(&[("grpc-status", "0"), fault])), why);
    }
}

#[test]
fn each_byte_of_a_name_is_as_rfc_9110_says() {
    for byte in 0..=255_u8 {
        let mut fields = Fields::new();
        fields.push(&[b'a', byte], b"", Indexing::Plain);
        let of_token = byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(check_trailers(&fields).is_ok(), of_token, "{byte}");
        let mut fields = Fields::new();
        fields.push(b"a", &[b'a', byte, b'a'], Indexing::Plain);
        assert_eq!(check_trailers(&fields).is_ok(), !b"\0\r\n".contains(&byte), "{byte}");
    }
}

#[test]
fn responses_have_one_status_and_no_other_pseudo_field() {
    for (status, number) in [("200", 200), ("100", 100), ("103", 103), ("599", 599), ("999", 999)] {
        assert_eq!(check_response(&list(&[(":status", status), ("a", "b")])), Ok(number));
    }
    for status in ["", "20", "2000", "2x0", "099", "000", "+20", " 200", "20\0"] {
        refused(check_response(&list(&[(":status", status)])), "not a number from 100");
    }
    let status = (":status", "200");
    for (response, why) in [
        (list(&[]), "missing"),
        (list(&[("a", "b")]), "missing"),
        (list(&[(":status", "101")]), "101"),
        (list(&[status, status]), "twice"),
        (list(&[("a", "b"), status]), "after a regular field"),
        (list(&[status, (":path", "/")]), "responses do not have"),
        (list(&[status, (":grpc", "/")]), "responses do not have"),
    ] {
        refused(check_response(&response), why);
    }
}

#[test]
fn trailers_have_no_pseudo_fields() {
    assert_eq!(check_trailers(&list(&[])), Ok(()));
    assert_eq!(check_trailers(&list(&[("grpc-status", "0"), ("grpc-message", "")])), Ok(()));
    for pseudo in [":status", ":path", ":x", ":"] {
        refused(check_trailers(&list(&[("a", "b"), (pseudo, "200")])), "pseudo-field in trailers");
    }
}

#[test]
fn content_lengths_are_numbers_that_agree() {
    let length = |values: &[&str]| {
        content_length(&list(
            &values.iter().map(|value| ("content-length", *value)).collect::<Vec<_>>(),
        ))
    };
    for (values, wanted) in [
        (&[][..], None),
        (&["0"], Some(0)),
        (&["007"], Some(7)),
        (&["18446744073709551615"], Some(u64::MAX)),
        (&["5", "5", "05"], Some(5)),
    ] {
        assert_eq!(length(values), Ok(wanted), "{values:?}");
    }
    for value in ["", "-1", "+1", "1 ", "0x1", "1.0", "5, 5", "18446744073709551616", "\u{663}"] {
        refused(length(&[value]), "not a number");
        refused(length(&["5", value]), "not a number");
    }
    refused(length(&["5", "6"]), "differs");
    refused(length(&["5", "5", "6"]), "differs");
}
