//! Lines on their way to where they are kept: handed to a thread of their own, never waited for. A destination
//! that is full, stuck or gone costs lines, which are counted, and nothing else.

mod file;
mod level;
mod start;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

pub use self::file::{LogFile, OpenError, Reopen, Rotation};
pub use self::level::{InForce, LevelError, Levels, filter};
pub use self::start::{Logs, StartError, Wanted};

/// Lines that may wait for their thread.
const MOST_WAITING: usize = 16_384;

/// A way to the thread that writes. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Lines {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Box<[u8]>),
    /// To be told when everything before has been written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Starts the thread `name`, which writes to `destination`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, destination: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let lost = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&receiver, destination, &counted))?;
        Ok(Self { sender, lost })
    }

    /// Hands a line over, its end included; where there is no room for it, it is lost.
    pub fn send(&self, line: impl Into<Box<[u8]>>) {
        if self.sender.try_send(Message::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that did not get where they should.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was handed over is written, but no longer than `most`.
    pub fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        let (tell, told) = sync_channel(1);
        let mut message = Message::Flush(tell);
        while let Err(error) = self.sender.try_send(message) {
            message = match error {
                TrySendError::Full(message) if Instant::now() < until => message,
                TrySendError::Full(_) | TrySendError::Disconnected(_) => return,
            };
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = until.saturating_duration_since(Instant::now());
        if told.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a log could not be written to its end: its destination takes no more");
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn write_all(lines: &Receiver<Message>, mut to: impl Write, lost: &AtomicU64) {
    let write = |to: &mut dyn Write, line: &[u8]| {
        if to.write_all(line).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    };
    while let Ok(first) = lines.recv() {
        let mut asked = Vec::new();
        for message in std::iter::once(first).chain(lines.try_iter()) {
            match message {
                Message::Line(line) => write(&mut to, &line),
                Message::Flush(tell) => {
                    asked.push(tell);
                    break;
                }
            }
        }
        // What cannot be flushed is tried again with the next line.
        let _ = to.flush();
        for tell in asked {
            // Whoever asked may have gone.
            let _ = tell.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A destination that takes nothing until it is let.
    #[derive(Clone, Default)]
    struct Gate(Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_destination_costs_lines_and_no_time() {
        let gate = Gate::default();
        let shut = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = Lines::start("test", gate.clone()).expect("a thread");
        let sent = MOST_WAITING + 100;
        for _ in 0..sent {
            lines.send(*b"line\n");
        }
        // One may be in the thread's hands.
        assert!((99..=100).contains(&lines.lost()), "{}", lines.lost());
        let before = Instant::now();
        lines.flush(Duration::from_millis(50));
        assert!(before.elapsed() < Duration::from_secs(10), "an end that waits for ever");
        drop(shut);
        lines.flush(Duration::from_secs(20));
        let written = gate.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 / 5;
        assert_eq!(written + lines.lost(), sent as u64);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::start("test", Full).expect("a thread");
        (0..7).for_each(|_| lines.send(*b"x"));
        lines.flush(Duration::from_secs(20));
        assert_eq!(lines.lost(), 7);
    }
}
