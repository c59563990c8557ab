//! Processes that the comparison starts: pinned, and ended with it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a process may take to end by itself.
const GOODBYE: Duration = Duration::from_secs(3);

/// The process ids of all that run, to end them when the comparison is told to.
#[derive(Clone, Default)]
pub struct Children(Arc<Mutex<BTreeSet<u32>>>);

impl Children {
    /// Ends them, and this process, on Ctrl-C and SIGTERM.
    ///
    /// # Errors
    /// When signals cannot be waited for.
    pub fn end_on_signals(&self) -> anyhow::Result<()> {
        let children = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut terminate = {
            let _inside = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            });
            for pid in children.all() {
                send(pid, Signal::KILL);
            }
            std::process::exit(130);
        });
        Ok(())
    }

    fn all(&self) -> Vec<u32> {
        let pids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // With what they have started themselves.
        pids.iter().flat_map(|pid| crate::process::tree(*pid)).collect()
    }

    /// Starts a process on a core.
    ///
    /// # Errors
    /// When it cannot be started, or the core does not exist.
    pub fn start(&self, command: &mut Command, core: Option<usize>) -> anyhow::Result<Running> {
        // A child inherits the cores of the thread that starts it: nothing of it ever runs elsewhere.
        let before = sched_getaffinity(None)?;
        if let Some(core) = core {
            let mut only = CpuSet::new();
            only.set(core);
            sched_setaffinity(None, &only).with_context(|| format!("there is no core {core}"))?;
        }
        let child = command.stdin(Stdio::piped()).spawn();
        sched_setaffinity(None, &before)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = child.with_context(|| format!("cannot start {program}"))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id());
        Ok(Running { child, children: self.clone(), program })
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// A process that ends when this is dropped.
pub struct Running {
    child: Child,
    children: Children,
    program: String,
}

impl Running {
    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The first line that it prints.
    ///
    /// # Errors
    /// When it prints none.
    pub fn first_line(&mut self) -> anyhow::Result<String> {
        let output = self.child.stdout.take().context("its output is not piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended without a word", self.program);
        }
        Ok(line.trim().to_owned())
    }

    /// All that it prints, until it ends by itself.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn output(mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.child.stdout.take().context("its output is not piped")?.read_to_string(&mut text)?;
        let mut complaint = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut complaint)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{}", complaint.trim().lines().collect::<Vec<_>>().join(" "));
        }
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = crate::process::tree(self.pid());
        if self.is_running() {
            send(self.pid(), Signal::TERM);
        }
        let deadline = Instant::now() + GOODBYE;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.is_running() {
            tree.into_iter().for_each(|pid| send(pid, Signal::KILL));
            let _ = self.child.wait();
        }
        let pid = self.pid();
        self.children.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }
}
