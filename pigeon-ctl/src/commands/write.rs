//! Writes: sending them, and saying how far they got.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::WriteArgs;
use crate::client::Call;
use crate::error::{Exit, Failure};
use crate::output::{self, Printer};
use crate::session::Session;

/// How long the server is asked to wait for the proxies.
const WAIT: Duration = Duration::from_secs(10);

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Added,
    Changed,
    Unchanged,
    Removed,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        })
    }
}

/// How many proxies have a write (docs/rest.md, "Writes and proxies").
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Applied {
    /// Of the configuration with the write.
    revision: u64,
    /// Connected proxies.
    proxies: u64,
    /// Those that serve it with nothing refused.
    applied: u64,
    ms: u64,
    done: bool,
    /// Names of those that have not said anything yet.
    pending: Vec<String>,
    rejected: Vec<Refusal>,
}

/// An object that a proxy refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    proxy: String,
    kind: String,
    name: String,
    mod_revision: u64,
    serving_mod_revision: u64,
    code: String,
    message: String,
}

impl Refusal {
    /// What the proxy does instead.
    fn instead(&self) -> String {
        match self.serving_mod_revision {
            0 => "not served at all".into(),
            revision => format!("serving the version of revision {revision}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, kind, name, message, .. } = self;
        write!(f, "{code} {kind}/{name}: {message}; {}", self.instead())
    }
}

/// A write that the server took.
pub(crate) struct Written {
    /// The answer.
    pub(crate) body: Value,
    /// How many proxies have it; none for a dry run.
    pub(crate) applied: Option<Applied>,
}

/// Sends a write.
///
/// # Errors
/// Those of [`Session::send`].
pub(crate) fn send(session: &Session, mut call: Call, args: WriteArgs) -> Result<Written, Failure> {
    let query = if args.dry_run {
        "dry_run=true".to_owned()
    } else if args.no_wait {
        String::new()
    } else {
        call.wait = WAIT.min(session.timeout);
        format!("wait=applied&timeout={}", crate::client::humane(call.wait))
    };
    if !query.is_empty() {
        let mark = if call.target.contains('?') { '&' } else { '?' };
        call.target = format!("{}{mark}{query}", call.target);
    }
    let body = session.send(call)?.body;
    let applied = body.get("applied").and_then(|a| Applied::deserialize(a).ok());
    Ok(Written { body, applied })
}

impl Written {
    /// Prints a write of one object, and says how to exit.
    pub(crate) fn print(
        &self,
        out: &Printer,
        object: &str,
        op: Op,
        args: WriteArgs,
    ) -> Result<Exit, Failure> {
        if !out.value(&self.body)? {
            out.done(&format!("{object} {op}   {}", self.state(args)))?;
            self.explain();
        }
        Ok(self.exit(args))
    }

    /// `revision 42   applied by 3/3 proxies in 38 ms`
    pub(crate) fn state(&self, args: WriteArgs) -> String {
        match &self.applied {
            Some(applied) if !args.dry_run => applied.to_string(),
            _ if args.dry_run => "dry run: nothing was written".to_owned(),
            _ => "the server did not say how far it got".to_owned(),
        }
    }

    /// Lists on standard error what proxies refused.
    pub(crate) fn explain(&self) {
        for r in self.applied.iter().flat_map(|a| &a.rejected) {
            let Refusal { proxy, kind, name, mod_revision, code, message, .. } = r;
            output::note(&format!(
                "refused by {proxy}: {kind}/{name} of revision {mod_revision}: {message} ({code}); {}",
                r.instead()
            ));
        }
    }

    /// Done; or refused by a proxy; or not applied in time.
    pub(crate) fn exit(&self, args: WriteArgs) -> Exit {
        match &self.applied {
            Some(a) if !args.no_wait && !a.complete() => {
                if a.rejected.is_empty() {
                    Exit::TimedOut
                } else {
                    Exit::No
                }
            }
            _ => Exit::Done,
        }
    }
}

impl Applied {
    fn complete(&self) -> bool {
        self.rejected.is_empty() && (self.done || self.applied >= self.proxies)
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, proxies, applied, ms, .. } = self;
        write!(f, "revision {revision}   ")?;
        if *proxies == 0 {
            return f.write_str("no proxy connected");
        }
        let word = if *proxies == 1 { "proxy" } else { "proxies" };
        write!(f, "applied by {applied}/{proxies} {word}")?;
        if self.complete() {
            return write!(f, " in {ms} ms");
        }
        let refused = self.rejected.iter().map(|r| format!("{}: {r}", r.proxy));
        let waiting =
            (!self.pending.is_empty()).then(|| format!("waiting for {}", self.pending.join(", ")));
        let reasons: Vec<String> = refused.chain(waiting).collect();
        if reasons.is_empty() { Ok(()) } else { write!(f, " ({})", reasons.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(applied: Value) -> Written {
        let applied = Applied::deserialize(&applied).expect("applied");
        Written { body: Value::Null, applied: Some(applied) }
    }

    const WAITING: WriteArgs = WriteArgs { no_wait: false, dry_run: false };

    #[test]
    fn every_state_is_said_and_has_its_exit_code() {
        let refusal = json!({"proxy": "edge-3", "kind": "listener", "name": "x", "mod_revision": 42,
            "serving_mod_revision": 40, "code": "PGN-P301", "message": "address in use"});
        let cases = [
            (
                json!({"revision": 42, "proxies": 3, "applied": 3, "ms": 38, "done": true}),
                "revision 42   applied by 3/3 proxies in 38 ms",
                Exit::Done,
            ),
            (
                json!({"revision": 42, "proxies": 1, "applied": 1, "ms": 5, "done": true}),
                "revision 42   applied by 1/1 proxy in 5 ms",
                Exit::Done,
            ),
            (
                json!({"revision": 7, "proxies": 0, "applied": 0, "ms": 0, "done": true}),
                "revision 7   no proxy connected",
                Exit::Done,
            ),
            (
                json!({"revision": 42, "proxies": 3, "applied": 2, "ms": 10, "done": false, "pending": ["edge-2"]}),
                "revision 42   applied by 2/3 proxies (waiting for edge-2)",
                Exit::TimedOut,
            ),
            (
                json!({"revision": 42, "proxies": 3, "applied": 2, "ms": 10, "done": false, "rejected": [refusal]}),
                "revision 42   applied by 2/3 proxies (edge-3: PGN-P301 listener/x: address in use; serving the version of revision 40)",
                Exit::No,
            ),
        ];
        for (applied, text, exit) in cases {
            let written = written(applied);
            assert_eq!(written.state(WAITING), text);
            assert_eq!(written.exit(WAITING), exit, "{text}");
        }
    }

    #[test]
    fn who_does_not_wait_is_done() {
        let pending = written(json!({"proxies": 1, "applied": 0, "pending": ["a"]}));
        assert_eq!(pending.exit(WriteArgs { no_wait: true, dry_run: false }), Exit::Done);
    }
}
