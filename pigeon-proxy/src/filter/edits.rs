//! What a route changes of a call on its way to the engine and of the answer on its way back. It decides nothing:
//! transports apply it once a call goes to an engine.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pigeon_proto::model::{self, PathPattern, PathRewrite, Rewrite, Route};

/// The edits of a route.
#[derive(Debug)]
pub struct Edits {
    /// Unique in this process: what was made with other edits does not hold for these.
    pub id: u64,
    said: Said,
    /// Of the request's headers.
    pub request: HeaderEdits,
    /// Of the headers of the engine's answer.
    pub response: HeaderEdits,
    path: Option<NewPath>,
    /// The host that the engine gets instead of the caller's.
    pub host: Option<HeaderValue>,
}

/// What the route says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    request: model::HeaderEdits,
    response: model::HeaderEdits,
    rewrite: Option<Rewrite>,
    /// How much of a path the route matches.
    matched: usize,
}

#[derive(Debug)]
enum NewPath {
    Whole(String),
    /// In place of so many bytes.
    Prefix(String, usize),
    /// Of a gRPC method, which keeps its name.
    Service(String),
}

impl Edits {
    /// Those of `route`, if there are any. As long as they stay the same they are the same edits, so that what
    /// was worked out with them holds on.
    pub(super) fn new(route: &Route, before: Option<&Arc<Edits>>) -> Option<Arc<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let said = Said::of(route);
        let path = said.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
        let host = said.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_ref());
        if said.request.is_empty() && said.response.is_empty() && path.is_none() && host.is_none() {
            return None;
        }
        if let Some(before) = before.filter(|before| before.said == said) {
            return Some(Arc::clone(before));
        }
        let path = path.map(|path| match path {
            PathRewrite::Path(PathPattern::Exact(path)) => NewPath::Whole(path.clone()),
            PathRewrite::Path(PathPattern::Prefix(new)) => {
                NewPath::Prefix(new.clone(), said.matched)
            }
            PathRewrite::Grpc(grpc) if grpc.method.is_some() => NewPath::Whole(format!("/{grpc}")),
            PathRewrite::Grpc(grpc) => NewPath::Service(format!("/{grpc}")),
        });
        let host = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        Some(Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            request: HeaderEdits::new(&said.request),
            response: HeaderEdits::new(&said.response),
            path,
            host,
            said,
        }))
    }

    /// Path and query for the engine, if they are others than the caller's.
    pub fn target(&self, target: &str) -> Option<String> {
        let (path, query) = match target.find('?') {
            Some(at) => target.split_at(at),
            None => (target, ""),
        };
        // `*` of OPTIONS is no path.
        let new: Cow<'_, str> = match self.path.as_ref().filter(|_| path.starts_with('/'))? {
            NewPath::Whole(new) => new.into(),
            NewPath::Prefix(new, matched) => match (new.as_str(), path.get(*matched..)?) {
                ("", "") => "/".into(),
                (new, rest) => format!("{new}{rest}").into(),
            },
            NewPath::Service(service) => format!("{service}{}", &path[path.rfind('/')?..]).into(),
        };
        Some(format!("{new}{query}"))
    }
}

impl Said {
    fn of(route: &Route) -> Self {
        Self {
            request: route.request_headers.clone(),
            response: route.response_headers.clone(),
            rewrite: route.rewrite.clone(),
            matched: match &route.matches.path {
                Some(PathPattern::Prefix(prefix)) => prefix.len(),
                _ => 0,
            },
        }
    }
}

/// What is dropped of a list of headers, and what then added.
#[derive(Debug)]
pub struct HeaderEdits {
    /// As [`fold`] writes them.
    drop: Vec<Box<[u8]>>,
    put: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    fn new(edits: &model::HeaderEdits) -> Self {
        let drop = edits.remove.iter().chain(edits.set.keys());
        let drop = drop.map(|name| name.bytes().map(fold).collect()).collect();
        let put = edits.set.iter().chain(&edits.add).filter_map(|(name, value)| {
            // The model takes only what is a header.
            let name: HeaderName = name.parse().ok()?;
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive([AUTHORIZATION, COOKIE, SET_COOKIE].contains(&name));
            Some((name, value))
        });
        Self { drop, put: put.collect() }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.put.is_empty()
    }

    /// Whether a header goes no further.
    pub fn drops(&self, name: &[u8]) -> bool {
        let same = |drop: &[u8]| {
            drop.len() == name.len() && drop.iter().copied().eq(name.iter().copied().map(fold))
        };
        self.drop.iter().any(|drop| same(drop))
    }

    /// What is added.
    pub fn put(&self) -> &[(HeaderName, HeaderValue)] {
        &self.put
    }

    /// Edits a map.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let gone = headers.keys().filter(|name| self.drops(name.as_str().as_bytes()));
        let gone: Vec<HeaderName> = gone.cloned().collect();
        for name in gone {
            headers.remove(name);
        }
        for (name, value) in &self.put {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Many servers hand `x_user` and `x-user` to their programs as one: a caller must not say by the one what the
/// gateway says by the other.
fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

#[cfg(test)]
mod tests {
    use pigeon_proto::model::{Kind, Spec};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn edits_of(mut spec: Value, before: Option<&Arc<Edits>>) -> Option<Arc<Edits>> {
        spec["engine"] = json!("e");
        match Spec::from_json(Kind::Route, spec).expect("a route") {
            Spec::Route(route) => Edits::new(&route, before),
            other => panic!("{other:?}"),
        }
    }

    fn edits(spec: Value) -> Arc<Edits> {
        edits_of(spec, None).expect("edits")
    }

    #[test]
    fn a_route_without_edits_has_none() {
        assert!(edits_of(json!({}), None).is_none());
        assert!(edits_of(json!({"request_headers": {"set": {}}, "rewrite": {}}), None).is_none());
    }

    #[test]
    fn edits_are_the_same_until_they_change() {
        let set = |value: &str| json!({"request_headers": {"set": {"x": value}}});
        let first = edits(set("1"));
        let again = edits_of(set("1"), Some(&first)).expect("edits");
        assert!(Arc::ptr_eq(&first, &again));
        let other = edits_of(set("2"), Some(&first)).expect("edits");
        assert_ne!(other.id, first.id);
        // The same words for another match are another path.
        let of = |path: &str| json!({"match": {"path": path}, "rewrite": {"path": "/n*"}});
        let (a, b) = (edits(of("/a*")), edits_of(of("/ab*"), None).expect("edits"));
        assert!(!Arc::ptr_eq(&b, &edits_of(of("/a*"), Some(&b)).expect("edits")));
        assert_eq!(
            (a.target("/a/x"), b.target("/ab/x")),
            (Some("/n/x".into()), Some("/n/x".into()))
        );
    }

    #[test]
    fn paths_are_rewritten_and_queries_kept() {
        for (matches, path, target, wanted) in [
            (json!({"path": "/old"}), "/new", "/old?a=/b", "/new?a=/b"),
            (json!({"path": "/old*"}), "/v2*", "/old/x/y?q", "/v2/x/y?q"),
            (json!({"path": "/old*"}), "/v2/*", "/old", "/v2"),
            (json!({"path": "/old*"}), "/*", "/old", "/"),
            (json!({"path": "/old*"}), "/*", "/old/", "/"),
            (json!({"path": "/*"}), "/v2*", "/", "/v2/"),
            (json!({}), "/v2*", "/x", "/v2/x"),
            (json!({"grpc": "a.B"}), "c.D", "/a.B/M", "/c.D/M"),
            (json!({"grpc": "a.B"}), "c.D/N", "/a.B/M", "/c.D/N"),
        ] {
            let edits = edits(json!({"match": matches, "rewrite": {"path": path}}));
            assert_eq!(edits.target(target).as_deref(), Some(wanted), "{path} {target}");
        }
        assert_eq!(edits(json!({"rewrite": {"path": "/v2*"}})).target("*"), None);
        assert_eq!(edits(json!({"rewrite": {"host": "b"}})).target("/x"), None);
    }

    #[test]
    fn headers_are_removed_then_set_then_added() {
        let edits = edits(json!({"request_headers": {
            "remove": ["gone"], "set": {"one": "1", "two": "2"}, "add": {"two": "3", "gone": "4"}
        }}));
        let sent = ["gone", "one", "one", "kept", "two"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("theirs")));
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(name, value);
        }
        edits.request.apply(&mut headers);
        let all = |name: &str| -> Vec<_> {
            headers.get_all(name).iter().map(|v| v.to_str().expect("text")).collect()
        };
        assert_eq!((all("gone"), all("one"), all("kept")), (vec!["4"], vec!["1"], vec!["theirs"]));
        assert_eq!(all("two"), ["2", "3"]);
    }

    proptest! {
        /// Whatever a caller sends, what is set is there once, with the value of the route, under no other
        /// spelling.
        #[test]
        fn no_caller_says_what_is_set(
            sent in prop::collection::vec(("x[-_]us?er", "[a-z]{0,3}"), 0..6)
        ) {
            let edits = edits(json!({"request_headers": {"set": {"x-user": "gateway"}}}));
            let mut headers = HeaderMap::new();
            for (name, value) in &sent {
                let name: HeaderName = name.parse().expect("a name");
                headers.append(name, value.parse().expect("a value"));
            }
            edits.request.apply(&mut headers);
            let folded = headers.iter().filter(|(name, _)| name.as_str().replace('_', "-") == "x-user");
            let values: Vec<_> = folded.map(|(_, value)| value.clone()).collect();
            prop_assert_eq!(values, [HeaderValue::from_static("gateway")]);
        }

        /// The rest of a path and its query stay byte by byte.
        #[test]
        fn what_is_kept_is_kept(rest in "(/[a-z%.*;=]{0,4}){0,4}", query in "(\\?[a-z/?=&]{0,6})?") {
            let edits = edits(json!({"match": {"path": "/old*"}, "rewrite": {"path": "/new*"}}));
            let target = edits.target(&format!("/old{rest}{query}"));
            prop_assert_eq!(target, Some(format!("/new{rest}{query}")));
        }
    }
}
