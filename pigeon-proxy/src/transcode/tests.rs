//! A service with every kind of rule, and what requests to it mean.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use super::message::{read, write};
use super::rules::Rules;
use super::status;

/// As much of google/api as the rules need, with its numbers.
const HTTP: &str = r#"
    syntax = "proto3"; package google.api;
    import "google/protobuf/descriptor.proto";
    extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
    message HttpRule {
      string selector = 1;
      oneof pattern {
        string get = 2; string put = 3; string post = 4; string delete = 5; string patch = 6;
        CustomHttpPattern custom = 8;
      }
      string body = 7; string response_body = 12; repeated HttpRule additional_bindings = 11;
    }
    message CustomHttpPattern { string kind = 1; string path = 2; }
"#;

const SHELF: &str = r#"
    syntax = "proto3"; package test.v1;
    import "http.proto"; import "google/protobuf/duration.proto"; import "google/protobuf/wrappers.proto";
    enum Kind { KIND_UNSPECIFIED = 0; NOVEL = 1; }
    message Book {
      string name = 1; uint32 page_count = 2; repeated string tags = 3; Kind kind = 4; Book next = 5;
      bytes cover = 6; google.protobuf.Duration loan = 7; google.protobuf.BoolValue rare = 8;
      map<string, string> notes = 9; int64 number = 10; bool lent = 11;
    }
    service Shelf {
      rpc Get(Book) returns (Book) { option (google.api.http) = {
        get: "/v1/{name=shelves/*/books/*}" additional_bindings { get: "/v1/books/{name}" } }; }
      rpc Create(Book) returns (Book) { option (google.api.http) = {
        post: "/v1/{name=shelves/*}" body: "next" response_body: "tags" }; }
      rpc Lend(Book) returns (Book) { option (google.api.http) = { post: "/v1/{name=**}:lend" body: "*" }; }
      rpc Any(Book) returns (Book) { option (google.api.http) = { custom { kind: "*" path: "/v1/any" } }; }
      rpc Wrong(Book) returns (Book) { option (google.api.http) = { get: "v1" }; }
      rpc Plain(Book) returns (Book);
    }
"#;

fn pool() -> DescriptorPool {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("http.proto"), HTTP).expect("written");
    fs::write(dir.path().join("shelf.proto"), SHELF).expect("written");
    let mut compiler = protox::Compiler::new([dir.path()]).expect("a compiler");
    compiler.include_imports(true).open_file("shelf.proto").expect("it compiles");
    let mut pool = DescriptorPool::new();
    pool.decode_file_descriptor_set(&*compiler.encode_file_descriptor_set()).expect("descriptors");
    pool
}

/// The method that a request calls, and its message as JSON; or why it is none.
fn call(method: &Method, target: &str, body: &str) -> Result<(String, Value), String> {
    let pool = pool();
    let rules = Rules::of(&pool, |_, _| {});
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (rule, captures) =
        rules.find(method, path).map_err(|others| format!("no rule {others:?}"))?;
    let message = read(&rule.method.input(), (&rule.body, body.as_bytes()), &captures, query)
        .map_err(|fault| fault.to_string())?;
    let message = serde_json::to_value(&message).expect("JSON");
    Ok((rule.method.name().to_owned(), message))
}

fn get(target: &str) -> Result<(String, Value), String> {
    call(&Method::GET, target, "")
}

fn means(method: &str, message: Value) -> Result<(String, Value), String> {
    Ok((method.to_owned(), message))
}

#[test]
fn rules_are_found() {
    let name = json!({ "name": "shelves/1/books/2" });
    assert_eq!(get("/v1/shelves/1/books/2"), means("Get", name));
    assert_eq!(get("/v1/books/a%2Fb"), means("Get", json!({ "name": "a/b" })));
    assert_eq!(
        call(&Method::POST, "/v1/shelves/1:lend", r#"{"kind": 1, "name": "other"}"#),
        means("Lend", json!({ "kind": "NOVEL", "name": "shelves/1" }))
    );
    assert_eq!(
        call(&Method::POST, "/v1/shelves/1", r#"{"pageCount": 7}"#),
        means("Create", json!({ "name": "shelves/1", "next": { "pageCount": 7 } }))
    );
    assert_eq!(call(&Method::PUT, "/v1/any", ""), means("Any", json!({})));
    assert_eq!(
        call(&Method::POST, "/test.v1.Shelf/Plain", r#"{"number": "9007199254740993"}"#),
        means("Plain", json!({ "number": "9007199254740993" }))
    );
    // What is annotated is called as it says only.
    assert_eq!(call(&Method::POST, "/test.v1.Shelf/Get", "{}"), Err("no rule []".to_owned()));
    let wrong = call(&Method::GET, "/test.v1.Shelf/Plain", "");
    assert_eq!(wrong, Err(r#"no rule ["POST"]"#.to_owned()));
}

#[test]
fn a_faulty_rule_leaves_its_method_callable() {
    let mut faults = Vec::new();
    Rules::of(&pool(), |method, why| faults.push(format!("{}: {why}", method.name())));
    assert_eq!(faults, [r#"Wrong: "v1": a template begins with /"#]);
    assert!(call(&Method::POST, "/test.v1.Shelf/Wrong", "{}").is_ok());
}

#[test]
fn queries_set_fields() {
    let query = "/v1/books/x?page_count=3&tags=a&tags=b+c&kind=NOVEL&next.next.name=%C3%A4&cover=_w\
                 &loan=1.5s&rare=false&number=-1&lent=true";
    let wanted = json!({
        "name": "x", "pageCount": 3, "tags": ["a", "b c"], "kind": "NOVEL", "cover": "/w==",
        "next": { "next": { "name": "ä" } }, "loan": "1.500s", "rare": false, "number": "-1",
        "lent": true,
    });
    assert_eq!(get(query), means("Get", wanted));
    // The path has the last word.
    assert_eq!(
        get("/v1/books/x?name=y&pageCount=1"),
        means("Get", json!({ "name": "x", "pageCount": 1 }))
    );
}

#[test]
fn faults_name_their_place() {
    let deep = format!("/v1/books/x?{}name=y", "next.".repeat(40));
    for (target, wanted) in [
        ("/v1/books/x?color=red", r#"the query's "color": test.v1.Book has no field "color""#),
        (
            "/v1/books/x?page_count=-1",
            r#"the query's "page_count": "-1" is no positive 32-bit number"#,
        ),
        ("/v1/books/x?kind=POEM", r#"the query's "kind": test.v1.Kind has no "POEM""#),
        (
            "/v1/books/x?notes=a",
            r#"the query's "notes": test.v1.Book.notes is a map, which only a body can say"#,
        ),
        ("/v1/books/x?tags.a=b", r#"the query's "tags.a": test.v1.Book.tags is not one message"#),
        (
            "/v1/books/x?next=b",
            r#"the query's "next": test.v1.Book is a message: name a field of it"#,
        ),
        ("/v1/books/x?tags=%f", r#"the query's "%f" is not percent-encoded UTF-8"#),
        (&deep, "more than 32 fields inside each other"),
    ] {
        let fault = get(target).expect_err(target);
        assert!(fault.contains(wanted), "{target}: {fault}");
    }
    for (target, body, wanted) in [
        ("/v1/a:lend", "{\n  \"kind\": }", "at line 2 column 11"),
        ("/v1/a:lend", r#"{"color": 1}"#, "color"),
        ("/v1/a:lend", "{} {}", "trailing characters, at line 1 column 4"),
        ("/v1/a:lend?kind=1", "{}", "all of this call's fields come in its body"),
        ("/v1/shelves/1", r#"{}, "name": "x""#, "trailing characters"),
        ("/v1/any", r#"{"name": "x"}"#, "takes no body"),
    ] {
        let fault = call(&Method::POST, target, body).expect_err(target);
        assert!(fault.contains(wanted), "{target}: {fault}");
    }
    let deep = format!("{}{}", r#"{"next":"#.repeat(100_000), "}".repeat(100_000));
    let fault = call(&Method::POST, "/v1/a:lend", &deep).expect_err("too deep");
    assert!(fault.contains("recursion limit"), "{fault}");
}

#[test]
fn an_answer_may_be_one_field() {
    let kind = pool().get_message_by_name("test.v1.Book").expect("a message");
    let mut book = DynamicMessage::new(kind);
    assert_eq!(write(&book, None), Ok(b"{}".to_vec()));
    assert_eq!(write(&book, Some("page_count")), Ok(b"0".to_vec()));
    assert_eq!(write(&book, Some("tags")), Ok(b"[]".to_vec()));
    book.set_field_by_name("page_count", prost_reflect::Value::U32(3));
    assert_eq!(write(&book, Some("page_count")), Ok(b"3".to_vec()));
    assert_eq!(write(&book, None), Ok(br#"{"pageCount":3}"#.to_vec()));
}

#[test]
fn a_status_is_json() {
    let end = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    };
    let no_details = end(&[("grpc-status", "5"), ("grpc-message", "no %C3%A4 100% %zz")]);
    assert_eq!(status::code(&no_details), Some(5));
    let wanted = json!({ "code": 5, "message": "no ä 100% %zz" });
    assert_eq!(status::json(5, &no_details, &pool()), wanted);

    let any =
        |type_url: &str, value: Vec<u8>| prost_types::Any { type_url: type_url.to_owned(), value };
    let known = any("type.googleapis.com/test.v1.Book", vec![0x0a, 1, b'x']);
    let unknown = any("type.googleapis.com/test.v1.Other", vec![1]);
    let broken = any("type.googleapis.com/test.v1.Book", vec![0xff]);
    let details = tonic_types::Status {
        code: 5,
        message: String::new(),
        details: vec![known, unknown, broken],
    };
    let details = STANDARD.encode(details.encode_to_vec());
    let with_details = end(&[("grpc-status-details-bin", details.trim_end_matches('='))]);
    let book = json!({ "@type": "type.googleapis.com/test.v1.Book", "name": "x" });
    let wanted = json!({ "code": 5, "message": "", "details": [book] });
    assert_eq!(status::json(5, &with_details, &pool()), wanted);
}
