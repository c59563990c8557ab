//! h2spec, the conformance tests of HTTP/2, case by case against a running proxy with an engine behind.
//!
//! docs/h2spec.md lists every case and its result; `UPDATE=1` writes it again. Every case must pass
//! over both transports.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pigeon_e2e::{Cluster, Transport, programs, tools};

const NAME: &str = "h2spec";

/// One case of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    section: String,
    title: String,
    /// What was expected and seen, of one that failed.
    fault: Option<String>,
}

impl Case {
    fn is(&self, other: &Case) -> bool {
        self.section == other.section && self.title == other.title
    }
}

/// How often a case may be run until it passes. Some begin a request and break a rule before they end it; on a
/// busy machine the engine's whole answer can be faster, and the stream is then reset with NO_ERROR (RFC 9113,
/// section 8.1) before the rule is broken.
const TRIES: usize = 3;

/// Runs h2spec against a proxy of its own.
fn run(program: &Path, transport: Transport, strict: bool) -> Vec<Case> {
    let cluster = Cluster::over(transport, 1, 1);
    // HTTP/2 on both sides.
    cluster.add_engine("demo", &["--protocol", "h2c"]);
    cluster.ctl.ok(&["route", "add", "hello", "--path", "/hello", "--engine", "demo"]);
    cluster.in_sync();
    let mut cases = once(program, &cluster, strict);
    for _ in 1..TRIES {
        if cases.iter().all(|case| case.fault.is_none()) {
            break;
        }
        let again = once(program, &cluster, strict);
        for case in cases.iter_mut().filter(|case| case.fault.is_some()) {
            if again.iter().any(|other| other.is(case) && other.fault.is_none()) {
                case.fault = None;
            }
        }
    }
    assert!(cases.len() > 140, "{} cases over {transport}", cases.len());
    cases
}

fn once(program: &Path, cluster: &Cluster, strict: bool) -> Vec<Case> {
    let report = cluster.dir.path().join("report.xml");
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--path", "/hello", "--timeout", "5"]);
    command.args(["--port", &cluster.proxies[0].address().port().to_string()]);
    command.arg("--junit-report").arg(&report);
    if strict {
        command.arg("--strict");
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = std::fs::read_to_string(&report)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    cases(&text)
}

/// The cases of a JUnit report as h2spec writes it: one element a line, no other nesting.
fn cases(report: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for element in report.split("<testcase ").skip(1) {
        let (head, rest) = element.split_once('>').unwrap();
        let own = rest.split("</testcase>").next().unwrap();
        let fault = (!own.trim().is_empty()).then(|| plain(own));
        cases.push(Case {
            section: attribute(head, "package"),
            title: attribute(head, "classname"),
            fault,
        });
    }
    cases
}

fn attribute(head: &str, name: &str) -> String {
    let value = head.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    plain(value.unwrap_or_else(|| panic!("no {name} in {head}")))
}

fn plain(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#xA;", " ")];
    let text = named.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

/// docs/h2spec.md.
fn page(plain: &[Case], strict: &[Case], results: &[(Transport, Vec<Case>)]) -> String {
    let mut page = String::from(
        "# HTTP/2 conformance\n\n\
         Every case of [h2spec](https://github.com/summerwind/h2spec), in strict mode too, against a \
         running proxy with an engine behind it that speaks HTTP/2. Written by \
         `UPDATE=1 cargo test -p pigeon-e2e --test scenarios h2spec`; the same test without `UPDATE` \
         fails when a result is another one.\n\n",
    );
    let _ = writeln!(page, "{} cases, {} of them in strict mode only.\n", strict.len(), {
        strict.iter().filter(|case| !plain.iter().any(|other| other.is(case))).count()
    });
    let columns: Vec<String> =
        results.iter().map(|(transport, _)| format!("over {transport}")).collect();
    let _ = writeln!(page, "| section | case | {} |", columns.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(columns.len()));
    for case in strict {
        let results = results.iter().map(|(_, cases)| {
            let found = cases.iter().find(|other| other.is(case));
            match found.map(|case| &case.fault) {
                Some(None) => "pass",
                Some(Some(_)) => "fail",
                None => "not run",
            }
        });
        let results: Vec<&str> = results.collect();
        let title = case.title.replace('|', "\\|");
        let _ = writeln!(page, "| {} | {title} | {} |", case.section, results.join(" | "));
    }
    page
}

/// Fails with every case that does not pass.
fn check(what: &str, cases: &[Case]) {
    let faults = cases.iter().filter_map(|case| {
        let fault = case.fault.as_ref()?;
        Some(format!("{} {}: {fault}", case.section, case.title))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn every_case_passes_over_both_transports() {
    let Some(program) = tools::go("h2spec") else {
        return tools::skip(NAME, "h2spec", tools::GO_INSTALL);
    };
    let plain = run(&program, Transport::Relay, false);
    check("over relay", &plain);
    let results =
        [Transport::Relay, Transport::Hyper].map(|over| (over, run(&program, over, true)));
    for (transport, cases) in &results {
        check(&format!("over {transport}, strict"), cases);
    }
    let page = page(&plain, &results[0].1, &results);
    let file: PathBuf = programs::repository().join("docs/h2spec.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == page, "docs/h2spec.md is not what was seen; UPDATE=1 writes it again");
}

/// The report is read as it is meant: a case without a fault passes, and only that one.
#[test]
fn a_report_is_read_right() {
    let report = r#"<testsuite name="1. Starting" package="generic/1" id="1" tests="2">
    <testcase package="generic/1" classname="Sends &#34;x&#34; &amp; y" time="0.0011"></testcase>
    <testcase package="generic/1" classname="Sends z" time="5.0"><failure>Expected: a&#xA;Actual: b</failure></testcase>
  </testsuite>"#;
    let cases = cases(report);
    assert_eq!(cases.len(), 2);
    assert_eq!((cases[0].title.as_str(), &cases[0].fault), ("Sends \"x\" & y", &None));
    assert!(cases[1].fault.as_deref().is_some_and(|fault| fault.contains("Actual: b")));
}
