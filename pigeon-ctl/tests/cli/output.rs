//! Colours, closed pipes, completion, help.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{Admin, Ctl, DEMO};

#[test]
fn colours_only_where_they_are_wanted() {
    let admin = Admin::start();
    let file = admin.write("demo.yaml", DEMO);
    let run = |flags: &[&str], env: Option<(&str, &str)>| {
        let ctl = admin.ctl(&[&["diff", "-f", &file], flags].concat());
        let ctl = env.into_iter().fold(ctl, |ctl, (name, value)| ctl.env(name, value));
        ctl.run().stdout
    };
    assert!(!run(&[], None).contains('\x1b'));
    assert!(!run(&["--color", "never"], None).contains('\x1b'));
    assert!(!run(&[], Some(("NO_COLOR", "1"))).contains('\x1b'));
    assert!(run(&["--color", "always"], None).contains('\x1b'));
    assert!(!run(&["--color", "always", "-o", "json"], None).contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = tempfile::tempdir().expect("folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
        .args(["completion", "bash"])
        .env_clear()
        .env("HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    // The script is larger than a pipe holds, so the program is still writing when this closes.
    let mut first = [0; 10];
    child.stdout.take().expect("pipe").read_exact(&mut first).expect("read");
    let output = child.wait_with_output().expect("run");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_an_error() {
    let home = tempfile::tempdir().expect("folder");
    let Ok(full) = std::fs::File::create("/dev/full") else { return };
    let status = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
        .args(["completion", "bash"])
        .env_clear()
        .env("HOME", home.path())
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .expect("run");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn every_shell_has_a_completion() {
    let home = tempfile::tempdir().expect("folder");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = Ctl::new(home.path(), &["completion", shell]).run();
        assert_eq!(ran.code, 0, "{shell}");
        assert!(ran.stdout.contains("queue-timeout"), "{shell}");
    }
}

#[test]
fn help_and_version_go_to_stdout_and_exit_0() {
    let home = tempfile::tempdir().expect("folder");
    for args in [&["--help"][..], &["-h"], &["help", "route", "add"], &["--version"], &["version"]]
    {
        let ran = Ctl::new(home.path(), args).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert_ne!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn nothing_needs_a_home_directory() {
    let admin = Admin::start();
    let ran = admin.ctl(&["engine", "list"]).no_env("HOME").run();
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn status_is_one_screen() {
    let admin = Admin::start();
    let file = admin.write("demo.yaml", DEMO);
    admin.ok(&["apply", "-f", &file]);
    let text = admin.ok(&["status"]);
    for part in [
        &format!("server    {}", admin.url()),
        "revision  ",
        "proxies   0 connected, 0 in sync",
        "routes    1\n",
        "web",
        "no proxy is connected",
    ] {
        assert!(text.contains(part), "{part:?}:\n{text}");
    }
}

#[test]
fn get_for_people_is_a_document_that_apply_reads() {
    let admin = Admin::start();
    let file = admin.write("demo.yaml", DEMO);
    admin.ok(&["apply", "-f", &file]);
    for (kind, name) in [("engine", "web"), ("route", "users"), ("listener", "default")] {
        let text = admin.ok(&[kind, "get", name]);
        let ran = admin.ctl(&["apply", "-f", "-"]).stdin(&text).run();
        assert!(ran.stdout.contains("1 unchanged"), "{text}\n{ran:?}");
    }
}
