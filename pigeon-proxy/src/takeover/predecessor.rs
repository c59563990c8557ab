//! The running process's side of a take-over.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pigeon_proto::model::Name;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::slots::Lender;
use super::wire::{Link, MOST_FDS, Message, VERSION};
use super::{READY, STEP, same_user, within};
use crate::gateway::Gateway;

/// How often the slots that have become free are looked for, while the new process waits for them.
const TICK: Duration = Duration::from_millis(5);

/// What a second process is told.
const BUSY: &str = "another process is taking over; try again when it is done";

/// The open sockets of a listener.
#[derive(Debug)]
pub struct Offered {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub address: SocketAddr,
    /// Copies of its sockets.
    pub sockets: Vec<TcpListener>,
}

/// Asks for the sockets of all listeners, after everything that has to be on disk is.
pub type Ask = oneshot::Sender<Vec<Offered>>;

/// What there is to hand over.
pub struct Desk {
    /// Where to ask for the listeners.
    pub listeners: mpsc::Sender<Ask>,
    /// The status port and a copy of its socket.
    pub status: (SocketAddr, OwnedFd),
    /// A copy of the lock of the state directory.
    pub lock: Option<OwnedFd>,
    /// Whose slots they are.
    pub gateway: Arc<Gateway>,
}

/// Listens on `path` for a new process. Whoever listened there before does so no more.
///
/// # Errors
/// The path cannot be used.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let temporary = path.with_added_extension(format!("{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    let ready = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = ready {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    Ok(listener)
}

/// Waits until a new process has taken over. What fails before changes nothing.
pub async fn wait(socket: &UnixListener, desk: &Desk) -> Given {
    loop {
        let link = next(socket).await;
        let attempt = hand_over(link, desk);
        let mut attempt = std::pin::pin!(attempt);
        let result = loop {
            tokio::select! {
                result = attempt.as_mut() => break result,
                other = next(socket) => {
                    tokio::spawn(other.refuse(BUSY.to_owned()));
                }
            }
        };
        match result {
            Ok(given) => return given,
            // Somebody has only looked whether anybody is here.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!("a process that asked is gone: {e}");
            }
            Err(e) => tracing::error!("a take-over failed, this process goes on: {e}"),
        }
    }
}

/// The next process of the same user.
async fn next(socket: &UnixListener) -> Link {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => match same_user(&stream) {
                Ok(true) => return Link::new(stream),
                Ok(false) => {
                    tracing::warn!("a process of another user asked to take over, and was refused");
                    let why = "only the same user may take over".to_owned();
                    tokio::spawn(Link::new(stream).refuse(why));
                }
                Err(error) => tracing::debug!(%error, "a process that asked is gone"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot be taken over for now");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn hand_over(mut link: Link, desk: &Desk) -> io::Result<Given> {
    let pid = match within(STEP, "its greeting", link.expect()).await? {
        Message::Hello { version: VERSION, pid } => pid,
        other => {
            let why =
                format!("this process speaks version {VERSION} of the take-over; restart instead");
            link.refuse(why).await;
            return Err(io::Error::other(format!("unexpected: {other:?}")));
        }
    };
    tracing::info!(pid, "a new process asks to take over");
    proceed(link, pid, desk).await.map_err(|e| io::Error::other(format!("process {pid}: {e}")))
}

/// What follows the greeting.
async fn proceed(mut link: Link, pid: u32, desk: &Desk) -> io::Result<Given> {
    within(STEP, "handing the sockets over", offer(&link, desk)).await?;
    match within(READY, "loading its configuration", link.expect()).await? {
        Message::Ready => {}
        other => return Err(io::Error::other(format!("unexpected: {other:?}"))),
    }
    // Dropped on failure: every slot is back then.
    let mut lender = Lender::freeze(&desk.gateway);
    let held = lender.changes();
    let go = async {
        link.send(&Message::Go(held), &[]).await?;
        link.expect().await
    };
    match within(STEP, "its beginning", go).await? {
        Message::Serving => Ok(Given { link, lender, pid }),
        other => Err(io::Error::other(format!("unexpected: {other:?}"))),
    }
}

async fn offer(link: &Link, desk: &Desk) -> io::Result<()> {
    let stopping = |_| io::Error::other("this process is stopping");
    let (ask, answer) = oneshot::channel();
    desk.listeners.send(ask).await.map_err(|_| io::Error::other("this process is stopping"))?;
    for Offered { name, address, sockets } in answer.await.map_err(stopping)? {
        for some in sockets.chunks(MOST_FDS) {
            let fds: Vec<BorrowedFd<'_>> = some.iter().map(|s| s.as_fd()).collect();
            let message = Message::Listener { name: name.clone(), address, count: fds.len() };
            link.send(&message, &fds).await?;
        }
    }
    let (address, status) = &desk.status;
    link.send(&Message::Status(*address), &[status.as_fd()]).await?;
    if let Some(lock) = &desk.lock {
        link.send(&Message::Lock, &[lock.as_fd()]).await?;
    }
    link.send(&Message::All { pid: std::process::id() }, &[]).await
}

/// A new process serves; this one has to end.
pub struct Given {
    link: Link,
    lender: Lender,
    /// The new process.
    pub pid: u32,
}

impl Given {
    /// Says that nothing is accepted here any more, and that files and admin are free.
    pub async fn released(&self) {
        // An error is an end of the new process, which `lend` notices.
        let _ = self.link.send(&Message::Released, &[]).await;
    }

    /// Gives slots to the new process as they become free, and asks it for those that calls here need.
    /// For ever: to be dropped when the last call has ended.
    pub async fn lend(self) {
        let Self { mut link, mut lender, pid } = self;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let back = tokio::select! {
                message = link.receive() => match message {
                    Ok(Some(Message::Grant { engine, endpoint })) => lender.granted(engine, endpoint),
                    Ok(Some(Message::None { engine })) => {
                        lender.answered(&engine);
                        None
                    }
                    Ok(Some(_)) => None,
                    Ok(None) | Err(_) => break,
                },
                _ = ticks.tick() => None,
            };
            let mut changes = lender.changes();
            changes.extend(back);
            let held = (!changes.is_empty()).then_some(Message::Held(changes));
            for message in held.into_iter().chain(lender.wants()) {
                if link.send(&message, &[]).await.is_err() {
                    break;
                }
            }
        }
        tracing::error!(pid, "the process that took over has ended; this one ends its calls alone");
        drop(lender);
        std::future::pending().await
    }
}
