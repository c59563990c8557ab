//! Serves the dashboard: the files of `src/ui/`, part of the program, under `/ui/`. They are a client of
//! the REST API like any other and know nothing that it does not tell them.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// What the pages may load and do: their own files, their own API, nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; font-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'",
);

/// One file: its path below `/ui/`, and what is in it.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        // A file that is missing is an error of the compiler.
        [$(($path, include_bytes!(concat!("ui/", $path)).as_slice())),*]
    };
}

/// Every file there is; a test compares it with the directory.
const FILES: &[File] = &files![
    "app.js",
    "attention.js",
    "changes.js",
    "engines.js",
    "history.js",
    "html.js",
    "icon.svg",
    "index.html",
    "live.js",
    "login.js",
    "overview.js",
    "parts.js",
    "problems.js",
    "proxies.js",
    "rest.js",
    "routes.js",
    "style.css",
    "vendor/LICENSE-htm.txt",
    "vendor/LICENSE-preact.txt",
    "vendor/hooks.js",
    "vendor/htm.js",
    "vendor/preact.js",
    "words.js",
];

/// `/ui/` and its files; `/` and `/ui` lead there. Nothing else is there: an unknown file is not the page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let to_page = || get(|| async { Redirect::permanent("/ui/") });
    let mut router = Router::new().route("/", to_page()).route("/ui", to_page());
    for &(path, content) in FILES {
        let path = if path == "index.html" { "" } else { path };
        let (media, tag) = (media_type(path), entity_tag(content));
        let serve = move |headers: HeaderMap| {
            let answer = serve(content, media, &tag, &headers);
            async move { answer }
        };
        router = router.route(&format!("/ui/{path}"), get(serve));
    }
    router
}

fn serve(
    content: &'static [u8],
    media: &'static str,
    tag: &HeaderValue,
    headers: &HeaderMap,
) -> Response {
    let mut response = if is_known(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let media = HeaderValue::from_static(media);
        ([(header::CONTENT_TYPE, media)], Bytes::from_static(content)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.clone());
    // Kept, but asked after each time: the page and its parts are always of one version.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether the caller has the file already (weak comparison, RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|given| {
        given == "*" || given.strip_prefix("W/").unwrap_or(given).as_bytes() == tag.as_bytes()
    })
}

/// The SHA-256 of a file as its entity tag.
fn entity_tag(content: &[u8]) -> HeaderValue {
    let mut text = String::from("\"");
    for byte in Sha256::digest(content) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("html", |(_, end)| end) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The files of a directory and those below it, as paths relative to `root`.
    fn below(dir: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                below(&path, root, found);
            } else {
                let path = path.strip_prefix(root).expect("below the root");
                found.push(path.to_str().expect("text").to_owned());
            }
        }
    }

    #[test]
    fn every_file_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui");
        let mut found = Vec::new();
        below(&root, &root, &mut found);
        // Where the vendored files come from; for people and tests.
        found.retain(|f| f != "vendor/VENDOR.toml");
        found.sort();
        let served: Vec<_> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(served, found, "list exactly the files of src/ui in ui.rs");
    }

    #[test]
    fn tags_are_compared() {
        let tag = entity_tag(b"x");
        let text = tag.to_str().expect("text").to_owned();
        let known = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, value.parse().expect("a value"));
            is_known(&headers, &tag)
        };
        for value in [text.clone(), format!("W/{text}"), format!("\"a\", {text}"), "*".into()] {
            assert!(known(&value), "{value}");
        }
        assert!(!known("\"a\"") && !is_known(&HeaderMap::new(), &tag));
    }
}
