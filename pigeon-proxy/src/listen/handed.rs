//! Sockets that were open before this process was: those of a service manager.
//!
//! They stay open until it ends, as they do in the manager, so who comes while nobody listens waits in the
//! queue of the socket. All workers accept on copies of the one socket: of several on one address the system
//! would give connections to those, too, that end with this process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sockets that listen already, for whatever of this proxy is at their addresses.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<[Handed]>);

/// One of them.
#[derive(Debug)]
pub struct Handed {
    address: SocketAddr,
    socket: TcpListener,
    claimed: AtomicBool,
}

impl Handed {
    /// A socket that listens.
    ///
    /// # Errors
    /// It has no address.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { address: socket.local_addr()?, socket, claimed: AtomicBool::new(false) })
    }
}

impl FromIterator<Handed> for Sockets {
    fn from_iter<I: IntoIterator<Item = Handed>>(sockets: I) -> Self {
        Self(sockets.into_iter().collect())
    }
}

impl Sockets {
    /// At least `n` copies of the sockets at `address`; none if none is there.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn claim(&self, address: SocketAddr, n: usize) -> io::Result<Vec<TcpListener>> {
        let here: Vec<_> = self.0.iter().filter(|handed| handed.address == address).collect();
        for handed in &here {
            handed.claimed.store(true, Ordering::Relaxed);
        }
        let copies = here.iter().cycle().take(n.max(here.len()));
        copies.map(|handed| handed.socket.try_clone()).collect()
    }

    /// The addresses of those that nothing has wanted yet.
    pub(crate) fn unclaimed(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter(|h| !h.claimed.load(Ordering::Relaxed)).map(|handed| handed.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_accepts_on_the_one_socket() {
        let handed =
            || Handed::new(TcpListener::bind("127.0.0.1:0").expect("bound")).expect("bound");
        let (one, other) = (handed(), handed());
        let (at, unwanted) = (one.address, other.address);
        let sockets = Sockets::from_iter([one, other]);
        let copies = sockets.claim(at, 3).expect("descriptors");
        assert_eq!(copies.len(), 3);
        assert!(copies.iter().all(|copy| copy.local_addr().is_ok_and(|address| address == at)));
        assert_eq!(sockets.unclaimed().collect::<Vec<_>>(), [unwanted]);
        assert!(sockets.claim(([127, 0, 0, 1], 0).into(), 3).expect("none").is_empty());
        // Those of a listener that is gone come back.
        drop(copies);
        assert_eq!(sockets.claim(at, 1).expect("descriptors").len(), 1);
    }
}
