//! What the two processes say: one JSON object a line, file descriptors beside the line that names them.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use pigeon_proto::model::{Address, Name};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The version of this protocol.
pub const VERSION: u32 = 1;
/// Longest line taken.
const MAX_LINE: usize = 16 << 20;
/// Descriptors in one message; the system takes at most 253.
pub const MOST_FDS: usize = 64;
/// How long, and for how much of what it says, somebody who was refused is listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 65_536;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// New: what speaks here.
    Hello {
        /// Of the protocol.
        version: u32,
        /// Of the process.
        pid: u32,
    },
    /// Old: no, and why.
    Refused(String),
    /// Old: that many sockets of a listener come with this.
    Listener {
        /// Its name.
        #[serde(with = "text")]
        name: Name,
        /// Where they listen.
        address: SocketAddr,
        /// How many.
        count: usize,
    },
    /// Old: the socket of the status port comes with this.
    Status(SocketAddr),
    /// Old: the lock of its state directory comes with this.
    Lock,
    /// Old: that was all.
    All {
        /// Of the process.
        pid: u32,
    },
    /// New: the configuration is loaded and every socket ready.
    Ready,
    /// Old: it takes no more slots on its own; these are taken.
    Go(Vec<Held>),
    /// New: it serves. From here on there is no way back.
    Serving,
    /// Old: it accepts nothing more, and has let go of the admin and of its files.
    Released,
    /// Old: the slots that its calls hold have become more or fewer.
    Held(Vec<Held>),
    /// Old: that many of its calls wait for a slot of this engine.
    Want {
        /// Which engine.
        #[serde(with = "text")]
        engine: Name,
        /// How many more.
        calls: u32,
    },
    /// New: one slot here for a call that waits.
    Grant {
        /// Which engine.
        #[serde(with = "text")]
        engine: Name,
        /// Which endpoint.
        #[serde(with = "text")]
        endpoint: Address,
    },
    /// New: there is none for a call that waits, and no place to wait.
    None {
        /// Which engine.
        #[serde(with = "text")]
        engine: Name,
    },
}

/// Slots of an endpoint: as many as are held, or how many more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose endpoint.
    #[serde(with = "text")]
    pub engine: Name,
    /// Which.
    #[serde(with = "text")]
    pub endpoint: Address,
    /// How many.
    pub slots: i64,
}

/// One end of the conversation.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    bytes: Vec<u8>,
    /// Received and not yet claimed, in order.
    fds: VecDeque<OwnedFd>,
}

impl Link {
    /// Speaks over this stream.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), fds: VecDeque::new() }
    }

    /// Sends a message, with descriptors (at most [`MOST_FDS`]) beside it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut sent = 0;
        while sent < line.len() {
            let (rest, fds) = (&line[sent..], if sent == 0 { fds } else { &[] });
            sent +=
                self.stream.async_io(Interest::WRITABLE, || put(&self.stream, rest, fds)).await?;
        }
        Ok(())
    }

    /// Sends a refusal, and waits for a moment until the other end has gone: closed at once, it would meet an error
    /// in what it still writes, and may never read why.
    pub async fn refuse(mut self, why: String) {
        let said = async {
            self.send(&Message::Refused(why), &[]).await?;
            self.stream.shutdown().await?;
            tokio::io::copy(&mut self.stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
        };
        // An error says that nobody is left to be told.
        let _ = timeout(LINGER, said).await;
    }

    /// The next message; none at the end. Safe to be dropped while it waits.
    ///
    /// # Errors
    /// The stream breaks, or what comes is no message.
    pub async fn receive(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
                let message = serde_json::from_slice(&self.bytes[..end])?;
                self.bytes.drain(..=end);
                return Ok(Some(message));
            }
            if self.bytes.len() > MAX_LINE {
                return Err(io::Error::other("a message is too long"));
            }
            let Self { stream, bytes, fds } = self;
            let read = stream.async_io(Interest::READABLE, || take(stream, bytes, fds)).await?;
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message, where the end is an error.
    ///
    /// # Errors
    /// As [`Link::receive`], or the end, or the refusal of the other process.
    pub async fn expect(&mut self) -> io::Result<Message> {
        match self.receive().await? {
            Some(Message::Refused(why)) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
            }
            Some(message) => Ok(message),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next descriptors received.
    ///
    /// # Errors
    /// There are fewer.
    pub fn claim(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        if count > self.fds.len() {
            return Err(io::Error::other("descriptors are missing"));
        }
        Ok(self.fds.drain(..count).collect())
    }
}

/// Names as the text they are.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

fn put(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let flags = SendFlags::NOSIGNAL;
    Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, flags)?)
}

fn take(
    stream: &UnixStream,
    bytes: &mut Vec<u8>,
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 16 << 10];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let read = recvmsg(stream.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    bytes.extend_from_slice(&buffer[..read]);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn messages_and_descriptors_arrive_in_order() {
        let (one, two) = UnixStream::pair().expect("a pair");
        let (one, mut two) = (Link::new(one), Link::new(two));
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = sockets[0].local_addr().expect("bound");
        let message =
            |count| Message::Listener { name: "a".parse().expect("name"), address, count };
        one.send(&message(2), &[sockets[0].as_fd(), sockets[1].as_fd()]).await.expect("sent");
        one.send(&Message::Ready, &[]).await.expect("sent");
        one.send(&message(1), &[sockets[2].as_fd()]).await.expect("sent");
        assert_eq!(two.expect().await.expect("received"), message(2));
        let first: TcpListener = two.claim(2).expect("two").remove(0).into();
        assert_eq!(two.expect().await.expect("received"), Message::Ready);
        assert_eq!(two.expect().await.expect("received"), message(1));
        assert!(two.claim(2).is_err());
        assert_eq!(two.claim(1).expect("one").len(), 1);
        // The same socket: what was connected before the old one closed it is accepted here.
        let mut client = TcpStream::connect(address).expect("connected");
        drop(sockets);
        client.write_all(b"x").expect("written");
        let mut byte = [0];
        first.accept().expect("accepted").0.read_exact(&mut byte).expect("read");
        drop(one);
        assert_eq!(two.receive().await.expect("the end"), None);
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        let (one, two) = UnixStream::pair().expect("a pair");
        one.writable().await.expect("writable");
        one.try_write(b"GET / HTTP/1.1\r\n").expect("written");
        assert!(Link::new(two).receive().await.is_err());
    }
}
