//! The command tree, and nothing else: what the words on the command line are called and mean.

mod context;
#[cfg(feature = "dev")]
mod dev;
pub mod engine;
mod files;
mod import;
mod lint;
pub mod listener;
mod man;
mod object;
mod parse;
pub mod route;
pub mod tenant;
mod text;
pub mod tls;
pub mod token;
pub mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use context::{ContextCommand, LoginArgs};
#[cfg(feature = "dev")]
pub use dev::DevArgs;
pub use files::{ApplyArgs, DiffArgs, ExportArgs, FileArgs, SetArgs};
pub use import::ImportCommand;
pub use lint::{LintArgs, Suppression};
pub use man::pages as man_pages;
pub use object::{ChangeArgs, EditArgs, ListArgs, Named, RemoveArgs, WriteArgs};
pub use parse::{Unparsed, json_wanted, parse, write_completion};

/// Configures and watches Pigeon gateways
#[derive(Debug, Parser)]
#[command(name = "pigeon-ctl", version, after_help = text::AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Use this context instead of the selected one
    #[arg(short, long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The admin's address.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "The admin's address, such as http://127.0.0.1:9800"
    )]
    pub server: Option<String>,
    /// File that holds the token
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    // Ids of their own: those of commands may have the same names.
    /// Whoever signed the certificate of a server with https; PEM [default: those that the system trusts]
    #[arg(long = "ca", id = "server-ca", global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to show to a server with https; PEM
    #[arg(long = "cert", id = "server-cert", global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The key of --cert
    #[arg(long = "key", id = "server-key", global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// How to print [default: table]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        env = "PIGEON_OUTPUT",
        hide_env = true
    )]
    pub output: Option<Output>,
    /// Print nothing about what was done, only what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never ask; fail where a question would be
    #[arg(long, global = true)]
    pub no_input: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Longest time to wait for an answer of the server
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = values::wait)]
    pub request_timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line; of a list, one for each of its items.
    Jsonl,
    /// One YAML document.
    Yaml,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Also in a pipe.
    Always,
    /// Not even on a terminal.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run admin, proxy and demo engines in this process, to try things out
    #[cfg(feature = "dev")]
    Dev(DevArgs),
    /// One screen: revision, proxies, engines, routes, and what is wrong
    Status,
    /// Is everything well? exit 0: yes, 1: something has failed
    #[command(
        after_help = "Every finding has a code that stays the same: pigeon-ctl explain PGN-C202\n\nExamples:\n  pigeon-ctl check\n  pigeon-ctl check proxies engines -o json"
    )]
    Check(CheckArgs),
    /// Check a token and keep server and token as a context
    #[command(after_help = text::LOGIN_HELP)]
    Login(LoginArgs),
    /// Servers and tokens that were logged in to
    #[command(subcommand)]
    Context(ContextCommand),
    /// Which calls go to which engine
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Upstream services: endpoints, slots, waiting
    #[command(subcommand)]
    Engine(engine::EngineCommand),
    /// Where the proxies listen
    #[command(subcommand)]
    Listener(listener::ListenerCommand),
    /// Callers: their keys, certificates and tokens
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Make the objects of files be so: all of them or none; removes nothing but what --prune says
    #[command(after_help = text::APPLY_HELP)]
    Apply(ApplyArgs),
    /// Show what apply would change; exit 0: nothing, 1: something
    Diff(DiffArgs),
    /// Say what is wrong with files, without asking a server; exit 0: nothing, 1: something
    #[command(after_help = text::LINT_HELP)]
    Lint(LintArgs),
    /// Change an object in an editor
    #[command(after_help = text::EDIT_HELP)]
    Edit(EditArgs),
    /// Print the configuration as documents that apply reads
    Export(ExportArgs),
    /// Print the configuration of another gateway as documents that apply reads
    #[command(subcommand, after_help = text::IMPORT_HELP)]
    Import(ImportCommand),
    /// The connected proxies
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// The history of the configuration
    #[command(subcommand)]
    Revision(RevisionCommand),
    /// Who may use the server, and for what
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Who changed what; the newest first
    #[command(
        after_help = "Examples:\n  pigeon-ctl audit --kind route --name asr\n  pigeon-ctl audit --since 2h --actor ci\n  pigeon-ctl audit -w"
    )]
    Audit(AuditArgs),
    /// What happens, as it happens: changed objects and proxies, a line each, until Ctrl-C
    #[command(after_help = text::EVENTS_HELP)]
    Events(EventsArgs),
    /// What an error code or a field means, without asking a server
    #[command(after_help = text::EXPLAIN_HELP)]
    Explain {
        /// A code, such as PGN-R101, or a field, such as engine.pool.slots
        #[arg(value_name = "CODE|FIELD")]
        what: String,
    },
    /// Print a completion script
    #[command(after_help = text::COMPLETION_HELP)]
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write those of all commands to a folder
    #[command(after_help = text::MAN_HELP)]
    Man {
        /// Write a page for each command here
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Print the version
    Version,
    /// What the exit codes mean
    #[command(hide = true, long_about = text::EXIT_CODES, help_template = "{about}\n")]
    ExitCodes,
    /// Environment variables
    #[command(hide = true, long_about = text::ENVIRONMENT, help_template = "{about}\n")]
    Environment,
}

/// `proxy …`
#[derive(Clone, Debug, Subcommand)]
pub enum ProxyCommand {
    /// List the proxies, how far they are and what they refused
    #[command(after_help = "Examples:\n  pigeon-ctl proxy list\n  pigeon-ctl proxy list -w")]
    List(ListArgs),
    /// Everything about one proxy
    Get(Named),
}

/// `check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// What to look at [default: everything]
    #[arg(value_name = "CATEGORY")]
    pub categories: Vec<CheckCategory>,
}

/// What there is to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckCategory {
    /// Whether it answers, and can store what is written.
    Admin,
    /// Whether all serve the newest revision.
    Proxies,
    /// Whether their endpoints get calls.
    Engines,
}

impl CheckCategory {
    /// All of them, in the order of looking.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Proxies, Self::Engines];
}

/// `audit`
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// Only what this caller did
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Only objects of this kind, such as route
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only objects of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only creations, updates or deletions
    #[arg(long, value_parser = ["create", "update", "delete"])]
    pub action: Option<String>,
    /// Only what is not older: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = values::ago)]
    pub since: Option<values::Expiry>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Go on with what happens from now on, the oldest first, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
}

/// `events`
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// What to follow
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',', value_parser = ["config", "proxies"], default_value = "config,proxies")]
    pub topics: Vec<String>,
    /// First what happened after this revision, or after the event of this id [default: from now on]
    #[arg(long, value_name = "REVISION", value_parser = values::place)]
    pub since: Option<String>,
}

/// `revision …`
#[derive(Clone, Debug, Subcommand)]
pub enum RevisionCommand {
    /// List the newest revisions
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// How to list.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Who made a revision, when, and what it changed
    Get {
        /// Its number
        #[arg(value_name = "REVISION", value_parser = values::revision)]
        revision: u64,
    },
    /// Show what is not the same at two revisions; exits with 1 if anything is not
    Diff {
        /// The first
        #[arg(value_name = "FROM", value_parser = values::revision)]
        from: u64,
        /// The second; the newest if it is left out
        #[arg(value_name = "TO", value_parser = values::revision)]
        to: Option<u64>,
    },
    /// Make the configuration what it was at a revision, as a new revision
    Rollback {
        /// Where to
        #[arg(value_name = "REVISION", value_parser = values::revision)]
        revision: u64,
        /// How it is written
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// The text of `help exit-codes`.
pub const EXIT_CODES: &str = text::EXIT_CODES;
/// The text of `help environment`.
pub const ENVIRONMENT: &str = text::ENVIRONMENT;
