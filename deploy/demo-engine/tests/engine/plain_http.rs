//! The plain HTTP paths, on the port that serves gRPC.

use pigeon_proto::demo::v1::{PingReply, PingRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::support::{ping, start};

#[tokio::test]
async fn hello_tells_the_name() {
    let engine = start().await;
    let answer = engine.http("GET /hello", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello from demo-1\n"), "{answer}");
}

#[tokio::test]
async fn echo_gives_the_body_back_before_it_is_complete() {
    let engine = start().await;
    let mut socket = TcpStream::connect(engine.address).await.unwrap();
    let head =
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: text/x\r\ncontent-length: 6\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    for part in [b"abc", b"def"] {
        socket.write_all(part).await.unwrap();
        while !answer.windows(3).any(|seen| seen == part) {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/x\r\n"), "{answer}");
}

#[tokio::test]
async fn anything_else_is_not_found() {
    let engine = start().await;
    for head in ["GET /", "GET /hello/x", "POST /hello", "GET /echo"] {
        let answer = engine.http(head, "").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn an_unknown_grpc_service_or_method_is_unimplemented() {
    let engine = start().await;
    for path in ["/no.such.Service/Method", "/pigeon.demo.v1.Echo/NoSuchMethod"] {
        let mut grpc = tonic::client::Grpc::new(engine.channel.clone());
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<PingRequest, PingReply>::default();
        let status = grpc.unary(Request::new(ping()), path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
    assert_eq!(engine.stats.read().calls, 0);
}
