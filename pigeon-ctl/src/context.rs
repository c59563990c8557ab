//! Which server and which token a command uses: flags before environment before the context file.

pub mod file;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::client::{Server, TlsFiles, Token};
use crate::error::Failure;
use file::{ConfigFile, Context};

/// The server when nothing says otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:9800";
/// Largest token file that is read, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This flag.
    Flag(&'static str),
    /// This environment variable.
    Env(&'static str),
    /// This context.
    Context(String),
    /// Nothing was said.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
            Self::Context(name) => write!(f, "context {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Where the token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In `PIGEON_TOKEN`.
    Variable,
    /// In a file.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// What a command uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// Where that was said.
    pub server_from: Source,
    /// Where the token is.
    pub token: TokenPlace,
    /// Where that was said.
    pub token_from: Source,
    /// What TLS with the server is done with.
    pub tls: TlsFiles,
    /// The context, if one is in use.
    pub context: Option<String>,
}

/// Reads one environment variable; empty ones count as unset.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Decides on server and token.
///
/// # Errors
/// The context named does not exist, or an address is none.
pub fn resolve(
    flags: &Global,
    env: Environment<'_>,
    file: &ConfigFile,
) -> Result<Settings, Failure> {
    let context = context(flags, env, file)?;
    let (server, server_from) = server(flags, env, context)?;
    let (token, token_from) = token(flags, env, context, &server);
    let tls = tls(flags, env, context, &server);
    let context = context.map(|c| c.0.clone());
    Ok(Settings { server, server_from, token, token_from, tls, context })
}

type Chosen<'a> = Option<(&'a String, &'a Context)>;

fn context<'a>(
    flags: &Global,
    env: Environment<'_>,
    file: &'a ConfigFile,
) -> Result<Chosen<'a>, Failure> {
    match flags.context.clone().or_else(|| env("PIGEON_CONTEXT")) {
        Some(name) => file.context(&name).map(Some),
        None => Ok(file.current.as_ref().and_then(|n| file.contexts.get_key_value(n))),
    }
}

fn server(
    flags: &Global,
    env: Environment<'_>,
    context: Chosen<'_>,
) -> Result<(Server, Source), Failure> {
    let of_context = || context.map(|(n, c)| (c.server.clone(), Source::Context(n.clone())));
    let of_env = || env("PIGEON_SERVER").map(|s| (s, Source::Env("PIGEON_SERVER")));
    let said = match &flags.server {
        Some(server) => Some((server.clone(), Source::Flag("--server"))),
        None if flags.context.is_some() => of_context(),
        None => of_env().or_else(of_context),
    };
    let (text, from) = said.unwrap_or_else(|| (DEFAULT_SERVER.to_owned(), Source::Default));
    match text.parse() {
        Ok(server) => Ok((server, from)),
        Err(why) => Err(Failure::usage(format!("{from}: {why}"))),
    }
}

fn token(
    flags: &Global,
    env: Environment<'_>,
    context: Chosen<'_>,
    server: &Server,
) -> (TokenPlace, Source) {
    // A token is worth something only to the server it belongs to, and is to be seen by no other.
    let of_context = || {
        let (name, context) = context.filter(|(_, c)| c.server.parse().as_ref() == Ok(server))?;
        let file = context.token_file.clone()?;
        Some((TokenPlace::File(file), Source::Context(name.clone())))
    };
    let of_env = || {
        if env("PIGEON_TOKEN").is_some() {
            return Some((TokenPlace::Variable, Source::Env("PIGEON_TOKEN")));
        }
        let file = env("PIGEON_TOKEN_FILE")?;
        Some((TokenPlace::File(file.into()), Source::Env("PIGEON_TOKEN_FILE")))
    };
    let said = match &flags.token_file {
        Some(file) => Some((TokenPlace::File(file.clone()), Source::Flag("--token-file"))),
        None if flags.context.is_some() => of_context().or_else(of_env),
        None => of_env().or_else(of_context),
    };
    said.unwrap_or((TokenPlace::None, Source::Default))
}

/// Each file from its flag, else its variable, else the context, if that is of this server.
fn tls(flags: &Global, env: Environment<'_>, context: Chosen<'_>, server: &Server) -> TlsFiles {
    let context = context.filter(|(_, c)| c.server.parse().as_ref() == Ok(server));
    let one = |flag: &Option<PathBuf>, name: &str, of: fn(&Context) -> &Option<PathBuf>| {
        let said = flag.clone().or_else(|| env(name).map(PathBuf::from));
        said.or_else(|| context.and_then(|(_, context)| of(context).clone()))
    };
    TlsFiles {
        ca: one(&flags.ca, "PIGEON_CA", |c| &c.ca),
        certificate: one(&flags.cert, "PIGEON_CERT", |c| &c.cert),
        key: one(&flags.key, "PIGEON_KEY", |c| &c.key),
    }
}

impl Settings {
    /// Reads the token.
    ///
    /// # Errors
    /// There is none, or what is there is none; says how to get one.
    pub fn read_token(&self) -> Result<Token, Failure> {
        let text = match &self.token {
            TokenPlace::Variable => environment("PIGEON_TOKEN").unwrap_or_default(),
            TokenPlace::File(path) => read_token_file(path, &self.token_from)?,
            TokenPlace::None => return Err(self.no_token()),
        };
        Token::new(&text).map_err(|why| {
            let place = match &self.token {
                TokenPlace::File(path) => format!("token file {}", path.display()),
                _ => self.token_from.to_string(),
            };
            Failure::no_token(format!("{place} {why}"))
        })
    }

    fn no_token(&self) -> Failure {
        let server = &self.server;
        let detail = format!(
            "there is no token for {server}; the admin writes one to admin.token in its data directory"
        );
        Failure::no_token(detail)
            .next(format!("pigeon-ctl login --server {server} --token-file DATA-DIR/admin.token"))
            .next("pigeon-ctl dev    (a gateway to try things out, which logs in by itself)")
    }
}

fn read_token_file(path: &Path, from: &Source) -> Result<String, Failure> {
    let cannot = |why: String| {
        Failure::no_token(format!("cannot read token file {} ({from}): {why}", path.display()))
            .next("pigeon-ctl login --server URL --token-file DATA-DIR/admin.token")
            .next("pigeon-ctl dev    (if it was the token of a dev that has ended)")
    };
    let size = std::fs::metadata(path).map_err(|e| cannot(e.to_string()))?.len();
    if size > LARGEST {
        return Err(cannot(format!("it has {size} bytes, so it holds no token")));
    }
    std::fs::read_to_string(path).map_err(|e| cannot(e.to_string()))
}

#[cfg(test)]
mod tests;
