//! `dev`: admin, proxy and demo engines in this process. What runs where is settled here; each part has its
//! own file. Everything but the start of the parts goes through REST, as any other client's doing would.

mod demo;
mod home;
mod logs;
mod parts;
mod screen;
mod traffic;

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::cli::{DevArgs, Global};
use crate::client::{Client, Token};
use crate::context::environment;
use crate::context::file::{self, Context};
use crate::error::{Exit, Failure};
use crate::output::{Printer, note};
use home::Home;
use screen::Screen;

/// The context that `dev` writes and selects.
pub const CONTEXT: &str = "dev";
/// The name of its proxy.
pub const PROXY: &str = "dev";
/// How long one request to its own admin may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the runtime may take to end what is left when everything was told to stop.
const END: Duration = Duration::from_millis(500);

/// Runs everything until Ctrl-C or SIGTERM.
///
/// # Errors
/// Something cannot start, or fails while it runs; nothing is left running then.
pub fn run(args: &DevArgs, global: &Global) -> Outcome {
    logs::start(args.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::system(format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(live(args, &Printer::new(global)));
    runtime.shutdown_timeout(END);
    outcome
}

/// Ctrl-C, SIGTERM, and the terminal being closed; noticed from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let cannot = |e| Failure::system(format!("cannot watch for signals: {e}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        Ok(Self { interrupt, terminate, hangup })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// What runs in the background, told to stop by one switch.
pub(crate) struct Running {
    tasks: JoinSet<Result<(), Failure>>,
    stop: watch::Sender<bool>,
}

impl Running {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    /// Resolves when it is time to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        // The switch gone means the same as the switch thrown.
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    fn spawn(&mut self, part: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.tasks.spawn(part);
    }

    /// Waits until a part ends, which none does by itself.
    async fn failed(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) => Failure::bug("a part of dev ended by itself"),
            Some(Err(e)) => Failure::bug(format!("a part of dev failed: {e}")),
            None => std::future::pending().await,
        }
    }

    /// Tells all parts to stop and waits for them.
    async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(failure)) = ended {
                note(&format!("while stopping: {failure}"));
            }
        }
    }
}

/// The parts in the order in which they stop: who calls first, who is called last.
struct Parts {
    traffic: Running,
    proxy: Running,
    engines: Running,
    admin: Running,
}

impl Parts {
    fn new() -> Self {
        let new = Running::new;
        Self { traffic: new(), proxy: new(), engines: new(), admin: new() }
    }

    async fn failed(&mut self) -> Failure {
        tokio::select! {
            failure = self.traffic.failed() => failure,
            failure = self.proxy.failed() => failure,
            failure = self.engines.failed() => failure,
            failure = self.admin.failed() => failure,
        }
    }

    async fn stop(self) {
        self.traffic.stop().await;
        self.proxy.stop().await;
        self.engines.stop().await;
        self.admin.stop().await;
    }
}

async fn live(args: &DevArgs, out: &Printer) -> Outcome {
    let mut signals = Signals::new()?;
    let mut home = Home::choose(args)?;
    let mut parts = Parts::new();
    let up = tokio::select! {
        up = start(args, &home, &mut parts) => up.map(Some),
        () = signals.any() => Ok(None),
    };
    let outcome = match up {
        Ok(Some(screen)) => {
            home.keep();
            serve(&screen, out, &mut parts, &mut signals).await
        }
        Ok(None) => Ok(Exit::Done),
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = parts.stop() => outcome,
        () = signals.any() => Ok(Exit::Interrupted),
    }
}

/// Prints the screen and waits for the end.
async fn serve(
    screen: &Screen,
    out: &Printer,
    parts: &mut Parts,
    signals: &mut Signals,
) -> Outcome {
    select_context(screen)?;
    if !out.value(&screen.json())? {
        out.done(screen.text().trim_end())?;
    }
    tokio::select! {
        failure = parts.failed() => Err(failure),
        () = signals.any() => Ok(Exit::Done),
    }
}

/// Starts one part after another; says what there is now.
async fn start(args: &DevArgs, home: &Home, parts: &mut Parts) -> Result<Screen, Failure> {
    let admin = parts::admin(args, home, &mut parts.admin).await?;
    let token = std::fs::read_to_string(&admin.token_file)
        .map_err(|e| e.to_string())
        .and_then(|text| Token::new(&text))
        .map_err(|why| Failure::system(format!("{}: {why}", admin.token_file.display())))?;
    let server = format!("http://{}", admin.rest).parse().map_err(Failure::bug)?;
    let client = Client::new(server, Some(token), PATIENCE);
    parts::check_gateway_port(args.port)?;
    if !args.no_demo {
        demo::start(&client, home.path(), &mut parts.engines).await?;
    }
    let status = parts::proxy(args, home, &admin, &mut parts.proxy).await?;
    let gateway = parts::applied(&client).await?;
    parts::move_listener(&client, gateway).await?;
    if args.traffic > 0 {
        traffic::start(gateway, args.traffic, &mut parts.traffic)?;
    }
    Screen::new(args, home, &client, &admin, gateway, status).await
}

/// Writes and selects the context, so that the CLI in another terminal needs no flags.
fn select_context(screen: &Screen) -> Result<(), Failure> {
    let Ok(path) = file::path(&environment) else {
        note(
            "there is no home directory, so no context was written; use --server and --token-file",
        );
        return Ok(());
    };
    let mut config = file::load(&path)?;
    let token_file = Some(screen.token_file.clone());
    config
        .contexts
        .insert(CONTEXT.into(), Context { server: screen.api(), token_file, ..Context::default() });
    config.current = Some(CONTEXT.into());
    file::save(&path, &config)
}
