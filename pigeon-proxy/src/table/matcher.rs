//! The matcher: which of many routes a call takes, at a cost that does not grow with their number.
//!
//! The order: host (exact, longest suffix, any), then gRPC method, gRPC service, exact path, longest
//! path prefix, no path; then methods set before unset, listener set before unset, higher priority. What
//! does not match in a more specific place is looked for in the less specific ones.

use std::borrow::Cow;
use std::collections::HashMap;

use pigeon_proto::model::{HostPattern, HttpMethod, Match, Name, PathPattern, Route};

use super::trie::Trie;

/// What of a call decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    /// The listener it came in on.
    pub listener: &'h Name,
    /// Its host: lower case, without port (see [`host_of`]); empty if it has none.
    pub host: &'h str,
    /// Its path, without the query.
    pub path: &'h str,
    /// Its HTTP method.
    pub method: &'h str,
    /// Whether it is a gRPC call.
    pub grpc: bool,
}

/// What was found for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'m, R> {
    /// This route.
    Route(&'m R),
    /// Routes that would take it, were it not for its method; the methods they take, sorted.
    MethodNotAllowed(Vec<&'m str>),
    /// None.
    NoRoute,
}

/// Routes, each with a value `R`, arranged for finding.
#[derive(Debug)]
pub struct Matcher<R> {
    exact: HashMap<String, HostRoutes<R>>,
    suffix: Trie<HostRoutes<R>>,
    any: HostRoutes<R>,
}

/// The routes of one host pattern.
#[derive(Debug)]
struct HostRoutes<R> {
    /// `service/method`.
    grpc_methods: HashMap<String, Candidates<R>>,
    grpc_services: HashMap<String, Candidates<R>>,
    paths: HashMap<String, Candidates<R>>,
    prefixes: Trie<Candidates<R>>,
    no_path: Candidates<R>,
}

/// The routes of one place, best first.
#[derive(Debug)]
struct Candidates<R>(Vec<Candidate<R>>);

#[derive(Debug)]
struct Candidate<R> {
    /// None = any.
    methods: Box<[HttpMethod]>,
    listener: Option<Name>,
    priority: i32,
    value: R,
}

impl<R> Default for HostRoutes<R> {
    fn default() -> Self {
        Self {
            grpc_methods: HashMap::new(),
            grpc_services: HashMap::new(),
            paths: HashMap::new(),
            prefixes: Trie::default(),
            no_path: Candidates::default(),
        }
    }
}

impl<R> Default for Candidates<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Matcher<R> {
    /// Arranges `routes`. Of two that nothing decides between, the first wins.
    pub fn new<'r>(routes: impl Iterator<Item = (&'r Route, R)>) -> Self {
        let mut matcher =
            Self { exact: HashMap::new(), suffix: Trie::default(), any: HostRoutes::default() };
        for (route, value) in routes {
            let m = &route.matches;
            let candidate = Candidate {
                methods: m.methods.clone().into(),
                listener: m.listener.clone(),
                priority: route.priority,
                value,
            };
            let host = match &m.host {
                Some(HostPattern::Exact(host)) => matcher.exact.entry(host.clone()).or_default(),
                Some(HostPattern::Suffix(host)) => matcher.suffix.entry(labels(host)),
                None => &mut matcher.any,
            };
            host.place(m).0.push(candidate);
        }
        matcher.exact.values_mut().for_each(HostRoutes::sort);
        matcher.suffix.values_mut().for_each(HostRoutes::sort);
        matcher.any.sort();
        matcher
    }

    /// The route of a call.
    pub fn find(&self, head: &Head<'_>) -> Found<'_, R> {
        match self.hosts(head.host).find_map(|host| host.find(head)) {
            Some(value) => Found::Route(value),
            None => self.missed(head),
        }
    }

    /// The routes of every pattern that takes `host`, most specific first.
    fn hosts<'s>(&'s self, host: &str) -> impl Iterator<Item = &'s HostRoutes<R>> {
        // `*.suffix` asks for at least one label more; without a dot there is no such pattern.
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let suffixes = parent.into_iter().flat_map(|parent| self.suffix.prefixes(labels(parent)));
        self.exact.get(host).into_iter().chain(suffixes).chain([&self.any])
    }

    /// Why nothing was found. Only for calls that fail, so cost matters less.
    #[cold]
    fn missed(&self, head: &Head<'_>) -> Found<'_, R> {
        let mut methods: Vec<&str> = self
            .hosts(head.host)
            .flat_map(|host| host.places(head))
            .flat_map(|place| place.0.iter())
            .filter(|c| c.takes_listener(head.listener))
            .flat_map(|c| c.methods.iter().map(HttpMethod::as_str))
            .collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() { Found::NoRoute } else { Found::MethodNotAllowed(methods) }
    }
}

impl<R> HostRoutes<R> {
    /// Where a route with this match belongs.
    fn place(&mut self, m: &Match) -> &mut Candidates<R> {
        match (&m.grpc, &m.path) {
            (Some(g), _) => match &g.method {
                Some(method) => {
                    self.grpc_methods.entry(format!("{}/{method}", g.service)).or_default()
                }
                None => self.grpc_services.entry(g.service.clone()).or_default(),
            },
            (None, Some(PathPattern::Exact(path))) => self.paths.entry(path.clone()).or_default(),
            (None, Some(PathPattern::Prefix(path))) => self.prefixes.entry(segments(path)),
            (None, None) => &mut self.no_path,
        }
    }

    /// The places whose routes match but for listener and method, most specific first.
    fn places<'s>(&'s self, head: &Head<'_>) -> impl Iterator<Item = &'s Candidates<R>> {
        let target = head.path.strip_prefix('/').filter(|_| head.grpc);
        let service = target.and_then(|t| t.rsplit_once('/')).map(|(service, _)| service);
        let method = target.and_then(|t| self.grpc_methods.get(t));
        let service = service.and_then(|s| self.grpc_services.get(s));
        let path = self.paths.get(head.path);
        let prefixes = self.prefixes.prefixes(segments(head.path));
        method.into_iter().chain(service).chain(path).chain(prefixes).chain([&self.no_path])
    }

    fn find(&self, head: &Head<'_>) -> Option<&R> {
        self.places(head).find_map(|place| place.find(head))
    }

    fn sort(&mut self) {
        let maps = [&mut self.grpc_methods, &mut self.grpc_services, &mut self.paths];
        for candidates in maps.into_iter().flat_map(HashMap::values_mut) {
            candidates.sort();
        }
        self.prefixes.values_mut().for_each(Candidates::sort);
        self.no_path.sort();
    }
}

impl<R> Candidates<R> {
    fn sort(&mut self) {
        self.0.sort_by_key(|c| {
            (c.methods.is_empty(), c.listener.is_none(), std::cmp::Reverse(c.priority))
        });
    }

    fn find(&self, head: &Head<'_>) -> Option<&R> {
        let takes =
            |c: &&Candidate<R>| c.takes_listener(head.listener) && c.takes_method(head.method);
        self.0.iter().find(takes).map(|c| &c.value)
    }
}

impl<R> Candidate<R> {
    fn takes_listener(&self, listener: &Name) -> bool {
        self.listener.as_ref().is_none_or(|l| l == listener)
    }

    fn takes_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|m| m.as_str() == method)
    }
}

/// The labels of a host, from its end.
fn labels(host: &str) -> impl Iterator<Item = &str> {
    host.rsplit('.')
}

/// The segments of a path: none for the prefix of everything.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.split('/').skip(usize::from(path.is_empty()))
}

/// The host of an authority (`Host` or `:authority`): without port and trailing dot, lower case.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((before, port)) if port.bytes().all(|b| b.is_ascii_digit()) => before,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests;
