//! The commands, one file per noun or verb; this file says which is which.

mod apply;
mod audit;
mod check;
mod context;
mod diff;
mod edit;
mod engine;
mod events;
mod explain;
mod export;
mod files;
mod import;
mod lint;
mod listener;
mod login;
mod man;
mod object;
mod proxy;
mod question;
mod revision;
mod route;
mod status;
mod tenant;
mod token;
mod watch;
mod write;

use std::path::PathBuf;

use pigeon_proto::model::Kind;

use crate::Outcome;
use crate::cli::engine::EngineCommand;
use crate::cli::listener::ListenerCommand;
use crate::cli::route::RouteCommand;
use crate::cli::tenant::{KeyCommand, TenantCommand};
use crate::cli::token::TokenCommand;
use crate::cli::{self, Cli, Command, ContextCommand, Global, ProxyCommand, RevisionCommand};
use crate::context::file::ConfigFile;
use crate::context::{Settings, environment, file, resolve};
use crate::error::{Exit, Failure};
use crate::output::Printer;
use crate::session::Session;

#[cfg(feature = "dev")]
pub(crate) use route::{engines as engines_in_words, matches as route_in_words};

/// What a command has at hand.
pub(crate) struct Desk {
    /// The global flags.
    pub(crate) global: Global,
    /// Where to print.
    pub(crate) out: Printer,
}

impl Desk {
    /// The configuration file, and where it is.
    pub(crate) fn config(&self) -> Result<(PathBuf, ConfigFile), Failure> {
        let path = file::path(&environment)?;
        let file = file::load(&path)?;
        Ok((path, file))
    }

    /// Which server and token to use.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        // Without a home directory there are no contexts; flags and environment still work.
        let file = match file::path(&environment) {
            Ok(path) => file::load(&path)?,
            Err(_) => ConfigFile::default(),
        };
        resolve(&self.global, &environment, &file)
    }

    /// A conversation with the server.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        Session::new(&self.settings()?, self.global.request_timeout)
    }
}

/// Runs the command of a parsed command line.
///
/// # Errors
/// What kept it from its work.
pub fn run(cli: Cli, out: Printer) -> Outcome {
    let desk = Desk { global: cli.global, out };
    match cli.command {
        #[cfg(feature = "dev")]
        Command::Dev(args) => crate::dev::run(&args, &desk.global),
        Command::Status => status::status(&desk),
        Command::Check(args) => check::check(&desk, &args),
        Command::Login(args) => login::login(&desk, &args),
        Command::Context(command) => contexts(&desk, command),
        Command::Route(command) => routes(&desk, command),
        Command::Engine(command) => engines(&desk, command),
        Command::Listener(command) => listeners(&desk, command),
        Command::Tenant(command) => tenants(&desk, command),
        Command::Apply(args) => apply::apply(&desk, &args),
        Command::Diff(args) => diff::diff(&desk, &args),
        Command::Lint(args) => lint::lint(&desk, &args),
        Command::Edit(args) => edit::edit(&desk, &args),
        Command::Export(args) => export::export(&desk, &args),
        Command::Import(command) => import::import(&desk, &command),
        Command::Proxy(ProxyCommand::List(args)) => proxy::list(&desk, args),
        Command::Proxy(ProxyCommand::Get(named)) => proxy::get(&desk, &named.name),
        Command::Revision(command) => revisions(&desk, command),
        Command::Token(command) => tokens(&desk, command),
        Command::Audit(args) => audit::audit(&desk, &args),
        Command::Events(args) => events::events(&desk, &args),
        Command::Explain { what } => explain::explain(&desk, &what),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            cli::write_completion(shell, &mut script);
            out.text(&String::from_utf8_lossy(&script)).map(|()| Exit::Done)
        }
        Command::Man { dir } => man::man(&desk, dir.as_deref()),
        Command::Version => version(&desk),
        Command::ExitCodes => out.text(&format!("{}\n", cli::EXIT_CODES)).map(|()| Exit::Done),
        Command::Environment => out.text(&format!("{}\n", cli::ENVIRONMENT)).map(|()| Exit::Done),
    }
}

fn contexts(desk: &Desk, command: ContextCommand) -> Outcome {
    match command {
        ContextCommand::List => context::list(desk),
        ContextCommand::Use { name } => context::select(desk, &name),
        ContextCommand::Rm { name } => context::remove(desk, &name),
        ContextCommand::Show => context::show(desk),
    }
}

fn revisions(desk: &Desk, command: RevisionCommand) -> Outcome {
    match command {
        RevisionCommand::List { limit, list } => revision::list(desk, limit, list),
        RevisionCommand::Get { revision } => revision::get(desk, revision),
        RevisionCommand::Diff { from, to } => revision::diff(desk, from, to),
        RevisionCommand::Rollback { revision, write } => revision::rollback(desk, revision, write),
    }
}

fn routes(desk: &Desk, command: RouteCommand) -> Outcome {
    match command {
        RouteCommand::Add(args) => route::add(desk, *args),
        RouteCommand::List(args) => route::list(desk, args),
        RouteCommand::Get(named) => object::get(desk, Kind::Route, &named.name),
        RouteCommand::Set(args) => route::set(desk, *args),
        RouteCommand::Rm(args) => object::remove(desk, Kind::Route, &args),
        RouteCommand::Test(args) => route::test(desk, args),
    }
}

fn engines(desk: &Desk, command: EngineCommand) -> Outcome {
    match command {
        EngineCommand::Add(args) => engine::add(desk, *args),
        EngineCommand::List(args) => engine::list(desk, args),
        EngineCommand::Get(named) => object::get(desk, Kind::Engine, &named.name),
        EngineCommand::Set(args) => engine::set(desk, *args),
        EngineCommand::Endpoints(args) => engine::endpoints(desk, &args),
        EngineCommand::Drain(args) => engine::drain(desk, &args, true),
        EngineCommand::Undrain(args) => engine::drain(desk, &args, false),
        EngineCommand::Rm(args) => object::remove(desk, Kind::Engine, &args),
    }
}

fn listeners(desk: &Desk, command: ListenerCommand) -> Outcome {
    match command {
        ListenerCommand::Add(args) => listener::add(desk, *args),
        ListenerCommand::List(args) => listener::list(desk, args),
        ListenerCommand::Get(named) => object::get(desk, Kind::Listener, &named.name),
        ListenerCommand::Set(args) => listener::set(desk, *args),
        ListenerCommand::Rm(args) => object::remove(desk, Kind::Listener, &args),
    }
}

fn tenants(desk: &Desk, command: TenantCommand) -> Outcome {
    match command {
        TenantCommand::Add(args) => tenant::add(desk, args),
        TenantCommand::List(args) => tenant::list(desk, args),
        TenantCommand::Get(named) => object::get(desk, Kind::Tenant, &named.name),
        TenantCommand::Set(args) => tenant::set(desk, args),
        TenantCommand::Rm(args) => object::remove(desk, Kind::Tenant, &args),
        TenantCommand::Key(KeyCommand::Create(args)) => tenant::create_key(desk, &args),
        TenantCommand::Key(KeyCommand::List(named)) => tenant::list_keys(desk, &named.name),
        TenantCommand::Key(KeyCommand::Revoke(args)) => tenant::revoke_key(desk, &args),
    }
}

fn tokens(desk: &Desk, command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(args) => token::create(desk, &args),
        TokenCommand::List(args) => token::list(desk, args),
        TokenCommand::Revoke(args) => token::revoke(desk, &args),
    }
}

fn version(desk: &Desk) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if !desk.out.value(&serde_json::json!({ "version": version }))? {
        desk.out.text(&format!("pigeon-ctl {version}\n"))?;
    }
    Ok(Exit::Done)
}
