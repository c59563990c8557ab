//! The program and its service manager: the sockets it is given, what it tells, and when.
//!
//! The manager is a datagram socket and an environment, as sd_notify(3) and sd_listen_fds(3) say; the tests
//! across processes start it by systemd's own tools.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A manager, and the folder of the proxy that it starts.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    /// The proxy's file has a listener `l` at `address`, and a route.
    fn new(address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let manager = Self { folder, socket };
        manager.save(&documents(address));
        manager
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pigeon.yaml")
    }

    /// At once: no half of it is ever seen.
    fn save(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, self.file()).expect("renamed");
    }

    /// Starts the proxy by a shell, which puts its standard input where the first handed socket has to be.
    fn start(&self, socket: Option<TcpListener>, more: &[(&str, &str)]) -> Running {
        let handed = socket.is_some();
        let script = match handed {
            true => r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#,
            false => r#"exec "$@""#,
        };
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_pigeon-proxy"), "--config"]);
        command.arg(self.file()).args(["--status-listen", "127.0.0.1:0", "--workers", "2"]);
        command.arg("--takeover-socket").arg(self.folder.path().join("takeover.sock"));
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.envs(more.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(socket.map_or(Stdio::null(), |socket| OwnedFd::from(socket).into()));
        Running(command.spawn().expect("it starts"))
    }

    /// The next message but for those of the watchdog.
    fn told(&self) -> String {
        loop {
            let message = self.heard();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn heard(&self) -> String {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).expect("text")
    }
}

fn documents(address: SocketAddr) -> String {
    format!(
        "kind: listener\nname: l\nspec: {{address: '{address}'}}\n---\n\
         kind: route\nname: r\nspec: {{match: {{path: /hello}}, answer: {{status: 200, body: hello}}}}\n"
    )
}

/// Ends the program with the test.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        kill(name, self.0.id());
    }

    fn exit_code(mut self) -> Option<i32> {
        let until = Instant::now() + LIMIT;
        loop {
            match self.0.try_wait().expect("waited") {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < until, "it does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kill(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill").success());
}

fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("address")
}

fn get(socket: TcpStream) -> String {
    let mut socket = socket;
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket.write_all(request).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    answer
}

fn says_hello(socket: TcpStream) {
    let answer = get(socket);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn who_comes_before_and_after_it_waits_in_the_managers_socket() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("address");
    let manager = Manager::new(address);
    // Nobody listens yet but the manager.
    let early: Vec<_> = (0..8).map(|_| TcpStream::connect(address).expect("queued")).collect();
    let first = manager.start(Some(socket.try_clone().expect("a copy")), &[]);
    early.into_iter().for_each(says_hello);
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    // A listener that goes away and comes again finds it again.
    manager.save(&documents(free()));
    first.signal("-HUP");
    assert!(manager.told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    manager.save(&documents(address));
    first.signal("-HUP");
    assert!(manager.told().starts_with("RELOADING=1\n"));
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    says_hello(TcpStream::connect(address).expect("connected"));
    first.signal("-TERM");
    assert!(
        manager.told().starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=stopping")
    );
    assert_eq!(first.exit_code(), Some(0));
    let late = TcpStream::connect(address).expect("queued");
    let _second = manager.start(Some(socket), &[]);
    says_hello(late);
}

#[test]
fn a_reload_is_over_when_the_files_have_been_read() {
    let address = free();
    let manager = Manager::new(address);
    let proxy = manager.start(None, &[]);
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    manager.save("kind: listener\nname: [\n");
    proxy.signal("-HUP");
    assert!(manager.told().starts_with("RELOADING=1\n"));
    let told = manager.told();
    assert!(
        told.starts_with("READY=1\nSTATUS=serving; the configuration file is refused: "),
        "{told}"
    );
    says_hello(TcpStream::connect(address).expect("the old one serves"));
    manager.save(&documents(address).replace("body: hello", "body: new"));
    proxy.signal("-HUP");
    assert!(manager.told().starts_with("RELOADING=1\n"));
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    let answer = get(TcpStream::connect(address).expect("connected"));
    assert!(answer.ends_with("new"), "{answer}");
}

#[test]
fn after_a_take_over_the_service_is_the_new_process() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("address");
    let manager = Manager::new(address);
    let watchdog = [("WATCHDOG_USEC", "3000000")];
    let old = manager.start(Some(socket), &watchdog);
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    old.signal("-USR2");
    // In either order: two processes speak.
    let (one, other) = (manager.told(), manager.told());
    let (ready, main) = if one.starts_with("READY") { (one, other) } else { (other, one) };
    assert_eq!(ready, "READY=1\nSTATUS=serving\n");
    let pid = main.trim().strip_prefix("MAINPID=").and_then(|pid| pid.parse::<u32>().ok());
    let pid = pid.expect("the new process");
    assert_ne!(pid, old.0.id());
    assert_eq!(old.exit_code(), Some(0));
    // It is on the manager's socket, and tells that it is alive.
    says_hello(TcpStream::connect(address).expect("connected"));
    assert_eq!(manager.heard(), "WATCHDOG=1\n");
    kill("-TERM", pid);
    assert!(manager.told().starts_with("STOPPING=1\n"));
}

#[test]
fn a_process_that_hangs_is_not_said_to_be_alive() {
    let manager = Manager::new(free());
    let proxy = manager.start(None, &[("WATCHDOG_USEC", "300000")]);
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving\n");
    (0..3).for_each(|_| assert_eq!(manager.heard(), "WATCHDOG=1\n"));
    proxy.signal("-STOP");
    // What was on its way, and then nothing.
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    let mut message = [0; 64];
    while manager.socket.recv(&mut message).is_ok() {}
    manager.socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    proxy.signal("-CONT");
    assert_eq!(manager.heard(), "WATCHDOG=1\n");
    // Another process's watchdog is none of its business.
    let other = manager.start(None, &[("WATCHDOG_USEC", "300000"), ("WATCHDOG_PID", "1")]);
    drop(proxy);
    drop(other);
}

#[test]
fn a_socket_that_is_none_of_tcp_is_refused_with_its_place() {
    let manager = Manager::new(free());
    let script = r#"exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_pigeon-proxy"), "--config"]);
    let output = command.arg(manager.file() as PathBuf).output().expect("it starts");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("socket 1 of the service manager"), "{error}");
    assert!(error.contains("ListenStream=IP:PORT"), "{error}");
    assert!(Path::new(&manager.file()).exists());
}
