//! Admin and proxy: starting them, with errors that name the flags of `dev`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use pigeon_admin::app as admin_app;
use pigeon_proto::model::{Listener, Name};
use pigeon_proxy::app as proxy_app;
use serde_json::{Value, json};

use super::home::Home;
use super::{PROXY, Running};
use crate::cli::DevArgs;
use crate::client::{Call, Client};
use crate::error::{Exit, Failure};
use crate::output::note;
use crate::output::table::cell;

/// How long running calls may go on after Ctrl-C.
const DRAIN: Duration = Duration::from_millis(500);
/// How long the proxy may take to serve the configuration.
const APPLY: Duration = Duration::from_secs(15);
/// Marks a listener whose address follows `--port`.
const FOLLOWS: &str = "pigeon-dev";
/// How often it is asked whether it does.
const ASK: Duration = Duration::from_millis(20);

/// A running admin.
pub(super) struct Admin {
    /// Where REST is.
    pub(super) rest: SocketAddr,
    /// Holds the token for it.
    pub(super) token_file: PathBuf,
    grpc: SocketAddr,
    proxy_token_file: PathBuf,
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn in_use(port: u16, flag: &str) -> Failure {
    Failure::system(format!("port {port} is in use ({flag}); stop what uses it or take another"))
        .next(format!("pigeon-ctl dev {flag} 0    (any free port)"))
}

/// Starts the admin.
pub(super) async fn admin(
    args: &DevArgs,
    home: &Home,
    running: &mut Running,
) -> Result<Admin, Failure> {
    let config = admin_app::Config {
        data_dir: home.path().to_owned(),
        database_url: None,
        listen: local(args.admin_port),
        grpc_listen: local(args.grpc_port),
        tls: None,
        insecure_bind: false,
    };
    let admin = admin_app::bind(config).await.map_err(admin_failure)?;
    let started = Admin {
        rest: admin.rest_addr(),
        token_file: admin.admin_token_file(),
        grpc: admin.grpc_addr(),
        proxy_token_file: admin.proxy_token_file(),
    };
    let stopped = running.stopped();
    running.spawn(async move {
        admin.run(stopped).await.map_err(|e| Failure::system(format!("the admin failed: {e:#}")))
    });
    Ok(started)
}

fn admin_failure(error: admin_app::StartError) -> Failure {
    match error {
        admin_app::StartError::PortInUse { flag, address } => {
            let flag = if flag == "--listen" { "--admin-port" } else { "--grpc-port" };
            in_use(address.port(), flag)
        }
        other => Failure::system(other.to_string()),
    }
}

/// Checks that the gateway's port is free, for an error that names the flag.
///
/// Not for 0: a port found free here could be another's before the proxy takes it.
pub(super) fn check_gateway_port(port: u16) -> Result<(), Failure> {
    match TcpListener::bind(local(port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(in_use(port, "--port")),
        Err(e) => Err(Failure::system(format!("cannot listen on port {port} (--port): {e}"))),
    }
}

/// Has the configuration tell where the gateway is, unless someone has said something else.
pub(super) async fn move_listener(client: &Client, gateway: SocketAddr) -> Result<(), Failure> {
    let standard = Listener::standard().address.to_string();
    let listener = match client.send(Call::get("/v1/listeners/default")).await {
        Ok(answer) => answer.body,
        // Removed by someone: `--port` then has nothing to move.
        Err(failure) if failure.exit == Exit::NotFound => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let (wanted, address) = (gateway.to_string(), cell(&listener, "/spec/address"));
    let follows = address == standard || listener["labels"].get(FOLLOWS).is_some();
    if address == wanted || !follows {
        return Ok(());
    }
    let patch = json!({ "labels": { FOLLOWS: "port" }, "spec": { "address": wanted } });
    let call = Call::new(Method::PATCH, "/v1/listeners/default");
    client.send(call.body("application/merge-patch+json", &patch)).await.map(drop)
}

/// Starts the proxy, its listener `default` at `--port`; says where its status port is.
pub(super) async fn proxy(
    args: &DevArgs,
    home: &Home,
    admin: &Admin,
    running: &mut Running,
) -> Result<SocketAddr, Failure> {
    let name = |text: &str| text.parse::<Name>().map_err(|e| Failure::bug(e.to_string()));
    let address = format!("http://{}", admin.grpc).parse();
    let source = proxy_app::SourceConfig::Admin(proxy_app::AdminConfig {
        addresses: vec![address.map_err(|e| Failure::bug(format!("{e}")))?],
        token_file: admin.proxy_token_file.clone(),
        state_dir: home.path().join("proxy"),
        tls: pigeon_proxy::config::stream::AdminTls::default(),
        insecure: false,
    });
    let config = proxy_app::Config {
        name: Some(name(PROXY)?),
        binds: BTreeMap::from([(name("default")?, local(args.port))]),
        status_listen: local(args.status_port),
        drain_timeout: DRAIN,
        ..proxy_app::Config::new(source)
    };
    let proxy = proxy_app::bind(config).await.map_err(|error| match error {
        proxy_app::StartError::Status { address, source }
            if source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            in_use(address.port(), "--status-port")
        }
        other => Failure::system(other.to_string()),
    })?;
    let status = proxy.status_addr();
    let stopped = running.stopped();
    running.spawn(async move {
        proxy.run(stopped).await.map_err(|e| Failure::system(format!("the proxy failed: {e}")))
    });
    Ok(status)
}

/// Waits until the proxy serves the newest configuration; says where the gateway is.
pub(super) async fn applied(client: &Client) -> Result<SocketAddr, Failure> {
    let end = Instant::now() + APPLY;
    let call = || Call::get(format!("/v1/proxies/{PROXY}"));
    let mut last = Value::Null;
    let mut complained = false;
    while Instant::now() < end {
        match client.send(call()).await {
            Ok(answer) => last = answer.body,
            // It has not connected yet.
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
        let state = cell(&last, "/state");
        if state == "rejected" && !complained {
            complain(&last)?;
            complained = true;
        }
        let gateway = last.pointer("/listen/default").and_then(Value::as_str);
        let serves = last["connected"] == true && matches!(state.as_str(), "in_sync" | "rejected");
        if let (true, Some(Ok(gateway))) = (serves, gateway.map(str::parse)) {
            return Ok(gateway);
        }
        tokio::time::sleep(ASK).await;
    }
    Err(Failure::timed_out(format!(
        "the proxy does not serve the configuration after {} s; it is {}",
        APPLY.as_secs(),
        cell(&last, "/state")
    ))
    .next("pigeon-ctl dev -v    (shows why)"))
}

/// What the proxy refused: fatal for its main listener, worth a line for all else.
fn complain(proxy: &Value) -> Result<(), Failure> {
    let rejected = proxy.get("rejected").and_then(Value::as_array);
    for refusal in rejected.into_iter().flatten() {
        let object = format!("{}/{}", cell(refusal, "/kind"), cell(refusal, "/name"));
        let why = format!("{object}: {} ({})", cell(refusal, "/message"), cell(refusal, "/code"));
        if object == "listener/default" {
            return Err(Failure::system(format!("the gateway cannot listen: {why}")));
        }
        note(&format!("warning: the proxy refuses {why}"));
    }
    Ok(())
}
