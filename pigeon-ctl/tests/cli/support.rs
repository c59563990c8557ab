//! A running admin, and the program with an environment of its own.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// An admin on free ports, in a thread of this test.
pub struct Admin {
    pub dir: TempDir,
    pub rest: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Admin {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut admin = Self { dir, rest: any, stop: None, thread: None };
        admin.start_again();
        admin
    }

    /// Starts it at the address where it was.
    pub fn start_again(&mut self) {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let config = pigeon_admin::app::Config {
            data_dir: self.dir.path().join("data"),
            database_url: None,
            listen: self.rest,
            grpc_listen: any,
            tls: None,
            insecure_bind: false,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("runtime");
            runtime.block_on(async {
                let admin = pigeon_admin::app::bind(config).await.expect("admin");
                tell.send(admin.rest_addr()).expect("address");
                let stopped = async { drop(stopped.await) };
                admin.run(stopped).await.expect("run");
            });
        });
        self.rest = told.recv().expect("the admin starts");
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }

    /// Stops it and waits until it has; what it wrote stays.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the admin failed");
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.rest)
    }

    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("data/admin.token")
    }

    /// The program, told about this admin.
    pub fn ctl(&self, args: &[&str]) -> Ctl {
        let url = self.url();
        let token = self.token_file();
        Ctl::new(self.dir.path(), args)
            .env("PIGEON_SERVER", &url)
            .env("PIGEON_TOKEN_FILE", &token.display().to_string())
    }

    /// Runs the program and expects it to succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.ctl(args).run();
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.stdout
    }

    /// The same, as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["-o", "json"]].concat();
        serde_json::from_str(&self.ok(&args)).expect("one JSON document")
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folders");
        std::fs::write(&path, text).expect("write");
        path.display().to_string()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One run of the program.
pub struct Ctl {
    command: Command,
    stdin: Option<String>,
    terminal: Option<File>,
}

/// How it went.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ctl {
    /// With `home` as home directory and an otherwise empty environment.
    pub fn new(home: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"));
        command.args(args).env_clear().env("HOME", home).current_dir(home);
        Self { command, stdin: None, terminal: None }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn no_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// With a terminal at standard input and error, of which the latter is then not in [`Ran`].
    pub fn terminal(mut self, terminal: &File) -> Self {
        self.terminal = Some(terminal.try_clone().expect("a terminal"));
        self
    }

    pub fn run(mut self) -> Ran {
        if let Some(terminal) = self.terminal.take() {
            let error = terminal.try_clone().expect("a terminal");
            self.command.stdin(terminal).stdout(Stdio::piped()).stderr(error);
            return ran(self.command.spawn().expect("start").wait_with_output().expect("run"));
        }
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("start");
        if let (Some(text), Some(mut stdin)) = (self.stdin, child.stdin.take()) {
            // A program that does not read it to the end is to be judged by its exit.
            let _ = stdin.write_all(text.as_bytes());
        }
        ran(child.wait_with_output().expect("run"))
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("not killed"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// An engine and a route, as a document.
pub const DEMO: &str = "\
kind: engine
name: web
labels: {team: speech}
spec:
  endpoints: [{address: '127.0.0.1:3000'}, {address: '127.0.0.1:3001', slots: 2, weight: 3}]
  pool: {mode: strict, slots: 4, queue: 8, queue_timeout: 2s}
---
kind: route
name: users
spec:
  match: {path: '/users*', methods: [GET], host: example.com}
  engine: web
  priority: -5
";
