//! Calls from pages of other origins: what a browser is told (the Fetch standard, section 3.3).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use pigeon_proto::model::{self, Origin};

use super::Answer;

/// What pages may always read: how a gRPC call ended, and what the gateway says of it.
const EXPOSED: &str = "grpc-status, grpc-message, grpc-status-details-bin, pigeon-reason";
/// What an answer to a preflight depends on.
const ASKED: &str = "origin, access-control-request-method, access-control-request-headers";

/// The rules of a route.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<Origin>,
    /// None: whatever is asked for.
    headers: Option<HeaderValue>,
    expose: HeaderValue,
    max_age: HeaderValue,
    credentials: bool,
}

impl Cors {
    pub(super) fn new(model: &model::Cors) -> Self {
        // The model takes only names of headers.
        let value =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(EXPOSED));
        let exposed = std::iter::once(EXPOSED).chain(model.expose.iter().map(String::as_str));
        Self {
            origins: model.origins.clone(),
            headers: (!model.headers.is_empty()).then(|| value(model.headers.join(", "))),
            expose: value(exposed.collect::<Vec<_>>().join(", ")),
            max_age: HeaderValue::from(model.max_age.duration().as_secs()),
            credentials: model.credentials,
        }
    }

    /// Adds to an answer what a page at `origin` needs to read it; whatever the engine said of it counts no
    /// more. An answer differs by origin also where there is none, or a cache would keep the wrong one.
    pub fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin.filter(|origin| self.takes(origin)) else { return };
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        self.name(origin, headers);
    }

    /// The answer to a preflight. Of a page that may not call it says nothing, and the browser does not ask on.
    pub fn preflight(&self, request: &HeaderMap) -> Answer {
        let mut headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static(ASKED))]);
        if let Some(origin) = request.get(ORIGIN).filter(|origin| self.takes(origin)) {
            self.name(origin, &mut headers);
            headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
            if let Some(method) = request.get(ACCESS_CONTROL_REQUEST_METHOD) {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            }
            let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
            if let Some(names) = self.headers.as_ref().or(asked) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
        }
        Answer { status: 204, headers, body: bytes::Bytes::new(), grpc_status: None }
    }

    fn name(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn takes(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str();
        origin.is_ok_and(|origin| self.origins.iter().any(|allowed| allowed.takes(origin)))
    }
}

/// The method that a preflight asks for; none if the request is no preflight.
pub fn preflight_of<'h>(method: &Method, headers: &'h HeaderMap) -> Option<&'h str> {
    let asks = *method == Method::OPTIONS && headers.contains_key(ORIGIN);
    headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| asks)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(json: serde_json::Value) -> Cors {
        let route = serde_json::json!({"kind": "route", "name": "r", "spec": {"engine": "e", "cors": json}});
        let object = pigeon_proto::model::document::object(route, None).expect("a route");
        let pigeon_proto::model::Spec::Route(route) = object.spec else { panic!("not a route") };
        Cors::new(route.cors.as_ref().expect("cors"))
    }

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(one).collect()
    }

    const ASKS: [(&str, &str); 3] = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, x-grpc-web"),
    ];

    #[test]
    fn a_page_that_may_call_is_told_what_it_asked_for() {
        let answer =
            cors(serde_json::json!({"origins": ["https://a.example"]})).preflight(&map(&ASKS));
        let wanted = map(&[
            ("vary", ASKED),
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-max-age", "600"),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type, x-grpc-web"),
        ]);
        assert_eq!((answer.status, answer.headers), (204, wanted));
        let some =
            cors(serde_json::json!({"origins": ["*"], "headers": ["X-A", "b"], "max_age": "5s"}));
        let answer = some.preflight(&map(&ASKS));
        assert_eq!(answer.headers["access-control-allow-headers"], "x-a, b");
        assert_eq!(answer.headers["access-control-max-age"], "5");
    }

    #[test]
    fn a_page_that_may_not_is_told_nothing() {
        let rules =
            cors(serde_json::json!({"origins": ["https://b.example"], "credentials": true}));
        assert_eq!(rules.preflight(&map(&ASKS)).headers, map(&[("vary", ASKED)]));
        let mut headers = map(&[("access-control-allow-origin", "*"), ("vary", "accept")]);
        rules.allow(
            ASKS[..1].iter().map(|_| HeaderValue::from_static("https://a.example")).next().as_ref(),
            &mut headers,
        );
        assert_eq!(headers, map(&[("vary", "accept"), ("vary", "origin")]));
    }

    #[test]
    fn an_answer_can_be_read_by_who_may() {
        let rules = cors(
            serde_json::json!({"origins": ["https://*.example"], "credentials": true, "expose": ["X-Id"]}),
        );
        let mut headers = map(&[("access-control-allow-origin", "*")]);
        rules.allow(Some(&HeaderValue::from_static("https://a.example")), &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["access-control-expose-headers"], format!("{EXPOSED}, x-id"));
    }

    #[test]
    fn only_what_asks_is_a_preflight() {
        assert_eq!(preflight_of(&Method::OPTIONS, &map(&ASKS)), Some("POST"));
        assert_eq!(preflight_of(&Method::GET, &map(&ASKS)), None);
        assert_eq!(preflight_of(&Method::OPTIONS, &map(&ASKS[..1])), None);
        assert_eq!(preflight_of(&Method::OPTIONS, &map(&ASKS[1..])), None);
    }
}
