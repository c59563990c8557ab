//! What `dev` prints when everything is up.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::home::Home;
use super::parts::Admin;
use super::{CONTEXT, PROXY};
use crate::cli::DevArgs;
use crate::client::{Call, Client};
use crate::commands::{engines_in_words, route_in_words};
use crate::error::Failure;
use crate::output::table::cell;

/// Lines of one list at most; the rest is counted.
const MOST: usize = 12;

/// What there is now.
pub(super) struct Screen {
    /// Holds the token.
    pub(super) token_file: PathBuf,
    data: Option<PathBuf>,
    gateway: SocketAddr,
    rest: SocketAddr,
    status: SocketAddr,
    engines: Vec<Value>,
    routes: Vec<Value>,
    traffic: u32,
}

impl Screen {
    /// Asks the admin what is configured.
    pub(super) async fn new(
        args: &DevArgs,
        home: &Home,
        client: &Client,
        admin: &Admin,
        gateway: SocketAddr,
        status: SocketAddr,
    ) -> Result<Self, Failure> {
        let summary = client.send(Call::get("/v1/summary")).await?.body;
        let list = |name: &str| summary.get(name).and_then(Value::as_array).cloned();
        Ok(Self {
            token_file: admin.token_file.clone(),
            data: (!home.is_ephemeral()).then(|| home.path().to_owned()),
            gateway,
            rest: admin.rest,
            status,
            engines: list("engines").unwrap_or_default(),
            routes: list("routes").unwrap_or_default(),
            traffic: args.traffic,
        })
    }

    /// The address of the REST API.
    pub(super) fn api(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "gateway": format!("http://{}", self.gateway),
            "api": self.api(),
            "dashboard": format!("{}/ui/", self.api()),
            "status": format!("http://{}", self.status),
            "token_file": self.token_file,
            "context": CONTEXT,
            "proxy": PROXY,
            "data_dir": self.data,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { gateway, rest, status, .. } = self;
        let data = match &self.data {
            Some(path) => format!("data in {}", path.display()),
            None => "keeps nothing (--data-dir keeps it)".to_owned(),
        };
        let token = self.token_file.display();
        let traffic = match self.traffic {
            0 => "none (--traffic RPS makes some)".to_owned(),
            rate => format!("{rate} demo calls per second"),
        };
        let mut text = format!(
            "pigeon dev {}   {data}\n\
             \x20 gateway    http://{gateway}   HTTP/1.1 and HTTP/2 (h2c), gRPC and HTTP\n\
             \x20 dashboard  http://{rest}/ui/   log in with the token below\n\
             \x20 api        http://{rest}/v1   context \"{CONTEXT}\" is selected\n\
             \x20 token      {token}\n\
             \x20 metrics    http://{status}/metrics\n",
            env!("CARGO_PKG_VERSION"),
        );
        text.push_str(&block("engines", self.engines.iter().map(engine).collect()));
        text.push_str(&block("routes", self.routes.iter().map(route).collect()));
        text.push_str(&format!("  traffic    {traffic}\n\n{}", self.try_these()));
        text
    }

    fn try_these(&self) -> String {
        let (gateway, ctl) = (self.gateway, program());
        let has = |route: &str| self.routes.iter().any(|r| cell(r, "/name") == route);
        let first = match has("demo-hello") {
            true => format!("curl http://{gateway}/hello"),
            false => format!("{ctl} engine add web --static 127.0.0.1:3000"),
        };
        let last = match self.engines.iter().any(|e| cell(e, "/name") == "demo-http") {
            true => format!(
                "{ctl} route add echo --path /echo --engine demo-http && curl -d hi http://{gateway}/echo"
            ),
            false => format!("{ctl} route add web --path '/*' --engine web"),
        };
        let mut text =
            format!("try, in another terminal:\n  {first}\n  {ctl} engine list\n  {last}\n");
        if has("demo-chat") && has("demo-reflection") {
            text.push_str(&format!(
                "with grpcurl:\n  grpcurl -plaintext -d '{{\"text\":\"hello from the pigeon\"}}' {gateway} pigeon.demo.v1.Chat/Generate\n"
            ));
        }
        text.push_str("Ctrl-C stops it.\n");
        text
    }
}

/// A list under one word; the first entry stands beside it.
fn block(title: &str, mut lines: Vec<String>) -> String {
    if lines.is_empty() {
        lines.push("none".into());
    }
    if lines.len() > MOST {
        let more = lines.len() - (MOST - 1);
        lines.truncate(MOST - 1);
        lines.push(format!("and {more} more"));
    }
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    titles.zip(lines).map(|(title, line)| format!("  {title:<11}{line}\n")).collect()
}

fn engine(engine: &Value) -> String {
    let endpoints = engine.pointer("/spec/endpoints").and_then(Value::as_array).map_or(0, Vec::len);
    let slots = match cell(engine, "/spec/pool/mode").as_str() {
        "off" => "no limit".to_owned(),
        mode => format!("{mode}, {} slots each", cell(engine, "/spec/pool/slots")),
    };
    let plural = if endpoints == 1 { "" } else { "s" };
    format!("{:<12} {endpoints} endpoint{plural}, {slots}", cell(engine, "/name"))
}

fn route(route: &Value) -> String {
    format!("{} → {}", route_in_words(route), engines_in_words(route))
}

/// What to type for this program: its name where the shell finds it, else its path.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else { return "pigeon-ctl".into() };
    let found = std::env::var_os("PATH").into_iter().any(|path| {
        let mut candidates = std::env::split_paths(&path).map(|p| p.join("pigeon-ctl"));
        candidates.find_map(|c| c.canonicalize().ok()) == this.canonicalize().ok()
    });
    if found {
        return "pigeon-ctl".into();
    }
    let here = std::env::current_dir().unwrap_or_default();
    this.strip_prefix(&here).unwrap_or(&this).to_path_buf().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_under_their_word_and_end_somewhere() {
        assert_eq!(block("routes", vec![]), "  routes     none\n");
        let lines: Vec<String> = (0..20).map(|i| format!("r{i}")).collect();
        let text = block("routes", lines);
        assert_eq!(text.lines().count(), MOST);
        assert!(text.starts_with("  routes     r0\n             r1\n"), "{text}");
        assert!(text.ends_with("             and 9 more\n"), "{text}");
    }
}
