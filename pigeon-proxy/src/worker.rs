//! Workers: one thread per core, each with its own current-thread runtime and upstream connections.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::gateway::Gateway;
use crate::http::Upstreams;
use crate::relay::Relay;

/// The worker threads. Dropping them stops them.
pub struct Workers {
    workers: Vec<Worker>,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) runtime: Handle,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) relay: Arc<Relay>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts `n` (at least one) workers.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start(n: usize, gateway: &Arc<Gateway>) -> io::Result<Workers> {
        let mut workers = Workers { workers: Vec::new() };
        for index in 0..n.max(1) {
            workers.workers.push(Worker::start(index, gateway)?);
        }
        Ok(workers)
    }

    /// Stops them; whatever still runs on them is cut. Waits for the threads to end.
    pub fn stop(mut self) {
        self.end();
    }

    /// Tells whether they do something.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.workers.iter().map(|worker| worker.runtime.clone()).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter()
    }

    fn end(&mut self) {
        for worker in &mut self.workers {
            if let Some(stop) = worker.stop.take() {
                // A worker that has ended already does not listen.
                let _ = stop.send(());
            }
        }
        for thread in self.workers.iter_mut().filter_map(|w| w.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

/// Tells whether workers do something, or one is stuck.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<[Handle]>);

impl Pulse {
    /// Has each worker do something, which it should within `limit`; gives the number of one that does not.
    pub async fn beat(&self, limit: Duration) -> Option<usize> {
        let beats: Vec<_> = self.0.iter().map(|runtime| runtime.spawn(async {})).collect();
        let until = Instant::now() + limit;
        for (index, beat) in beats.into_iter().enumerate() {
            // That it has ended is no fault.
            if timeout_at(until, beat).await.is_err() {
                return Some(index);
            }
        }
        None
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Worker {
    fn start(index: usize, gateway: &Arc<Gateway>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let upstreams = Arc::new(Upstreams::default());
        let relay = Relay::start(Arc::clone(gateway), &handle);
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                // An error says that the sender was dropped, which means the same.
                let _ = runtime.block_on(stopped);
                // Name look-ups may still be on their way in the pool of blocking threads.
                runtime.shutdown_background();
            })?;
        Ok(Self { runtime: handle, upstreams, relay, stop: Some(stop), thread: Some(thread) })
    }
}
