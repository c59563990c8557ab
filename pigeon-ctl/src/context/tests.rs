//! Who wins: flags, environment, context file.

use super::*;
use crate::cli;

fn flags(line: &str) -> Global {
    let line = format!("pigeon-ctl {line} status");
    let args: Vec<_> = line.split_whitespace().map(Into::into).collect();
    cli::parse(&args).unwrap_or_else(|_| panic!("{line}")).global
}

fn file() -> ConfigFile {
    let text = "current: a\ncontexts:\n  a: {server: 'http://a:1', token_file: /a}\n  b: {server: 'http://b:2', token_file: /b}\n";
    serde_saphyr::from_str(text).expect("config")
}

fn settings(line: &str, env: &[(&str, &str)]) -> Settings {
    let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    resolve(&flags(line), &lookup, &file()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

const ENV_SERVER: (&str, &str) = ("PIGEON_SERVER", "http://e:9");
const ENV_TOKEN: (&str, &str) = ("PIGEON_TOKEN_FILE", "/e");

/// Flags and environment; the server and the token's file that follow.
type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static str, Option<&'static str>);

#[test]
fn flags_go_before_environment_before_contexts() {
    let cases: [Case; 10] = [
        ("", &[], "a:1", Some("/a")),
        ("-c b", &[], "b:2", Some("/b")),
        ("", &[("PIGEON_CONTEXT", "b")], "b:2", Some("/b")),
        ("-c a", &[("PIGEON_CONTEXT", "b")], "a:1", Some("/a")),
        ("", &[ENV_SERVER, ENV_TOKEN], "e:9", Some("/e")),
        ("-c b", &[ENV_SERVER, ENV_TOKEN], "b:2", Some("/b")),
        ("--server http://f:3 --token-file /f", &[ENV_SERVER, ENV_TOKEN], "f:3", Some("/f")),
        ("", &[ENV_TOKEN], "a:1", Some("/e")),
        // The token of a context goes to its own server only.
        ("--server http://f:3", &[], "f:3", None),
        ("", &[ENV_SERVER], "e:9", None),
    ];
    for (line, env, server, token) in cases {
        let settings = settings(line, env);
        assert_eq!(settings.server.authority(), server, "{line} {env:?}");
        let token = token.map_or(TokenPlace::None, |t| TokenPlace::File(t.into()));
        assert_eq!(settings.token, token, "{line} {env:?}");
    }
}

#[test]
fn the_token_itself_goes_before_its_file() {
    let env = [("PIGEON_TOKEN", "t"), ("PIGEON_TOKEN_FILE", "/e")];
    assert_eq!(settings("", &env).token, TokenPlace::Variable);
}

#[test]
fn nothing_configured_means_this_machine() {
    let settings = resolve(&flags(""), &|_| None, &ConfigFile::default()).expect("default");
    assert_eq!(settings.server.to_string(), DEFAULT_SERVER);
    let failure = settings.read_token().expect_err("no token");
    assert_eq!(failure.exit, crate::error::Exit::Denied);
    assert!(failure.problem.next.iter().any(|n| n.contains("login")));
}

#[test]
fn a_context_that_is_not_there_is_named_with_those_that_are() {
    let failure = resolve(&flags("-c zz"), &|_| None, &file()).expect_err("no such context");
    assert!(failure.problem.detail.contains("\"zz\""), "{failure}");
    assert!(failure.problem.detail.contains("a, b"), "{failure}");
}

#[test]
fn an_address_that_is_none_names_who_said_it() {
    let env = |name: &str| (name == "PIGEON_SERVER").then(|| "ftp://x".to_owned());
    let failure = resolve(&flags(""), &env, &file()).expect_err("ftp");
    assert!(failure.problem.detail.starts_with("PIGEON_SERVER"), "{failure}");
}

#[test]
fn files_of_tls_come_from_flag_variable_and_the_servers_own_context() {
    let mut file = file();
    let server = file.contexts["a"].server.clone();
    let a = file.contexts.get_mut("a").expect("there");
    (a.ca, a.cert, a.key) = (Some("c.pem".into()), Some("c.crt".into()), Some("c.key".into()));
    let env = |name: &str| (name == "PIGEON_CERT").then(|| "v.crt".to_owned());
    let tls =
        |text: &str, env: Environment<'_>| resolve(&flags(text), env, &file).expect("good").tls;
    let all = tls("-c a", &|_| None);
    assert_eq!((all.ca, all.certificate), (Some("c.pem".into()), Some("c.crt".into())));
    let mixed = tls("-c a --ca f.pem", &env);
    assert_eq!((mixed.ca, mixed.certificate), (Some("f.pem".into()), Some("v.crt".into())));
    assert_eq!(mixed.key, Some("c.key".into()));
    let same = tls(&format!("-c a --server {server}"), &|_| None);
    assert_eq!(same.ca, Some("c.pem".into()));
    assert_eq!(tls("-c a --server https://other", &|_| None), Default::default());
}
