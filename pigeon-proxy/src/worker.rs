//! Workers: one thread per core, each with its own current-thread runtime and upstream connections.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

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
