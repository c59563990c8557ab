//! Readiness: epoll, edge-triggered, with timeouts below a millisecond.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Waits for many sockets at once.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number it was added under.
    pub token: u64,
    /// Bytes, an end or an error can be read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) })
    }

    /// Adds a socket; closing it removes it.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn add(&self, socket: impl AsFd, token: u64) -> std::io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// Waits until something is ready, or for `timeout`.
    ///
    /// # Errors
    /// When the system does.
    pub fn wait(&mut self, timeout: Option<Duration>) -> std::io::Result<usize> {
        let timeout = timeout.and_then(|t| t.try_into().ok());
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) => Ok(self.events.len()),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// The n-th of those that the last `wait` found.
    pub fn ready(&self, n: usize) -> Ready {
        let Event { flags, data } = self.events[n];
        let closing = EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP;
        Ready {
            token: data.u64(),
            readable: flags.intersects(EventFlags::IN | closing),
            writable: flags.intersects(EventFlags::OUT | closing),
        }
    }
}
