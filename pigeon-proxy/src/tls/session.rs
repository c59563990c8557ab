//! TLS of a connection of the relay: beside the socket, without a task and without a copy of its own. What is
//! sealed comes in, what is open goes out, and the other way round.

use std::io::{self, IoSlice, Read as _, Write as _};

use rustls::Connection;
use tokio::net::TcpStream;

/// The two ends of one connection share nothing but this.
pub(crate) struct Session {
    connection: Connection,
    /// The last word was said.
    closed: bool,
}

/// What reading brought.
pub(crate) struct Got {
    /// Open bytes.
    pub(crate) count: usize,
    /// The socket was read empty.
    pub(crate) drained: bool,
    /// The other end says no more.
    pub(crate) closed: bool,
}

impl Session {
    /// After the handshake.
    pub(crate) fn new(connection: Connection) -> Box<Self> {
        Box::new(Self { connection, closed: false })
    }

    /// Reads the socket once, by way of `sealed`, and opens what came. `open` must have room for as much and
    /// one record more.
    pub(crate) fn read(
        &mut self,
        socket: &TcpStream,
        sealed: &mut [u8],
        open: &mut [u8],
    ) -> io::Result<Got> {
        let n = socket.try_read(sealed)?;
        if n == 0 {
            return Ok(Got { count: 0, drained: true, closed: true });
        }
        let drained = n < sealed.len();
        match self.open(&sealed[..n], open) {
            Ok((count, closed)) => Ok(Got { count, drained, closed }),
            Err(error) => {
                // Why, for the other end; if it does not listen, so be it.
                let _ = self.write_to(socket);
                Err(error)
            }
        }
    }

    fn open(&mut self, mut sealed: &[u8], open: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut count = 0;
        while !sealed.is_empty() {
            if self.connection.read_tls(&mut sealed)? == 0 {
                return Ok((count, true));
            }
            let state = self.connection.process_new_packets().map_err(io::Error::other)?;
            let closed = state.peer_has_closed();
            count += self.take(&mut open[count..])?;
            if closed {
                return Ok((count, true));
            }
        }
        Ok((count, false))
    }

    /// Open bytes that are there already, as after the handshake.
    pub(crate) fn take(&mut self, open: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < open.len() {
            match self.connection.reader().read(&mut open[count..]) {
                Ok(0) => break,
                Ok(n) => count += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The end without a last word is for the socket to tell.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Seals as much as it has room for.
    pub(crate) fn seal(&mut self, open: &[u8]) -> io::Result<usize> {
        self.connection.writer().write(open)
    }

    /// Whether there is something sealed to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Sends what is sealed, until all of it is sent or the system takes no more.
    pub(crate) fn write_to(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Socket(socket))?;
        }
        Ok(())
    }

    /// Says that nothing more comes, once.
    pub(crate) fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.connection.send_close_notify();
        }
    }
}

/// A socket that is written to as long as it takes something.
struct Socket<'s>(&'s TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
