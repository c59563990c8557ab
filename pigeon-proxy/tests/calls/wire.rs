//! An engine that writes HTTP/2 frames one by one, for what no proper implementation does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::FOR_EVER;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Where connections come in.
pub struct WireEngine(TcpListener);

/// A connection.
pub struct Wire {
    socket: TcpStream,
    /// Whether pings are answered.
    pub answers_pings: bool,
}

/// A frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl WireEngine {
    pub async fn start() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection, its preface read and ours sent.
    pub async fn accept(&self) -> Wire {
        self.accept_with(&[]).await
    }

    /// The same; `settings` = the payload of SETTINGS.
    pub async fn accept_with(&self, settings: &[u8]) -> Wire {
        let accepted = tokio::time::timeout(FOR_EVER, self.0.accept()).await;
        let mut socket = accepted.unwrap().unwrap().0;
        socket.set_nodelay(true).unwrap();
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut wire = Wire { socket, answers_pings: true };
        wire.send(SETTINGS, 0, 0, settings).await;
        wire
    }
}

impl Wire {
    /// A client's connection.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::begin(TcpStream::connect(to).await.unwrap()).await
    }

    /// Begins with HTTP/2 on a connection.
    pub async fn begin(mut socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut wire = Self { socket, answers_pings: true };
        wire.send(SETTINGS, 0, 0, &[]).await;
        wire
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Opens a stream with a gRPC request whose body is still to come.
    pub async fn ask(&mut self, stream: u32) {
        // POST, http, and literals that are not indexed: path, authority, content-type.
        let block = b"\x83\x86\x04\x02/x\x01\x01h\x0f\x10\x10application/grpc";
        self.send(HEADERS, END_HEADERS, stream, block).await;
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // Whoever reads on will see that the other end has closed.
        let _ = self.socket.write_all(&frame).await;
    }

    /// The next frame; none when the other end has closed. Answers SETTINGS and, unless told otherwise, PING.
    pub async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = tokio::time::timeout(FOR_EVER, self.socket.read_exact(&mut head)).await;
        read.expect("no frame came").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]).await,
            (PING, 0) if self.answers_pings => {
                let payload = frame.payload.clone();
                self.send(PING, ACK, 0, &payload).await;
            }
            _ => {}
        }
        Some(frame)
    }

    /// Reads up to the head of a request; its stream.
    pub async fn request(&mut self) -> u32 {
        loop {
            let frame = self.frame().await.expect("the connection closed");
            if frame.kind == HEADERS {
                return frame.stream;
            }
        }
    }

    /// Leaves out every stream above `last`.
    pub async fn goaway(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(0_u32.to_be_bytes());
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// A gRPC answer that is nothing but its status.
    pub async fn grpc(&mut self, stream: u32, status: u8) {
        // :status 200 of the static table, and literals that are not indexed (RFC 7541, section 6.2.2).
        let mut block = vec![0x88];
        for (name, value) in
            [("content-type", "application/grpc".to_owned()), ("grpc-status", status.to_string())]
        {
            block.push(0);
            for text in [name, &value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block).await;
    }
}
