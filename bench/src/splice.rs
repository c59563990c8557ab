//! The floor: passes bytes between a client's connection and one of its own to the engine, and reads
//! nothing in them. What a proxy costs beyond this is its own doing.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::wire::poll::Poll;
use crate::wire::socket::{Got, READ, Socket, listen};

const LISTENER: u64 = 0;
/// Bytes that wait for one side at most; the other side is not read while there are more.
const MOST_WAITING: usize = 4 * READ;

/// One direction's source, which is the other's sink.
struct Side {
    socket: Socket,
    /// It has bytes that were not read for want of room on the other side.
    unread: bool,
}

/// A splicer that listens.
pub struct Splice {
    listener: TcpListener,
    engine: SocketAddr,
    poll: Poll,
    /// By token; the two sides of a pair are n and n ^ 1.
    sides: HashMap<u64, Side>,
    next: u64,
}

impl Splice {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn bind(address: SocketAddr, engine: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER)?;
        Ok(Self { listener, engine, poll, sides: HashMap::new(), next: 2 })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// When the system fails.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; READ / 2];
        loop {
            for n in 0..self.poll.wait(None)? {
                let ready = self.poll.ready(n);
                if ready.token == LISTENER {
                    self.accept()?;
                    continue;
                }
                let mut well = true;
                if ready.writable {
                    well = self.write(ready.token);
                    if well && self.sides.get(&(ready.token ^ 1)).is_some_and(|side| side.unread) {
                        well = self.read(ready.token ^ 1, &mut buffer);
                    }
                }
                if !well || (ready.readable && !self.read(ready.token, &mut buffer)) {
                    self.sides.remove(&ready.token);
                    self.sides.remove(&(ready.token ^ 1));
                }
            }
        }
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            // Without an engine the client is just let go.
            let Ok(engine) = Socket::connect(self.engine) else { continue };
            for (n, socket) in [Socket::new(stream)?, engine].into_iter().enumerate() {
                let token = self.next + n as u64;
                self.poll.add(socket.stream(), token)?;
                self.sides.insert(token, Side { socket, unread: false });
            }
            self.next += 2;
        }
        Ok(())
    }

    fn write(&mut self, token: u64) -> bool {
        let Some(side) = self.sides.get_mut(&token) else { return true };
        side.socket.writable();
        side.socket.flush().is_ok()
    }

    /// Passes on what a side has. False when a side is gone.
    fn read(&mut self, token: u64, buffer: &mut [u8]) -> bool {
        loop {
            let room = self.sides.get(&(token ^ 1)).map(|to| to.socket.waiting() < MOST_WAITING);
            let (Some(room), Some(from)) = (room, self.sides.get_mut(&token)) else { return true };
            from.unread = !room;
            if !room {
                return true;
            }
            let got = from.socket.read(buffer);
            let (Got::More(n) | Got::Last(n)) = got else { return false };
            let Some(to) = self.sides.get_mut(&(token ^ 1)) else { return false };
            to.socket.out.extend_from_slice(&buffer[..n]);
            if to.socket.flush().is_err() {
                return false;
            }
            if let Got::Last(_) = got {
                return true;
            }
        }
    }
}
