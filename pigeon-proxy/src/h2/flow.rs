//! Flow-control windows (RFC 9113 sections 5.2 and 6.9): what may be sent, what may be received, and when to give
//! the peer more.
//!
//! A window is what may still come. `SendWindow` can be negative (the peer may shrink its initial window under
//! data that is on its way); a window of ours can be for the same reason, before our SETTINGS are acknowledged.

/// The largest a window may be (section 6.9.1).
pub const MAX_WINDOW: u32 = (1 << 31) - 1;
/// What a window is before anything is said (section 6.9.2).
pub const DEFAULT_WINDOW: u32 = 65_535;

/// What we may send: of a stream or of the connection.
#[derive(Clone, Copy, Debug)]
pub struct SendWindow(i32);

impl SendWindow {
    /// A window of `size` (at most [`MAX_WINDOW`]).
    pub fn new(size: u32) -> Self {
        Self(size as i32)
    }

    /// What may be sent now.
    #[inline]
    pub fn available(self) -> usize {
        self.0.max(0) as usize
    }

    /// `count` bytes, at most what is available, are sent.
    #[inline]
    pub fn spend(&mut self, count: usize) {
        self.0 -= count as i32;
    }

    /// The window moves by `delta`. False: it would be larger than allowed, and did not move.
    #[inline]
    #[must_use]
    pub fn shift(&mut self, delta: i64) -> bool {
        match i32::try_from(i64::from(self.0) + delta) {
            Ok(window) => {
                self.0 = window;
                true
            }
            Err(_) => false,
        }
    }
}

/// What the peer may send on one stream.
///
/// `window + owed + (delivered and not released) == target` at any time.
#[derive(Clone, Copy, Debug)]
pub struct StreamWindow {
    /// What the peer may still send.
    window: i32,
    /// Released bytes the peer has not been told of.
    owed: u32,
    /// The window's full size.
    target: u32,
    /// Bytes released by a reader that kept up, since the window last grew.
    kept_up: u32,
}

impl StreamWindow {
    /// A full window.
    pub fn new(size: u32) -> Self {
        Self { window: size as i32, owed: 0, target: size, kept_up: 0 }
    }

    /// `count` bytes came. False: more than allowed.
    #[inline]
    #[must_use]
    pub fn receive(&mut self, count: u32) -> bool {
        match i64::from(self.window) - i64::from(count) {
            window if window >= 0 || count == 0 => {
                self.window = window as i32;
                true
            }
            _ => false,
        }
    }

    /// `count` bytes were taken by the reader. Returns the increment for the peer, or 0 if it is not yet worth a
    /// frame. The window doubles, up to `largest`, each time a whole window was taken by a reader that kept up.
    #[inline]
    pub fn release(&mut self, count: u32, behind: bool, largest: u32) -> u32 {
        let count = count.min(self.unreleased());
        self.owed += count;
        if behind {
            self.kept_up = 0;
        } else {
            self.kept_up += count;
            if self.kept_up >= self.target {
                self.grow(largest);
            }
        }
        self.due()
    }

    /// Credits what is owed if it is half a window.
    #[inline]
    fn due(&mut self) -> u32 {
        if self.owed < (self.target / 2).max(1) {
            return 0;
        }
        let increment = std::mem::take(&mut self.owed);
        self.window += increment as i32;
        increment
    }

    fn grow(&mut self, largest: u32) {
        self.kept_up = 0;
        let grown = self.target.saturating_mul(2).min(largest);
        if grown > self.target {
            self.owed += grown - self.target;
            self.target = grown;
        }
    }

    /// The peer has learned that the initial window is smaller by `count` than was allowed so far. Returns the
    /// increment for the peer: what was owed may now be more than half a window.
    #[must_use]
    pub fn shrink(&mut self, count: u32) -> u32 {
        self.window -= count as i32;
        self.target = self.target.saturating_sub(count);
        self.due()
    }

    /// What the peer may still send.
    pub fn window(self) -> i32 {
        self.window
    }

    /// What came and was not taken.
    #[inline]
    pub fn unreleased(self) -> u32 {
        (i64::from(self.target) - i64::from(self.owed) - i64::from(self.window)) as u32
    }
}

/// What the peer may send on all streams together.
///
/// Bytes are credited as they come, not as they are taken, so that slow streams do not stop the others; but only
/// while less than a budget waits. `window + unreleased <= size + budget` at any time.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionWindow {
    /// What the peer may still send.
    window: u32,
    /// Bytes that came and were not yet taken.
    unreleased: u32,
    size: u32,
    budget: u32,
}

impl ConnectionWindow {
    /// A full window of `size` (at least [`DEFAULT_WINDOW`]).
    pub fn new(size: u32, budget: u32) -> Self {
        let size = size.clamp(DEFAULT_WINDOW, MAX_WINDOW);
        Self { window: size, unreleased: 0, size, budget: budget.min(MAX_WINDOW) }
    }

    /// Its full size.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// `count` bytes came. False: more than allowed.
    #[inline]
    #[must_use]
    pub fn receive(&mut self, count: u32) -> bool {
        match self.window.checked_sub(count) {
            Some(window) => {
                self.window = window;
                self.unreleased += count;
                true
            }
            None => false,
        }
    }

    /// `count` bytes were taken.
    #[inline]
    pub fn release(&mut self, count: u32) {
        self.unreleased = self.unreleased.saturating_sub(count);
    }

    /// The increment for the peer, or 0 if it is not yet worth a frame: it is when half a window is due. Over the
    /// budget the window to reach shrinks by what is over.
    #[inline]
    pub fn credit(&mut self) -> u32 {
        if self.window > self.size / 2 {
            return 0;
        }
        let over = self.unreleased.saturating_sub(self.budget);
        let reach = self.size.saturating_sub(over);
        match reach.checked_sub(self.window) {
            Some(due) if due > 0 && due >= reach / 2 => {
                self.window = reach;
                due
            }
            _ => 0,
        }
    }

    /// What the peer may still send, and what came and was not taken.
    pub fn state(&self) -> (u32, u32) {
        (self.window, self.unreleased)
    }
}
