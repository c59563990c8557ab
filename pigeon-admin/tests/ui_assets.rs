//! The dashboard's files hold together: every import resolves, nothing is loaded from elsewhere, vendored
//! files are the ones recorded, every REST path exists, and all of it stays small.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// All files that a browser may load, together, uncompressed.
const BUDGET_BYTES: usize = 120 * 1024;

/// What may follow `http://`: the names of XML vocabularies (never fetched), and commands shown as text.
const NOT_LOADED: [&str; 2] = ["www.w3.org/", "${host}"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui")
}

/// Paths under the folder, with `/`, of the files a browser loads.
fn assets() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(folder().join(&dir)).expect("the folder can be read") {
            let entry = entry.expect("the folder can be read");
            let path = dir.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else if ["js", "css", "html", "svg"]
                .iter()
                .any(|e| path.extension().is_some_and(|x| x == *e))
            {
                found.insert(path.to_str().expect("file names are UTF-8").to_owned());
            }
        }
    }
    assert!(found.contains("index.html") && found.contains("app.js"), "{found:?}");
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn scripts() -> Vec<String> {
    assets().into_iter().filter(|p| p.ends_with(".js")).collect()
}

/// The texts that stand in quotes directly after `word` (and blanks or a parenthesis).
fn quoted_after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.split(word)
        .skip(1)
        .filter_map(|rest| {
            let rest = rest.trim_start_matches([' ', '(']);
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            rest[1..].split_once(quote).map(|(inside, _)| inside)
        })
        .collect()
}

fn imports(text: &str) -> Vec<&str> {
    [quoted_after(text, "from"), quoted_after(text, "import")].concat()
}

/// `./b.js` seen from `a/c.js` is `a/b.js`; `None` if it leaves the folder or is no relative path.
fn resolve(from: &str, import: &str) -> Option<String> {
    if !import.starts_with("./") && !import.starts_with("../") {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in Path::new(import).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[test]
fn import_reader_sees_every_form() {
    let text = "import a from \"./a.js\";import{b}from'./b.js';\nimport \"./c.js\"; await import(\"./d.js\")";
    let mut found = imports(text);
    found.sort_unstable();
    assert_eq!(found, ["./a.js", "./b.js", "./c.js", "./d.js"]);
    assert_eq!(resolve("vendor/hooks.js", "./preact.js").as_deref(), Some("vendor/preact.js"));
    assert_eq!(resolve("vendor/hooks.js", "../html.js").as_deref(), Some("html.js"));
    assert_eq!(resolve("app.js", "../secret.js"), None);
    assert_eq!(resolve("app.js", "preact"), None);
}

#[test]
fn every_import_is_a_file_of_the_folder() {
    let assets = assets();
    for script in scripts() {
        for import in imports(&read(&script)) {
            let target = resolve(&script, import);
            assert!(
                target.as_ref().is_some_and(|t| assets.contains(t)),
                "{script} imports \"{import}\", which is not a file of the folder"
            );
        }
    }
}

#[test]
fn every_script_is_reached_and_preloaded() {
    let assets = assets();
    let page = read("index.html");
    let linked: BTreeSet<String> = [quoted_after(&page, "href="), quoted_after(&page, "src=")]
        .concat()
        .iter()
        .map(|s| s.to_string())
        .collect();
    for path in &linked {
        assert!(assets.contains(path), "index.html loads {path}, which does not exist");
    }
    let mut reached = BTreeSet::new();
    let mut open = vec!["app.js".to_owned()];
    while let Some(script) = open.pop() {
        if reached.insert(script.clone()) {
            open.extend(imports(&read(&script)).iter().filter_map(|i| resolve(&script, i)));
        }
    }
    let scripts: BTreeSet<String> = scripts().into_iter().collect();
    assert_eq!(reached, scripts, "left: what app.js reaches; right: the scripts in the folder");
    let forgotten: Vec<_> = scripts.difference(&linked).collect();
    assert!(forgotten.is_empty(), "index.html does not preload {forgotten:?}");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for path in assets() {
        let text = read(&path);
        for scheme in ["http://", "https://", "wss://", "ws://"] {
            for rest in text.split(scheme).skip(1) {
                let allowed = NOT_LOADED.iter().any(|a| rest.starts_with(a));
                let shown: String = rest.chars().take(40).collect();
                assert!(allowed, "{path} refers to {scheme}{shown}");
            }
        }
        for reference in ["=\"//", "='//", "@import", "url("] {
            assert!(!text.contains(reference), "{path} contains {reference}");
        }
    }
}

#[test]
fn nothing_that_the_content_security_policy_forbids() {
    let page = read("index.html");
    for tag in page.split("<script").skip(1) {
        let (attributes, rest) = tag.split_once('>').expect("the tag ends");
        assert!(attributes.contains("src="), "an inline script in index.html");
        assert!(rest.starts_with("</script>"), "text inside a script tag of index.html");
    }
    for path in assets().iter().filter(|p| !p.starts_with("vendor/") && !p.ends_with(".css")) {
        let text = read(path);
        for bad in [
            "<style",
            " style=",
            "javascript:",
            "eval(",
            "new Function",
            "innerHTML",
            "dangerouslySet",
        ] {
            assert!(!text.contains(bad), "{path} contains {bad}");
        }
    }
    for handler in [" onclick=", " onload=", " onerror=", " onsubmit="] {
        assert!(!page.contains(handler), "index.html contains {handler}");
    }
}

/// The tables of VENDOR.toml as lists of key and value; it is kept to one `key = "value"` a line.
fn vendored() -> Vec<Vec<(String, String)>> {
    let mut files: Vec<Vec<(String, String)>> = Vec::new();
    for line in read("vendor/VENDOR.toml").lines().map(str::trim) {
        if line == "[[file]]" {
            files.push(Vec::new());
        } else if !line.is_empty() && !line.starts_with('#') {
            let (key, value) =
                line.split_once(" = ").unwrap_or_else(|| panic!("VENDOR.toml: {line}"));
            let file = files.last_mut().expect("a [[file]] line comes first");
            file.push((key.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    files
}

#[test]
fn vendored_files_are_the_recorded_ones() {
    let mut recorded = BTreeSet::new();
    for file in vendored() {
        let get = |key: &str| {
            let found = file.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
            found.unwrap_or_else(|| panic!("VENDOR.toml: {key} is missing in {file:?}"))
        };
        let path = format!("vendor/{}", get("path"));
        let content = fs::read(folder().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let sum: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(sum, get("sha256"), "{path} is not the file that VENDOR.toml records");
        for key in ["name", "version", "licence", "from", "changes"] {
            assert!(!get(key).is_empty(), "{key} of {path} is empty");
        }
        assert!(
            read(&format!("vendor/{}", get("licence_file"))).len() > 500,
            "no licence text for {path}"
        );
        recorded.insert(path);
    }
    let present: BTreeSet<String> =
        scripts().into_iter().filter(|p| p.starts_with("vendor/")).collect();
    assert_eq!(recorded, present, "left: recorded; right: in the folder");
}

#[test]
fn all_files_together_stay_within_the_budget() {
    let size: usize = assets().iter().map(|p| read(p).len()).sum();
    assert!(size <= BUDGET_BYTES, "{size} bytes, the budget is {BUDGET_BYTES}");
}

#[test]
fn every_rest_path_exists() {
    let used: BTreeSet<String> = scripts()
        .iter()
        .flat_map(|p| read(p).split('"').map(str::to_owned).collect::<Vec<_>>())
        .filter(|s| s.starts_with("/v1/"))
        .collect();
    assert!(used.contains("/v1/stream") && used.contains("/v1/sessions"), "{used:?}");
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let Ok(text) = fs::read_to_string(&reference) else {
        return; // Without the reference there is nothing to compare with; its own test misses it.
    };
    let reference: Value = serde_json::from_str(&text).expect("docs/openapi.json is JSON");
    for path in used {
        assert!(reference["paths"].get(&path).is_some(), "{path} is not in docs/openapi.json");
    }
}
