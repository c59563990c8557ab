//! A child process: what it writes is kept, and it never outlives its handle.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::waiting::until;

/// Lines of each stream shown when a test failed.
const SHOWN: usize = 80;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: Kept,
    stderr: Kept,
}

impl Process {
    /// Starts it, with nothing to read on stdin.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let stdout = Kept::read(child.stdout.take().expect("piped"));
        let stderr = Kept::read(child.stderr.take().expect("piped"));
        Self { name: name.to_owned(), child, ended: None, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in KiB.
    ///
    /// # Panics
    /// If it has ended.
    pub fn memory_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        size.unwrap_or_else(|| panic!("{}: no VmRSS in {file}: {}", self.name, self.stderr()))
    }

    /// All it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// All it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a line on stdout or stderr that contains `needle`, and returns it.
    ///
    /// # Panics
    /// After 30 s, or when the program ends without having said it.
    pub fn line(&mut self, needle: &str) -> String {
        let what = format!("{} says {needle:?}", self.name);
        until(&what, || {
            // Asked before the output is looked at: the last words of an ended program count.
            let ended = self.exited();
            let text = self.stdout() + &self.stderr();
            match text.lines().find(|line| line.contains(needle)) {
                Some(line) => Ok(line.to_owned()),
                None if ended.is_some() => panic!("{what}: it ended ({ended:?}):\n{text}"),
                None => Err(format!("{} lines without it", text.lines().count())),
            }
        })
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If the system does not tell.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child");
            if self.ended.is_some() {
                self.stdout.finish();
                self.stderr.finish();
            }
        }
        self.ended
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Panics
    /// If the program is known to have ended.
    pub fn signal(&self, signal: &str) {
        // Not reaped yet, so the number is still our child's and nobody else's.
        assert!(self.ended.is_none(), "{} has ended: {}", self.name, self.stderr());
        // The shell's own `kill`: a bare machine need not have the program.
        let script = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh runs");
        assert!(status.success(), "{script}: {status}");
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// After 30 s.
    pub fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(&what, || self.exited().ok_or("it runs"))
    }

    /// Ends it with SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            self.child.kill().expect("our own child");
            self.ended = Some(self.child.wait().expect("our own child"));
        }
    }

    fn show(&self) {
        for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let lines: Vec<&str> = text.lines().collect();
            let cut = lines.len().saturating_sub(SHOWN);
            if !lines.is_empty() {
                eprintln!("--- {} {stream} ({cut} lines before)", self.name);
                eprintln!("{}", lines[cut..].join("\n"));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.show();
            return;
        }
        // A task that panics does not end its program, so nothing else would tell.
        self.stderr.finish();
        let said = self.stderr();
        assert!(!said.contains("panicked at"), "{} panicked:\n{said}", self.name);
    }
}

/// What a stream has given so far; a thread reads it to its end.
#[derive(Debug)]
struct Kept {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Kept {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                kept.lock().expect("no panic here").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().expect("no panic here").clone()
    }

    /// Waits for the rest, once the process has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
