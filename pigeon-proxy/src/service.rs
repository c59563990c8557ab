//! What this program and its service manager (systemd) tell each other: sockets that are open already, and that
//! it serves, reads its files again, ends, was taken over, is alive. Without a manager nothing happens.
//!
//! For the program alone: what embeds the library may run several proxies in one process. The protocols are
//! those of sd_listen_fds(3) and sd_notify(3).

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::app::Stage;
use crate::config::Connection;
use crate::listen::{Handed, Sockets};
use crate::reload::Reload;
use crate::worker::Pulse;

/// What the manager meant for one process, and not for those that it starts.
const OWN: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];
/// What the end may take beyond the time that calls have.
const LAST: Duration = Duration::from_secs(10);
/// How long files may take to be read again: servers of keys may be away.
const RELOAD: Duration = Duration::from_secs(30);

/// A socket of the manager is of no use here.
#[derive(Debug, thiserror::Error)]
#[error(
    "socket {number} of the service manager cannot be used: {source}; \
     give it TCP sockets alone (ListenStream=IP:PORT)"
)]
pub struct SocketError {
    /// Its place among those handed over, from 1.
    number: usize,
    /// What is wrong with it.
    source: std::io::Error,
}

/// Takes the sockets that the manager has opened for this process. To be called before there are threads: it
/// changes the environment.
///
/// # Errors
/// One is no TCP socket.
pub fn sockets() -> Result<Sockets, SocketError> {
    let mut manager = ListenFd::from_env();
    let mut take = |index| {
        let found: Option<TcpListener> = manager.take_tcp_listener(index)?;
        found.map(Handed::new).transpose()
    };
    let all = (0..).map_while(|index| {
        take(index).map_err(|source| SocketError { number: index + 1, source }).transpose()
    });
    all.collect()
}

/// Tells the manager at which stage the proxy is, until it ends; calls have `drain` to end.
pub async fn follow(mut stage: watch::Receiver<Stage>, drain: Duration) {
    loop {
        let now = *stage.borrow_and_update();
        match now {
            Stage::Starting => {}
            Stage::Serving => tell(&[NotifyState::Ready, NotifyState::Status("serving")]),
            Stage::Stopping => {
                let more = format!("EXTEND_TIMEOUT_USEC={}", (drain + LAST).as_micros());
                let status = format!("stopping: calls have {drain:?} to end");
                let (more, status) = (NotifyState::Custom(&more), NotifyState::Status(&status));
                return tell(&[NotifyState::Stopping, more, status]);
            }
            // Before this process ends: its end is not that of the service any more.
            Stage::TakenOver(pid) => return tell(&[NotifyState::MainPid(pid)]),
        }
        if stage.changed().await.is_err() {
            return;
        }
    }
}

/// Has all files read again, and tells the manager when they are.
pub async fn reload(
    reload: &Reload,
    connection: &watch::Receiver<Connection>,
    stage: &watch::Receiver<Stage>,
) {
    let serves = || *stage.borrow() == Stage::Serving;
    let read = reload.all();
    if serves() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
        }
    }
    if timeout(RELOAD, read).await.is_err() {
        tracing::warn!("not every file was read again within {RELOAD:?}");
    }
    if serves() {
        let status = connection.borrow().refused.first().map_or("serving".to_owned(), |why| {
            format!("serving; the configuration file is refused: {why}")
        });
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

/// Tells the manager again and again that the workers do something, if it asks for that and for as long as
/// they do.
pub async fn watchdog(pulse: Pulse, mut stage: watch::Receiver<Stage>) {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let Some(every) = limit.map(|limit| limit / 3) else { return };
    loop {
        match pulse.beat(every).await {
            None => tell(&[NotifyState::Watchdog]),
            Some(worker) => tracing::error!(
                worker,
                "this worker does nothing for {every:?}: the service manager is not told that all is well"
            ),
        }
        let over = stage.wait_for(|stage| *stage > Stage::Serving);
        if timeout(every, over).await.is_ok() {
            return;
        }
    }
}

/// Keeps from a process that is started here what the manager meant for this one.
pub fn disown(command: &mut Command) {
    for name in OWN {
        command.env_remove(name);
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, ?words, "the service manager cannot be told");
    }
}
