//! Style as a test: the fences of ARCHITECTURE.md, file headers, sizes, links, examples.
//!
//! Needs nothing but the sources, so it is the quickest of all tests: `cargo test -p pigeon-e2e --test tidy`.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pigeon_e2e::programs::repository;
use pigeon_proto::model::{Snapshot, Versioned, document, validate};

/// Never ours, or not text.
const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", "__pycache__", "vendor", ".venv"];
/// The hard limit of a file; the aim is 100 to 200.
const MOST_LINES: usize = 800;

struct File {
    /// From the top of the repository.
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("e2e/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }

    /// The code that ships: without comments and without the tests at the end.
    fn code(&self) -> String {
        let shipped = self.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Every text file of the repository.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if SKIPPED.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
                files.push(File { path, text });
            }
        }
    }
    assert!(files.len() > 100, "the repository is not at {}", repository().display());
    files
}

fn rust() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.is("rs"))
}

/// Fails with all faults, one per line.
fn none(what: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

/// Whether `code` has `word` as a whole word of a path or a name.
fn mentions(code: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let open_end = !word.chars().next_back().is_some_and(inside);
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let joined = before.is_some_and(|c| inside(c) || ":.\"-".contains(c));
        let goes_on = after.is_some_and(inside);
        !joined && (open_end || !goes_on)
    })
}

/// Where a word may stand: in files whose path begins with, or in some folder is, one of these.
struct Fence {
    words: &'static [&'static str],
    only_in: &'static [&'static str],
}

const FENCES: [Fence; 8] = [
    Fence { words: &["sqlx::"], only_in: &["pigeon-admin/src/store"] },
    Fence {
        words: &["axum::"],
        only_in: &[
            "pigeon-admin/src/api",
            "pigeon-admin/src/ui",
            "pigeon-proxy/src/status",
            "deploy/demo-engine/",
        ],
    },
    Fence {
        words: &["tonic::transport::Server", "tonic::transport::server", "config_server"],
        only_in: &["pigeon-admin/src/stream", "deploy/demo-engine/"],
    },
    Fence { words: &["clap::"], only_in: &["*/src/args", "*/src/main.rs", "pigeon-ctl/src/cli"] },
    Fence {
        words: &["pigeon_proto::v1", "crate::v1", "v1::"],
        only_in: &[
            "proto/src/model",
            "pigeon-admin/src/stream",
            "pigeon-admin/src/publisher",
            "pigeon-proxy/src/config",
            "bench/src/subscribers",
        ],
    },
    Fence { words: &["prometheus::"], only_in: &["*/src/metrics"] },
    Fence {
        words: &["pigeon_admin::", "pigeon_proxy::", "pigeon_demo_engine::"],
        only_in: &[
            "pigeon-ctl/src/dev",
            "*/src/main.rs",
            "deploy/demo-engine/",
            "bench/benches/",
            "pigeon-proxy/examples/",
        ],
    },
    Fence { words: &["pigeon_ctl::"], only_in: &["pigeon-ctl/src/main.rs"] },
];

fn allowed(path: &str, only_in: &[&str]) -> bool {
    only_in.iter().any(|place| match place.strip_prefix('*') {
        Some(rest) => path
            .split_once('/')
            .is_some_and(|(_, below)| format!("/{below}").starts_with(rest) || path.contains(rest)),
        None => path.starts_with(place),
    })
}

#[test]
fn words_stay_within_their_fences() {
    let mut faults = Vec::new();
    for file in rust().filter(|file| !file.is_test() && !file.path.ends_with("build.rs")) {
        let code = file.code();
        for fence in FENCES.iter().filter(|fence| !allowed(&file.path, fence.only_in)) {
            for word in fence.words.iter().filter(|word| mentions(&code, word)) {
                faults.push(format!("{}: {word} belongs in {:?}", file.path, fence.only_in));
            }
        }
    }
    none("ARCHITECTURE.md, \"Who may know whom\"", faults);
}

/// What a part of the code must not know at all.
const STRANGERS: [(&str, &[&str]); 13] = [
    ("pigeon-proxy/src/filter", &CARRIERS),
    ("pigeon-proxy/src/limit", &CARRIERS),
    ("pigeon-proxy/src/table", &CARRIERS),
    ("pigeon-proxy/src/admit", &CARRIERS),
    ("pigeon-proxy/src/engine", &CARRIERS),
    ("pigeon-proxy/src/retry", &CARRIERS),
    ("pigeon-proxy/src/grpc", &CARRIERS),
    ("pigeon-proxy/src/reject", &CARRIERS),
    ("pigeon-proxy/src/record", &CARRIERS),
    ("pigeon-proxy/src/transcode", &CARRIERS),
    ("pigeon-proxy/src/h2", &["tokio", "hyper", "crate", "std::net", "std::time", "async"]),
    ("pigeon-proxy/src/http1", &["tokio", "hyper", "crate", "std::net", "std::time", "async"]),
    ("proto/src/model", &["tokio", "tonic", "hyper", "std::fs", "std::env", "async"]),
];
const CARRIERS: [&str; 9] = [
    "hyper",
    "hyper_util",
    "h2",
    "axum",
    "tonic",
    "socket2",
    "tokio::net",
    "std::net::TcpStream",
    "SystemTime::now",
];

#[test]
fn the_deciding_parts_know_nothing_of_what_carries() {
    let mut faults = Vec::new();
    let mut seen = [0; STRANGERS.len()];
    for file in rust().filter(|file| !file.is_test()) {
        let code = file.code();
        for (n, (part, strangers)) in STRANGERS.iter().enumerate() {
            let below = file.path.strip_prefix(part);
            if !below.is_some_and(|rest| rest.starts_with('/') || rest == ".rs") {
                continue;
            }
            seen[n] += 1;
            for stranger in strangers.iter().filter(|word| mentions(&code, word)) {
                faults.push(format!("{}: knows {stranger}", file.path));
            }
        }
    }
    none("ARCHITECTURE.md, \"Who may know whom\"", faults);
    assert!(seen.iter().all(|count| *count > 0), "a part moved: {seen:?} files of {STRANGERS:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let faults = files().into_iter().filter_map(|file| {
        let first = file.text.lines().find(|line| !line.starts_with("#!/")).unwrap_or("");
        let wanted: &[&str] = match Path::new(&file.path).extension()?.to_str()? {
            "rs" => &["//! "],
            "sql" => &["-- "],
            "proto" => &["// "],
            "py" => &["\"\"\""],
            "js" | "mjs" => &["// ", "/*"],
            _ => return None,
        };
        let said =
            wanted.iter().any(|start| first.starts_with(start) && first.len() > start.len() + 4);
        (!said).then(|| format!("{}: {first:?}", file.path))
    });
    none("the first line says what the file is for", faults.collect());
}

#[test]
fn files_are_short_and_well_named() {
    const VAGUE: [&str; 8] =
        ["util", "utils", "common", "helper", "helpers", "manager", "misc", "mod"];
    let mut faults = Vec::new();
    for file in files() {
        let lines = file.text.lines().count();
        let counts = ["rs", "js", "mjs", "py", "css", "proto", "sql"].iter().any(|e| file.is(e));
        if counts && lines > MOST_LINES && !file.is_test() {
            faults.push(format!("{}: {lines} lines; the limit is {MOST_LINES}", file.path));
        }
        let stem = Path::new(&file.path).file_stem().unwrap().to_str().unwrap();
        if file.is("rs") && VAGUE.contains(&stem) {
            faults.push(format!("{}: the name says nothing", file.path));
        }
    }
    none("sizes and names", faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let mut faults = Vec::new();
    for file in rust() {
        for (n, line) in file.text.lines().enumerate() {
            for found in macros.iter().filter(|name| line.contains(name.as_str())) {
                faults.push(format!("{}:{}: {found}", file.path, n + 1));
            }
        }
    }
    none("left unfinished", faults);
}

/// What works on one machine only has no place in the repository.
#[test]
fn no_path_of_somebodys_machine() {
    let places = ["root", "home", "work", "Users"].map(|top| format!("/{top}/"));
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (n, line) in file.text.lines().enumerate() {
            for place in &places {
                let paths = line.match_indices(place.as_str());
                let starts = |at: usize| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || ".-_*~}>".contains(c))
                };
                if paths.into_iter().any(|(at, _)| starts(at)) {
                    faults.push(format!("{}:{}: {place}", file.path, n + 1));
                }
            }
        }
    }
    none("absolute paths", faults);
}

#[test]
fn links_of_the_documents_resolve() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.is("md")) {
        let from = Path::new(&file.path).parent().unwrap();
        for link in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = match target {
                "" => repository().join(&file.path),
                _ => repository().join(from).join(target),
            };
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if !path.exists() {
                faults.push(format!("{}: {link}", file.path));
            } else if !heading.is_empty() && !headings(&text).contains(&heading.to_owned()) {
                faults.push(format!("{}: {link}: no such heading", file.path));
            }
        }
    }
    none("links that lead nowhere", faults);
}

/// As the usual viewers make anchors of headings.
fn headings(markdown: &str) -> Vec<String> {
    let lines = markdown.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    lines.map(anchor).collect()
}

#[test]
fn every_error_code_is_documented_and_every_documented_one_exists() {
    let codes = |text: &str| -> Vec<String> {
        let found = text.match_indices("PGN-").filter_map(|(at, _)| text.get(at..at + 8));
        found
            .filter(|code| code[5..].chars().all(|c| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    };
    let documented = codes(&std::fs::read_to_string(repository().join("docs/errors.md")).unwrap());
    let mut used = Vec::new();
    for file in rust().filter(|file| !file.is_test()) {
        used.extend(codes(&file.code()).into_iter().map(|code| (code, file.path.clone())));
    }
    assert!(used.len() > 15, "{used:?}");
    let missing = used.iter().filter(|(code, _)| !documented.contains(code));
    let mut faults: Vec<String> =
        missing.map(|(code, path)| format!("{code} of {path} is not in docs/errors.md")).collect();
    let unused = documented.iter().filter(|code| !used.iter().any(|(other, _)| other == *code));
    faults.extend(unused.map(|code| format!("{code} of docs/errors.md is nowhere in the code")));
    faults.dedup();
    none("error codes", faults);
}

#[test]
fn every_example_is_a_valid_configuration() {
    let standard = "kind: listener\nname: default\nspec: {address: '127.0.0.1:8080'}\n";
    let mut count = 0;
    for file in files().iter().filter(|file| file.path.starts_with("deploy/examples/")) {
        count += 1;
        let objects =
            document::parse(&file.text).unwrap_or_else(|errors| panic!("{}: {errors}", file.path));
        let all = document::parse(standard).unwrap().into_iter().chain(objects);
        let version = |object: pigeon_proto::model::Object| {
            (object.key, Versioned { mod_revision: 1, spec: Arc::new(object.spec) })
        };
        let snapshot = Snapshot { revision: 1, objects: all.map(version).collect() };
        validate(&snapshot).unwrap_or_else(|errors| panic!("{}: {errors}", file.path));
        assert!(file.text.starts_with("# "), "{}: the first line says what it is for", file.path);
    }
    assert!(count >= 4, "{count} examples");
}

/// The checks themselves can fail.
#[test]
fn a_word_is_found_where_it_is_and_only_there() {
    for (code, word, wanted) in [
        ("use sqlx::Row;", "sqlx::", true),
        ("let x = sqlx::query(a);", "sqlx::", true),
        ("use my_sqlx::Row;", "sqlx::", false),
        ("use hyper_util::x;", "hyper", false),
        ("use hyper::Body;", "hyper", true),
        ("fn f(h2: u8)", "h2", true),
        ("demo::v1::Ping", "v1::", false),
        ("v1::Route", "v1::", true),
        ("async fn f()", "async", true),
        ("\"hyper\"", "hyper", false),
    ] {
        assert_eq!(mentions(code, word), wanted, "{word} in {code}");
    }
    assert!(allowed("pigeon-admin/src/store/read.rs", &["pigeon-admin/src/store"]));
    assert!(allowed("pigeon-proxy/src/args.rs", &["*/src/args.rs"]));
    assert!(allowed("deploy/demo-engine/src/args.rs", &["*/src/args.rs"]));
    assert!(!allowed("pigeon-proxy/src/table.rs", &["*/src/args.rs"]));
}
