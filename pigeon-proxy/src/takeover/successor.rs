//! The new process's side of a take-over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use pigeon_proto::model::Name;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::slots::Borrowed;
use super::wire::{Link, Message, VERSION};
use super::{READY, STEP, same_user, within};
use crate::gateway::Gateway;

/// What the old process handed over; it goes on serving until [`Taken::serve`].
#[derive(Debug)]
pub struct Inherited {
    link: Link,
    /// The old process.
    pub pid: u32,
    /// The sockets of its listeners.
    pub listeners: Vec<(Name, SocketAddr, Vec<TcpListener>)>,
    /// The socket of its status port.
    pub status: Option<(SocketAddr, TcpListener)>,
    /// The lock of its state directory.
    pub lock: Option<OwnedFd>,
}

/// Asks the process that listens on `path` for its sockets; none if nobody does.
///
/// # Errors
/// It refuses, or is another user's, or does not answer.
pub async fn ask(path: &Path) -> io::Result<Option<Inherited>> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(e) => {
            return match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(e),
            };
        }
    };
    if !same_user(&stream)? {
        return Err(io::Error::other("the process there runs as another user"));
    }
    within(STEP, "the answer of the running process", receive(Link::new(stream))).await.map(Some)
}

async fn receive(link: Link) -> io::Result<Inherited> {
    let mut all = Inherited { link, pid: 0, listeners: Vec::new(), status: None, lock: None };
    let hello = Message::Hello { version: VERSION, pid: std::process::id() };
    if let Err(e) = all.link.send(&hello, &[]).await {
        // A refusal may be there already.
        tracing::debug!("the running process did not take the greeting: {e}");
    }
    loop {
        match all.link.expect().await? {
            Message::Listener { name, address, count } => {
                let sockets = all.link.claim(count)?.into_iter().map(TcpListener::from);
                match all.listeners.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, _, known)) => known.extend(sockets),
                    None => all.listeners.push((name, address, sockets.collect())),
                }
            }
            Message::Status(address) => {
                let socket = all.link.claim(1)?.pop().map(TcpListener::from);
                all.status = socket.map(|socket| (address, socket));
            }
            Message::Lock => all.lock = all.link.claim(1)?.pop(),
            Message::All { pid } => {
                all.pid = pid;
                return Ok(all);
            }
            other => return Err(io::Error::other(format!("unexpected: {other:?}"))),
        }
    }
}

impl Inherited {
    /// Says that everything is ready, and learns which slots are taken. Afterwards to be served at once.
    ///
    /// # Errors
    /// The old process refuses: it goes on, and this one must not serve.
    pub async fn ready(self, gateway: &Gateway) -> io::Result<Taken> {
        let Self { mut link, pid, .. } = self;
        let mut borrowed = Borrowed::default();
        let asked = async {
            link.send(&Message::Ready, &[]).await?;
            match link.expect().await? {
                Message::Go(held) => Ok(held),
                other => Err(io::Error::other(format!("unexpected: {other:?}"))),
            }
        };
        match within(READY, "the word of the running process", asked).await {
            Ok(held) => borrowed.change(gateway, held),
            // It has died meanwhile; its sockets are here.
            Err(e) if gone(&e) => {
                tracing::warn!(pid, "the process that was to be taken over has ended by itself");
            }
            Err(e) => return Err(e),
        }
        Ok(Taken { link, pid, borrowed })
    }
}

fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

/// What is left between the two until the old process has ended.
pub struct Taken {
    link: Link,
    pid: u32,
    borrowed: Borrowed,
}

impl Taken {
    /// Tells the old process to stop accepting: to be called as soon as this one accepts. Then gives it
    /// slots and takes them back, until it has ended. `released` is told when it has let go of the admin.
    pub async fn serve(self, gateway: Arc<Gateway>, released: oneshot::Sender<()>) {
        let Self { mut link, pid, mut borrowed } = self;
        tracing::info!(pid, slots = borrowed.count(), "took over from a running process");
        // Where it fails the old process is gone, which the first message tells.
        let _ = link.send(&Message::Serving, &[]).await;
        let mut released = Some(released);
        loop {
            let answers = tokio::select! {
                message = link.receive() => match message {
                    Ok(Some(Message::Released)) => {
                        drop(released.take());
                        Vec::new()
                    }
                    Ok(Some(Message::Held(changes))) => {
                        borrowed.change(&gateway, changes);
                        Vec::new()
                    }
                    Ok(Some(Message::Want { engine, calls })) => borrowed.want(&gateway, &engine, calls),
                    Ok(Some(_)) => Vec::new(),
                    Ok(None) | Err(_) => break,
                },
                answer = borrowed.served() => vec![answer],
            };
            for answer in answers {
                if link.send(&answer, &[]).await.is_err() {
                    break;
                }
            }
        }
        tracing::info!(pid, slots = borrowed.count(), "the process before has ended");
    }
}
