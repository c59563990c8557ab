//! Opening the sockets of a listener: one per worker, on one address (SO_REUSEPORT).

use std::io;
use std::net::{SocketAddr, TcpListener};

use pigeon_proto::model::Name;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the system keeps until they are accepted, per socket; it may keep fewer.
const BACKLOG: i32 = 1_024;

/// The sockets of a listener.
pub(super) struct Opened {
    /// Where they listen, with the real port.
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// Sockets that were opened by somebody else, with the name of their listener, if known.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Option<Name>, SocketAddr, Vec<TcpListener>)>);

impl Inherited {
    /// One more listener's sockets.
    pub fn add(&mut self, name: Option<Name>, address: SocketAddr, sockets: Vec<TcpListener>) {
        self.0.push((name, address, sockets));
    }

    /// Takes those at `wanted`; with port 0 those of this name on any port.
    pub(super) fn claim(&mut self, name: &Name, wanted: SocketAddr) -> Option<Opened> {
        let named = |(known, at, _): &(Option<Name>, SocketAddr, _)| {
            known.as_ref() == Some(name) && at.ip() == wanted.ip() && wanted.port() == 0
        };
        let place = self.0.iter().position(|(_, at, _)| *at == wanted);
        let place = place.or_else(|| self.0.iter().position(named))?;
        let (_, address, sockets) = self.0.swap_remove(place);
        Some(Opened { address, sockets })
    }
}

impl Opened {
    /// Opens more, until there are `n`.
    pub(super) fn fill(mut self, n: usize) -> Result<Self, String> {
        let failed = |error| explain(self.address, &error);
        for socket in &self.sockets {
            socket.set_nonblocking(true).map_err(failed)?;
        }
        while self.sockets.len() < n {
            match listening(self.address) {
                Ok(socket) => self.sockets.push(socket),
                // One that was not opened to be shared: what there is has to do.
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => break,
                Err(e) => return Err(explain(self.address, &e)),
            }
        }
        Ok(self)
    }
}

/// Opens `n` sockets on `address`; `ours` = another listener of this proxy has it, and is about to leave.
///
/// # Errors
/// What is wrong, with the address, and what to do.
pub(super) fn open(address: SocketAddr, n: usize, ours: bool) -> Result<Opened, String> {
    let tell = |error: io::Error| explain(address, &error);
    if address.port() != 0 && !ours {
        // With SO_REUSEPORT two processes of one user share an address without noticing.
        socket(address, false).map_err(tell)?;
    }
    let first = listening(address).map_err(tell)?;
    let address = first.local_addr().map_err(tell)?;
    let mut sockets = vec![first];
    while sockets.len() < n {
        sockets.push(listening(address).map_err(tell)?);
    }
    Ok(Opened { address, sockets })
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A bound socket.
fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are two addresses, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier life that still wait for their end do not count.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What is wrong, with the address, and what to do.
pub(super) fn explain(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: the address is in use by another process; \
             stop it, or choose another address (--bind NAME=IP:PORT moves a listener of one proxy)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "cannot listen on {address}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {address}: this machine does not have the address; \
             use one that it has, 0.0.0.0 or [::]"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_resolved_port_and_others_are_noticed() {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let sockets = open(any, 3, false).unwrap_or_else(|e| panic!("{e}"));
        let addresses = sockets.sockets.iter().map(|s| s.local_addr().expect("bound"));
        assert!(addresses.into_iter().all(|a| a == sockets.address && a.port() != 0));
        let error = open(sockets.address, 1, false).err().expect("in use");
        assert!(error.contains("in use by another process"), "{error}");
        assert!(error.contains(&sockets.address.to_string()), "{error}");
        assert!(open(sockets.address, 1, true).is_ok());
        drop(sockets.sockets);
        assert!(open(sockets.address, 2, false).is_ok());
    }
}
