//! A command's conversation with the server. Commands are plain functions; what is asynchronous stays here.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::{Answer, Call, Client, Event, Events, segment};
use crate::context::Settings;
use crate::error::Failure;

/// Pages of a list that are read at most: a server that never ends is stopped here.
const MOST_PAGES: usize = 10_000;

/// A client, and the runtime it runs on.
pub struct Session {
    runtime: Runtime,
    interrupt: RefCell<Signal>,
    client: Client,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl Session {
    /// Opens nothing yet: only reads the token.
    ///
    /// # Errors
    /// There is no token, or it cannot be read.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self, Failure> {
        let token = settings.read_token()?;
        let client = Client::new(settings.server.clone(), Some(token), timeout);
        Self::with(client.with_tls(settings.tls.clone()), timeout)
    }

    /// Of a client that is there already.
    ///
    /// # Errors
    /// The system refuses a runtime.
    pub fn with(client: Client, timeout: Duration) -> Result<Self, Failure> {
        let cannot = |e: std::io::Error| Failure::system(format!("cannot start a runtime: {e}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let interrupt = {
            let _inside = runtime.enter();
            RefCell::new(signal(SignalKind::interrupt()).map_err(cannot)?)
        };
        Ok(Self { runtime, interrupt, client, timeout })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends one request and waits for the answer, or for Ctrl-C.
    ///
    /// # Errors
    /// Those of [`Client::send`], and interruption.
    pub fn send(&self, call: Call) -> Result<Answer, Failure> {
        let reads = call.method.is_safe();
        match self.unless_interrupted(self.client.send(call)) {
            Err(_) if !reads => {
                let what = "interrupted; the change may have been made all the same";
                Err(Failure::interrupted(what).next("pigeon-ctl revision list"))
            }
            answer => answer?,
        }
    }

    /// Opens a stream of events.
    ///
    /// # Errors
    /// Those of [`Client::follow`], and interruption.
    pub fn follow(&self, call: Call) -> Result<Events, Failure> {
        self.unless_interrupted(self.client.follow(call))?
    }

    /// Waits for the next event of a stream; the inner error says why there will be no more.
    ///
    /// # Errors
    /// Ctrl-C.
    pub fn next(&self, events: &mut Events) -> Result<Result<Event, String>, Failure> {
        self.unless_interrupted(events.next())
    }

    /// Waits.
    ///
    /// # Errors
    /// Ctrl-C.
    pub fn pause(&self, time: Duration) -> Result<(), Failure> {
        // A timer is made inside of a runtime only.
        self.unless_interrupted(async { tokio::time::sleep(time).await })
    }

    fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut interrupt = self.interrupt.borrow_mut();
        self.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                _ = interrupt.recv() => Err(Failure::interrupted("interrupted")),
            }
        })
    }

    /// Forgets a Ctrl-C that was meant for another program in the foreground.
    pub fn forget_interrupt(&self) {
        let mut interrupt = self.interrupt.borrow_mut();
        // The runtime notices signals when it has time, so it gets some.
        let soon = Duration::from_millis(10);
        let _ = self.runtime.block_on(async { tokio::time::timeout(soon, interrupt.recv()).await });
    }

    /// Reads one representation.
    ///
    /// # Errors
    /// Those of [`Session::send`].
    pub fn get(&self, target: &str) -> Result<Value, Failure> {
        self.send(Call::get(target)).map(|answer| answer.body)
    }

    /// Reads a list, page by page, until it has `limit` items or all; `collection` may have a query.
    ///
    /// # Errors
    /// Those of [`Session::send`], and a list that is none.
    pub fn list(&self, collection: &str, limit: usize) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut page = String::new();
        let mark = if collection.contains('?') { '&' } else { '?' };
        for _ in 0..MOST_PAGES {
            let size = (limit - items.len()).min(1_000);
            let mut body = self.get(&format!("{collection}{mark}page_size={size}{page}"))?;
            items.extend(self.items(collection, &mut body)?);
            let token = match body.get_mut("next_page_token").map(Value::take) {
                Some(Value::String(token)) => token,
                Some(Value::Number(token)) => token.to_string(),
                _ => break,
            };
            if items.len() >= limit {
                break;
            }
            page = format!("&page_token={}", segment(&token));
        }
        items.truncate(limit);
        Ok(items)
    }

    /// Reads a list that has no pages.
    ///
    /// # Errors
    /// As [`Session::list`].
    pub fn list_whole(&self, collection: &str) -> Result<Vec<Value>, Failure> {
        let mut body = self.get(collection)?;
        self.items(collection, &mut body)
    }

    fn items(&self, collection: &str, body: &mut Value) -> Result<Vec<Value>, Failure> {
        match body.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => {
                let place = format!("{}{collection}", self.client.server());
                Err(Failure::unreachable(format!("{place} is not a list; is it a Pigeon admin?")))
            }
        }
    }
}
