//! `route …`

use clap::{Args, Subcommand, ValueEnum};

use super::values::{self, Answer, Header, Label, Redirect, Share, Size};
use super::{ChangeArgs, ListArgs, Named, RemoveArgs, WriteArgs};

/// `route …`
#[derive(Clone, Debug, Subcommand)]
pub enum RouteCommand {
    /// Add a route
    #[command(
        after_help = "Examples:\n  pigeon-ctl route add asr --grpc speech.v1.Recognizer --engine asr\n  pigeon-ctl route add users --path '/users*' --method GET --engine web\n  pigeon-ctl route add chat --grpc llm.v1.Chat --engine llm-a --to llm-b=10% --retries 2 --retry-on UNAVAILABLE\n  pigeon-ctl route add old --path '/old*' --redirect 'https://new.example/*' --redirect-status 308\n  pigeon-ctl route add closed --grpc speech.v1.Recognizer --priority 10 --answer UNAVAILABLE"
    )]
    Add(Box<AddRoute>),
    /// List the routes
    List(ListArgs),
    /// Everything about one route
    Get(Named),
    /// Change what is given of a route, and nothing else
    #[command(after_help = "Example:\n  pigeon-ctl route set asr --timeout 30s --host ''")]
    Set(Box<SetRoute>),
    /// Remove a route
    Rm(RemoveArgs),
    /// Which route takes a call, and why not the others; exit 1: none
    #[command(
        after_help = "Examples:\n  pigeon-ctl route test --grpc speech.v1.Recognizer/Recognize\n  pigeon-ctl route test --method GET --path /users/7 --host example.com"
    )]
    Test(TestArgs),
}

/// `route add`
#[derive(Clone, Debug, Args)]
pub struct AddRoute {
    /// Its name
    pub name: String,
    /// The engine that gets the calls
    #[arg(long, value_name = "ENGINE", required_unless_present_any = ["redirect", "answer"])]
    pub engine: Option<String>,
    /// Which calls.
    #[command(flatten)]
    pub fields: RouteFields,
    /// How to write.
    #[command(flatten)]
    pub write: WriteArgs,
}

/// `route set`
#[derive(Clone, Debug, Args)]
pub struct SetRoute {
    /// Its name
    pub name: String,
    /// The engine that gets the calls, instead of a redirect or an answer
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// What to change.
    #[command(flatten)]
    pub fields: RouteFields,
    /// How to write.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The fields of a route but its engine. An empty text removes a field.
#[derive(Clone, Debug, Default, Args)]
pub struct RouteFields {
    /// gRPC calls of this service or method
    #[arg(long, value_name = "pkg.Service[/Method]", conflicts_with_all = ["path", "methods"])]
    pub grpc: Option<String>,
    /// Calls with this path; '/users*' takes /users and all below it
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Only this HTTP method; may be repeated
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// Only calls for this host; *.example.com takes all hosts that end so
    #[arg(long)]
    pub host: Option<String>,
    /// Only calls that came in on this listener
    #[arg(long)]
    pub listener: Option<String>,
    /// Between routes that match equally well the higher wins
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Longest time of a call, such as 30s
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Send this share of the calls to another engine; may be repeated, and sets all shares; '' removes them
    #[arg(long = "to", value_name = "ENGINE=PERCENT", value_parser = values::share)]
    pub shares: Vec<Share>,
    /// Another engine gets a copy of this share of the calls, its answers are dropped; '' ends it
    #[arg(long, value_name = "ENGINE=PERCENT", value_parser = values::share)]
    pub shadow: Option<Share>,
    /// When calls are tried again.
    #[command(flatten)]
    pub retry: RetryFields,
    /// How many calls in which time.
    #[command(flatten)]
    pub limit: LimitFields,
    /// What is changed on the way.
    #[command(flatten)]
    pub edits: EditFields,
    /// What the gateway answers instead of an engine.
    #[command(flatten)]
    pub own: OwnFields,
    /// Who may call.
    #[command(flatten)]
    pub auth: AuthFields,
    /// Set a label; NAME= removes it; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub labels: Vec<Label>,
}

/// What is changed on the way to the engine and back.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "On the way")]
pub struct EditFields {
    /// The engine gets this header with this value alone; may be repeated; NAME= ends it
    #[arg(long = "set-request-header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub set_request: Vec<Header>,
    /// The engine gets this header too; may be repeated; NAME= ends it
    #[arg(long = "add-request-header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub add_request: Vec<Header>,
    /// The engine does not get this header; may be repeated, and sets the whole list; '' empties it
    #[arg(long = "remove-request-header", value_name = "NAME")]
    pub remove_request: Vec<String>,
    /// Callers get this header with this value alone; may be repeated; NAME= ends it
    #[arg(long = "set-response-header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub set_response: Vec<Header>,
    /// Callers get this header too; may be repeated; NAME= ends it
    #[arg(long = "add-response-header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub add_response: Vec<Header>,
    /// Callers do not get this header; may be repeated, and sets the whole list; '' empties it
    #[arg(long = "remove-response-header", value_name = "NAME")]
    pub remove_response: Vec<String>,
    /// The engine gets this path: /new, /new*, pkg.Service or pkg.Service/Method
    #[arg(long, value_name = "PATH")]
    pub rewrite_path: Option<String>,
    /// The engine gets this host
    #[arg(long, value_name = "HOST[:PORT]")]
    pub rewrite_host: Option<String>,
    /// Longest body of a request; '' = no limit
    #[arg(long, value_name = "BYTES", value_parser = values::size)]
    pub max_body: Option<Size>,
    /// Pages of these origins may call from a browser, such as `https://app.example`, `https://*.example` or `*`; '' = none
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    pub cors: Option<Vec<String>>,
    /// Whether calls may come as JSON, for engines that speak gRPC and describe themselves by server reflection
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub transcode: Option<bool>,
}

/// What the gateway answers instead of an engine.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Instead of an engine")]
pub struct OwnFields {
    /// Send callers there; what is left out stays: https:, //host:port, /path, /prefix*
    #[arg(long, value_name = "URL", value_parser = values::redirect, conflicts_with_all = ["engine", "answer"])]
    pub redirect: Option<Redirect>,
    /// HTTP status of the redirect: 301, 302, 303, 307 or 308
    #[arg(long, value_name = "STATUS")]
    pub redirect_status: Option<u16>,
    /// Answer with this HTTP or gRPC status: 404, UNAVAILABLE
    #[arg(long, value_name = "STATUS", value_parser = values::answer, conflicts_with = "engine")]
    pub answer: Option<Answer>,
    /// The body of the answer
    #[arg(long, value_name = "TEXT")]
    pub answer_body: Option<String>,
    /// A header of the answer; may be repeated; NAME= removes it
    #[arg(long = "answer-header", value_name = "NAME=VALUE", value_parser = values::header)]
    pub answer_headers: Vec<Header>,
    /// The message that gRPC callers get with the answer
    #[arg(long, value_name = "TEXT")]
    pub answer_message: Option<String>,
}

/// Who may call.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Who may call")]
pub struct AuthFields {
    /// How callers show who they are; none: anybody may call
    #[arg(long, value_name = "none|api-key|jwt|certificate,…", value_delimiter = ',')]
    pub auth: Vec<AuthArg>,
    /// Only this tenant; may be repeated, and sets all; '' removes them
    #[arg(long = "tenant", value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// What a token must say; NAME= removes it; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = values::label)]
    pub claims: Vec<Label>,
}

/// What `--auth` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthArg {
    /// Anybody may call.
    None,
    /// By an API key of a tenant.
    ApiKey,
    /// By a token of an issuer that the listener believes.
    Jwt,
    /// By the client's certificate.
    Certificate,
}

/// When calls are tried again.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Retries")]
pub struct RetryFields {
    /// How often a call is tried again; 0: never
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// On which answers: gRPC statuses, HTTP statuses, reset; '' = none
    #[arg(long, value_name = "UNAVAILABLE,…", value_delimiter = ',')]
    pub retry_on: Option<Vec<String>>,
    /// Longest pause before the first retry
    #[arg(long, value_name = "TIME")]
    pub retry_backoff: Option<String>,
    /// Longest pause before any retry
    #[arg(long, value_name = "TIME")]
    pub retry_max_backoff: Option<String>,
    /// Most request bytes kept for sending again
    #[arg(long, value_name = "BYTES")]
    pub retry_buffer: Option<u32>,
    /// Most retries, in percent of the route's calls
    #[arg(long, value_name = "PERCENT")]
    pub retry_budget: Option<u32>,
}

/// How many calls in which time. A document may set several limits.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFields {
    /// Calls per second, minute or hour, such as 200/s, on each proxy; sets all limits; '' removes them
    #[arg(long, value_name = "N/s")]
    pub rate: Option<String>,
    /// Calls that may come at once; without it, what the rate gives in one second
    #[arg(long, value_name = "N", requires = "rate")]
    pub burst: Option<u32>,
    /// Whose calls are counted together: all of the route, or those of each source address, tenant or caller
    #[arg(long, value_name = "route|source|tenant|caller", requires = "rate")]
    pub rate_per: Option<String>,
}

/// `route test`
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// A gRPC method
    #[arg(long, value_name = "pkg.Service/Method", conflicts_with_all = ["path", "method"], required_unless_present = "path")]
    pub grpc: Option<String>,
    /// A path
    #[arg(long)]
    pub path: Option<String>,
    /// An HTTP method
    #[arg(long)]
    pub method: Option<String>,
    /// The host of the call
    #[arg(long)]
    pub host: Option<String>,
    /// The listener it comes in on
    #[arg(long)]
    pub listener: Option<String>,
}
