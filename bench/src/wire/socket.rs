//! A non-blocking TCP connection, in the clear or by TLS, with the bytes that wait to be written.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use super::tls::Session;

/// Most bytes read at once; one buffer of this size serves all connections.
pub const READ: usize = 256 * 1024;

/// Listens. Proxies open thousands of connections at once: the standard library's backlog of 128 refuses
/// some of them.
///
/// # Errors
/// When the address is taken.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(16_384)?;
    Ok(socket.into())
}

/// A connection. What is put in `out` goes with the next `flush`.
pub struct Socket {
    stream: TcpStream,
    /// Bytes to write.
    pub out: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Whether the system had no room, and has not said since that it has.
    full: bool,
    tls: Option<Box<Session>>,
    opened: Instant,
}

/// What `Socket::read` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes, and perhaps more after them.
    More(usize),
    /// So many bytes, and no more for now.
    Last(usize),
    /// The other side is gone.
    End,
}

impl Socket {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// When the system refuses to set it up.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let opened = Instant::now();
        Ok(Self { stream, out: Vec::new(), written: 0, full: false, tls: None, opened })
    }

    /// The same by TLS: what is in `out` waits for the handshake.
    pub fn secured(self, session: Session) -> Self {
        Self { tls: Some(Box::new(session)), ..self }
    }

    /// Connects, waiting at most two seconds.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let begun = Instant::now();
        let stream = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))?;
        Ok(Self { opened: begun, ..Self::new(stream)? })
    }

    /// When it was begun.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Its TLS.
    pub fn tls(&mut self) -> Option<&mut Session> {
        self.tls.as_deref_mut()
    }

    /// The socket itself, to wait for it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads what is there, at most the size of `buffer`. A short read was the last: edge-triggered
    /// readiness comes again with the next byte, so no second call has to find nothing.
    pub fn read(&mut self, buffer: &mut [u8]) -> Got {
        match &mut self.tls {
            Some(tls) => tls.read(&self.stream, buffer),
            None => read(&self.stream, buffer),
        }
    }

    /// There is room again.
    pub fn writable(&mut self) {
        self.full = false;
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes as much of `out` as the system takes.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.seal(&mut self.out)?;
            while !self.full && tls.waits() {
                match tls.write(&self.stream) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.full = true,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            return Ok(());
        }
        while !self.full && self.written < self.out.len() {
            match (&self.stream).write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written > READ {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room, and says that nothing more comes.
    pub fn leave(&mut self) {
        // Who is gone already needs no goodbye.
        let _ = self.flush();
        if let Some(tls) = &mut self.tls {
            tls.close();
            let _ = self.flush();
        }
    }
}

/// Reads what is there, as `Socket::read` says.
pub(super) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> Got {
    loop {
        return match stream.read(buffer) {
            Ok(0) => Got::End,
            Ok(n) if n < buffer.len() => Got::Last(n),
            Ok(n) => Got::More(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Got::Last(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Got::End,
        };
    }
}
