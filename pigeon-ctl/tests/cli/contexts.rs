//! login, contexts, and where server and token come from.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Admin, Ctl};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).expect("file").permissions().mode() & 0o777
}

#[test]
fn login_by_file_makes_a_context_that_works() {
    let admin = Admin::start();
    let token = admin.token_file().display().to_string();
    let home = admin.dir.path();
    let run = |args: &[&str]| Ctl::new(home, args).run();
    let ran = run(&["login", "--server", &admin.url(), "--token-file", &token]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(&format!("logged in to {} as admin", admin.url())), "{ran:?}");
    assert_eq!(mode(&home.join(".config/pigeon/config.yaml")), 0o600);

    assert_eq!(run(&["engine", "list"]).code, 0);
    let list = run(&["context", "list"]).stdout;
    assert!(list.contains(&admin.url()), "{list}");
    let name = format!("127.0.0.1-{}", admin.rest.port());
    let show = run(&["context", "show"]).stdout;
    assert!(show.starts_with(&format!("context  {name}\n")), "{show}");

    let ran = run(&["login", "--server", &admin.url(), "--token-file", &token, "--name", "two"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&["context", "use", &name]).code, 0);
    assert_eq!(run(&["context", "use", "nope"]).code, 5);
    assert_eq!(run(&["-c", "two", "engine", "list"]).code, 0);
    assert_eq!(run(&["-c", "nope", "engine", "list"]).code, 5);
    assert_eq!(run(&["context", "rm", &name]).code, 0);
    // Nothing is selected now, so nothing says which token.
    assert_eq!(run(&["engine", "list"]).code, 4);
}

#[test]
fn login_by_stdin_keeps_the_token_private_beside_the_config() {
    let admin = Admin::start();
    let token = std::fs::read_to_string(admin.token_file()).expect("token");
    let config = admin.dir.path().join("c/config.yaml");
    let run = |args: &[&str]| {
        let ctl = Ctl::new(admin.dir.path(), args);
        ctl.env("PIGEON_CONFIG", &config.display().to_string()).stdin(&token).run()
    };
    let ran = run(&["login", "--server", &admin.url(), "--token-stdin", "--name", "lab"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let stored = admin.dir.path().join("c/lab.token");
    assert_eq!(mode(&stored), 0o600);
    assert_eq!(std::fs::read_to_string(&stored).expect("stored").trim(), token.trim());
    assert_eq!(run(&["engine", "list"]).code, 0);
    for text in [&ran.stdout, &std::fs::read_to_string(&config).expect("config")] {
        assert!(!text.contains(token.trim()), "the token is shown: {text}");
    }
    assert_eq!(run(&["context", "rm", "lab"]).code, 0);
    assert!(!stored.exists());
}

#[test]
fn a_login_that_fails_changes_nothing() {
    let admin = Admin::start();
    let wrong = admin.write("wrong.token", "pgn_wrong\n");
    let empty = admin.write("empty.token", "\n");
    let none = admin.dir.path().join("none").display().to_string();
    for (args, code) in [
        (vec!["--token-file", wrong.as_str()], 4),
        (vec!["--token-file", empty.as_str()], 4),
        (vec!["--token-file", none.as_str()], 4),
        (vec![], 4),
        (vec!["--token-file", wrong.as_str(), "--name", "has space"], 2),
        (vec!["--token-file", wrong.as_str(), "--token-stdin"], 2),
    ] {
        let url = admin.url();
        let args = [vec!["login", "--server", url.as_str()], args].concat();
        let ran = Ctl::new(admin.dir.path(), &args).run();
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    assert!(!admin.dir.path().join(".config").exists());
}

#[test]
fn without_a_token_the_error_says_how_to_get_one() {
    let admin = Admin::start();
    let ran = Ctl::new(admin.dir.path(), &["status"]).run();
    assert_eq!(ran.code, 4, "{ran:?}");
    for part in ["http://127.0.0.1:9800", "admin.token", "pigeon-ctl login"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn the_token_may_come_from_the_environment() {
    let admin = Admin::start();
    let token = std::fs::read_to_string(admin.token_file()).expect("token");
    let ctl = |value: &str| {
        let ctl = admin.ctl(&["engine", "list"]).no_env("PIGEON_TOKEN_FILE");
        ctl.env("PIGEON_TOKEN", value).run()
    };
    assert_eq!(ctl(&token).code, 0);
    let ran = ctl("secret-but-wrong");
    assert_eq!(ran.code, 4);
    assert!(!ran.stderr.contains("secret-but-wrong"), "{ran:?}");
}

#[test]
fn a_context_file_that_cannot_be_read_is_named() {
    let admin = Admin::start();
    let path = admin.write("c.yaml", "current: [");
    let ran = admin.ctl(&["engine", "list"]).env("PIGEON_CONFIG", &path).run();
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("c.yaml"), "{ran:?}");
}
