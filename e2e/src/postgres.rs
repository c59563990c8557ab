//! A Postgres server for tests, which ends with the process that started it. Also a module of pigeon-admin's tests.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How to get it where it is missing.
pub const INSTALL: &str = "apt-get install postgresql";

/// Longest that its start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whom a server started by root runs as: Postgres refuses to run as root.
const NOBODY: u32 = 65_534;

/// Ends with the pipe at its standard input, and so with the process that holds the other end.
const SCRIPT: &str = r#"
    set -e
    "$1/initdb" -D "$2/data" -U pigeon -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1
    "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=300 -F >>"$2/log" 2>&1 &
    server=$!
    read -r _ || true
    kill -INT $server 2>/dev/null || true
    wait $server || true
    rm -rf "$2"
"#;

/// A running server; its socket is in a folder of its own.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    warden: Child,
}

impl Postgres {
    /// Starts one; none if the machine has no Postgres.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().expect("a folder").keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&programs).arg(&folder).env("HOME", &folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).current_dir(&folder);
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("chown");
            command.uid(NOBODY).gid(NOBODY);
        }
        let warden = command.spawn().expect("a shell");
        Some(Self { programs, folder, warden })
    }

    /// Makes a database; waits for the server first, if it must. Says where it is.
    pub fn database(&self, name: &str) -> String {
        let begun = Instant::now();
        loop {
            let mut command = Command::new(self.programs.join("createdb"));
            command.arg("-h").arg(&self.folder).args(["-U", "pigeon", "-T", "template0", name]);
            let ran = command.env("HOME", &self.folder).output().expect("createdb");
            if ran.status.success() {
                return format!(
                    "postgres://pigeon@localhost/{name}?host={}",
                    self.folder.display()
                );
            }
            // It starts, or makes another database of the same template.
            let (said, log) = (String::from_utf8_lossy(&ran.stderr), self.folder.join("log"));
            let log = std::fs::read_to_string(log).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{said}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has it end, which cuts every connection, and waits for that.
    pub fn stop(mut self) {
        drop(self.warden.stdin.take());
        self.warden.wait().expect("wait");
    }
}

/// The folder of the newest Postgres on this machine.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let whole = |folder: &PathBuf| {
        ["initdb", "postgres", "createdb"].iter().all(|name| folder.join(name).is_file())
    };
    folders.into_iter().find(whole)
}
