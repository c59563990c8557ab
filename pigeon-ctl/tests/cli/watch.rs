//! `-w`: lists that are printed again when they changed.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use crate::support::Admin;

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// A list that goes on.
struct Watch {
    child: Child,
    seen: String,
}

impl Watch {
    fn start(admin: &Admin, args: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_pigeon-ctl"))
            .args(words(args))
            .env_clear()
            .env("HOME", admin.dir.path())
            .env("PIGEON_SERVER", admin.url())
            .env("PIGEON_TOKEN_FILE", admin.token_file())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        Self { child, seen: String::new() }
    }

    /// Reads on until the output has `text`.
    fn until(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        let mut buffer = [0; 4_096];
        while !self.seen.contains(text) {
            let n = stdout.read(&mut buffer).expect("output");
            assert!(n > 0, "it ended before \"{text}\": {}", self.seen);
            self.seen.push_str(std::str::from_utf8(&buffer[..n]).expect("text"));
        }
    }

    /// Ctrl-C, which is its normal end; gives all that it printed.
    fn end(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
        let mut stdout = self.child.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut self.seen).expect("text");
        assert_eq!(self.child.wait().expect("an end").code(), Some(0));
        self.seen
    }
}

#[test]
fn endpoints_are_printed_again() {
    let admin = Admin::start();
    admin.ok(&words("engine add asr --static a:1"));
    let mut watch = Watch::start(&admin, "engine endpoints asr -w");
    watch.until("last 10 s\n");
    assert!(watch.seen.starts_with("ADDRESS ") && !watch.seen.contains('\x1b'), "{}", watch.seen);
    admin.ok(&words("engine drain asr"));
    watch.until("set to drain");
    assert!(watch.seen.contains("\n\nADDRESS "), "a blank line between: {:?}", watch.seen);
    watch.end();
}

#[test]
fn every_list_is_printed_again_when_it_changed_and_only_then() {
    let admin = Admin::start();
    admin.ok(&words("engine add first --static a:1 --no-wait"));
    let lists = ["route", "engine", "listener", "tenant", "revision", "token"];
    let mut watches = lists.map(|noun| Watch::start(&admin, &format!("{noun} list -w")));
    let mut proxies = Watch::start(&admin, "proxy list --watch");
    for watch in watches.iter_mut().chain([&mut proxies]) {
        watch.until("\n");
    }
    for add in [
        "engine add second --static a:1",
        "route add second --path /s --engine second",
        "listener add second --address 127.0.0.1:8099",
        "tenant add second",
        "token create second --role viewer",
    ] {
        admin.ok(&words(add));
    }
    for watch in &mut watches {
        watch.until("second");
    }
    for (noun, watch) in lists.iter().zip(watches) {
        let seen = watch.end();
        // Revisions change with each write, and a look may see several at once.
        let most = if *noun == "revision" { 5 } else { 2 };
        let first = |line: &str| line.split(' ').next().map(str::to_owned);
        let heading = seen.lines().next().and_then(first);
        let headings = seen.lines().filter(|line| first(line) == heading).count();
        assert!((2..=most).contains(&headings), "{noun}: {seen}");
        assert!(!seen.contains('\x1b'), "{noun}: {seen:?}");
    }
    let seen = proxies.end();
    assert_eq!(seen.lines().count(), 1, "nothing has changed: {seen}");
}

#[test]
fn documents_follow_each_other() {
    let admin = Admin::start();
    let count = |text: &str| -> usize {
        let documents = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        documents.collect::<Result<Vec<_>, _>>().expect("JSON").len()
    };
    let mut watches = ["json", "jsonl", "yaml"]
        .map(|format| Watch::start(&admin, &format!("listener list -w -o {format}")));
    for watch in &mut watches {
        watch.until("default");
    }
    admin.ok(&words("listener add second --address 127.0.0.1:8099 --no-wait"));
    for watch in &mut watches {
        watch.until("second");
    }
    let [json, lines, yaml] = watches.map(Watch::end);
    assert_eq!(count(&json), 2, "{json}");
    assert_eq!(count(&lines), 3, "{lines}");
    assert!(lines.lines().count() == 3, "{lines}");
    assert!(yaml.contains("\n---\n"), "{yaml}");
}
