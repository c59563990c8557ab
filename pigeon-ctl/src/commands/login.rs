//! `login`

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use pigeon_proto::model::Name;
use serde_json::json;

use super::Desk;
use crate::Outcome;
use crate::cli::LoginArgs;
use crate::client::{Client, TlsFiles, Token};
use crate::context::file::{self, Context};
use crate::context::{Settings, TokenPlace};
use crate::error::{Exit, Failure};
use crate::output::table::cell;
use crate::session::Session;

/// More than any token has.
const LARGEST: u64 = 64 * 1024;

/// Where the token is and will be.
enum Given {
    /// In a file that stays where it is.
    File(PathBuf),
    /// In memory, to be stored.
    Text(String),
}

pub(crate) fn login(desk: &Desk, args: &LoginArgs) -> Outcome {
    let settings = desk.settings()?;
    let name = args.name.clone().unwrap_or_else(|| settings.server.context_name());
    if let Err(why) = name.parse::<Name>() {
        return Err(Failure::usage(format!("--name: {why}")));
    }
    let given = given(args, &settings)?;
    let token = match &given {
        Given::File(path) => {
            let settings = Settings { token: TokenPlace::File(path.clone()), ..settings.clone() };
            settings.read_token()?
        }
        Given::Text(text) => Token::new(text)
            .map_err(|why| Failure::no_token(format!("the token that was given {why}")))?,
    };
    let who = whoami(&settings, token, desk)?;
    let path = keep(desk, &name, &settings, given)?;
    let server = settings.server.to_string();
    let value = json!({"context": name, "server": server, "name": who, "config": path});
    if !desk.out.value(&value)? {
        let line = format!("logged in to {server} as {who}   context {name} selected in {path}");
        desk.out.done(&line)?;
    }
    Ok(Exit::Done)
}

fn given(args: &LoginArgs, settings: &Settings) -> Result<Given, Failure> {
    if args.token_stdin {
        if io::stdin().is_terminal() {
            crate::output::note("Paste the token, then Enter and Ctrl-D:");
        }
        let mut text = String::new();
        let read = io::stdin().lock().take(LARGEST).read_to_string(&mut text);
        read.map_err(|e| Failure::usage(format!("cannot read the token from stdin: {e}")))?;
        return Ok(Given::Text(text));
    }
    match &settings.token {
        // Where the file is must not depend on the folder a later command runs in.
        TokenPlace::File(path) => Ok(Given::File(absolute(path))),
        TokenPlace::Variable => {
            Ok(Given::Text(crate::context::environment("PIGEON_TOKEN").unwrap_or_default()))
        }
        TokenPlace::None => {
            let detail = "which token? Give --token-file FILE or --token-stdin; \
                          the admin writes one to admin.token in its data directory";
            let server = &settings.server;
            let next =
                format!("pigeon-ctl login --server {server} --token-file DATA-DIR/admin.token");
            Err(Failure::no_token(detail).next(next))
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The name the server knows the token by.
fn whoami(settings: &Settings, token: Token, desk: &Desk) -> Result<String, Failure> {
    let timeout = desk.global.request_timeout;
    let client = Client::new(settings.server.clone(), Some(token), timeout);
    let session = Session::with(client.with_tls(settings.tls.clone()), timeout)?;
    let who = session.get("/v1/whoami")?;
    match who.get("name") {
        Some(_) => Ok(cell(&who, "/name")),
        None => {
            let server = session.client().server();
            Err(Failure::unreachable(format!("{server} does not answer as a Pigeon admin does")))
        }
    }
}

/// Writes the context, and the token if it is nowhere else; says where.
fn keep(desk: &Desk, name: &str, settings: &Settings, given: Given) -> Result<String, Failure> {
    let (path, mut config) = desk.config()?;
    let path = absolute(&path);
    let token_file = match given {
        Given::File(path) => path,
        Given::Text(text) => {
            let stored = file::token_path(&path, name);
            file::write_private(&stored, format!("{}\n", text.trim()).as_bytes())?;
            stored
        }
    };
    let TlsFiles { ca, certificate, key } = &settings.tls;
    let [ca, cert, key] = [ca, certificate, key].map(|file| file.as_deref().map(absolute));
    let server = settings.server.to_string();
    let context = Context { server, token_file: Some(token_file), ca, cert, key };
    config.contexts.insert(name.to_owned(), context);
    config.current = Some(name.to_owned());
    file::save(&path, &config)?;
    Ok(path.display().to_string())
}
