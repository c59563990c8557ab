//! man: pages of all commands.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Ctl;

/// The pages in a folder below `home`, once they are written there.
fn written(home: &Path, folder: &str) -> BTreeMap<String, String> {
    let ran = Ctl::new(home, &["man", "--dir", folder]).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let entries = std::fs::read_dir(home.join(folder)).expect("folder");
    let page = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("entry");
        let text = std::fs::read_to_string(entry.path()).expect("text");
        (entry.file_name().into_string().expect("UTF-8"), text)
    };
    let pages: BTreeMap<String, String> = entries.map(page).collect();
    assert_eq!(ran.stdout, format!("{} pages written to {folder}\n", pages.len()));
    pages
}

/// The commands that a page of help lists.
fn listed(home: &Path, words: &[&str]) -> Vec<String> {
    let help = Ctl::new(home, &[words, &["--help"]].concat()).run().stdout;
    let Some((_, rest)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

#[test]
fn each_command_has_a_page() {
    let home = tempfile::tempdir().expect("folder");
    let pages = written(home.path(), "new/man1");
    let mut wanted = vec!["pigeon-ctl.1".to_owned()];
    for command in listed(home.path(), &[]) {
        wanted.push(format!("pigeon-ctl-{command}.1"));
        let below = listed(home.path(), &[&command]);
        wanted.extend(below.iter().map(|sub| format!("pigeon-ctl-{command}-{sub}.1")));
    }
    for key in ["create", "list", "revoke"] {
        wanted.push(format!("pigeon-ctl-tenant-key-{key}.1"));
    }
    wanted.sort();
    assert!(wanted.len() > 40, "{wanted:?}");
    assert_eq!(pages.keys().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    for (file, text) in &pages {
        let title = format!(".TH {} 1", file.trim_end_matches(".1"));
        assert!(text.contains(&title), "{file}: {text}");
    }
    assert!(pages["pigeon-ctl-engine-add.1"].contains("queue\\-timeout"));
}

#[test]
fn the_pages_are_the_same_every_time() {
    let home = tempfile::tempdir().expect("folder");
    let first = written(home.path(), "a");
    assert_eq!(first, written(home.path(), "b"));
    assert_eq!(first, written(home.path(), "b"));
    let printed =
        Ctl::new(home.path(), &["man"]).env("PIGEON_OUTPUT", "json").env("COLUMNS", "40").run();
    assert_eq!((printed.code, printed.stdout), (0, first["pigeon-ctl.1"].clone()));
}

#[test]
fn examples_keep_their_lines() {
    let home = tempfile::tempdir().expect("folder");
    let pages = written(home.path(), "a");
    let lint = &pages["pigeon-ctl-lint.1"];
    assert!(
        lint.contains(".SH NOTES\n.nf\nExamples:\n  pigeon\\-ctl lint \\-f gateway.yaml\n"),
        "{lint}"
    );
    assert!(!lint.contains(".SH EXTRA"), "{lint}");
    let whole = &pages["pigeon-ctl.1"];
    for part in
        [".SH \"EXIT STATUS\"\n.nf\n", ".SH ENVIRONMENT\n.nf\n", "  PIGEON_TOKEN_FILE  file"]
    {
        assert!(whole.contains(part), "{part}: {whole}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = tempfile::tempdir().expect("folder");
    std::fs::write(home.path().join("file"), "").expect("write");
    let ran = Ctl::new(home.path(), &["man", "--dir", "file"]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("cannot write file: "), "{ran:?}");
}
