//! The closed list: complete, documented, and the same in both forms.

use std::time::Duration;

use base64::Engine as _;
use prost::Message as _;

use super::*;

fn one_of_each() -> Vec<Rejection> {
    vec![
        Rejection::NoRoute,
        Rejection::MethodNotAllowed { allow: "GET, PUT".into() },
        Rejection::Unauthenticated(Lack::Missing),
        Rejection::Forbidden,
        Rejection::NoKeys,
        Rejection::RateLimited { retry: Duration::from_millis(250) },
        Rejection::Saturated { retry: Duration::from_millis(1_500) },
        Rejection::Deadline,
        Rejection::NoEndpoint,
        Rejection::ConnectFailed,
        Rejection::EngineReset { code: None },
        Rejection::EngineProtocolError,
        Rejection::TooLarge,
        Rejection::BadRequest { why: "it is wrong" },
        Rejection::Draining,
        Rejection::NoConfig,
        Rejection::Overloaded,
    ]
}

const ABOUT: About<'_> = About { route: Some("r"), engine: Some("e") };

fn grpc_name(code: u8) -> &'static str {
    crate::record::GRPC_NAMES[usize::from(code)]
}

#[test]
fn an_engine_that_cancels_at_the_deadline_has_met_it() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let reset = |code| Rejection::EngineReset { code };
    for (rejection, deadline, wanted) in [
        (reset(Some(8)), Some(now), Rejection::Deadline),
        (reset(Some(8)), Some(later), reset(Some(8))),
        (reset(Some(8)), None, reset(Some(8))),
        (reset(Some(2)), Some(now), reset(Some(2))),
        (reset(None), Some(now), reset(None)),
        (Rejection::NoRoute, Some(now), Rejection::NoRoute),
    ] {
        assert_eq!(rejection.or_deadline(deadline, now), wanted);
    }
}

#[test]
fn docs_answers_md_is_this_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/answers.md");
    let document = std::fs::read_to_string(path).expect(path);
    let rows: Vec<&str> = document.lines().filter(|l| l.starts_with("| `")).collect();
    assert_eq!(rows.len(), Reason::ALL.len());
    for (rejection, row) in one_of_each().iter().zip(rows) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let mut hints = Vec::new();
        if matches!(rejection, Rejection::MethodNotAllowed { .. }) {
            hints.push("`Allow`");
        }
        if matches!(rejection, Rejection::Unauthenticated(_)) {
            hints.push("`WWW-Authenticate`");
        }
        if rejection.retry().is_some() {
            hints.push("`Retry-After`, `RetryInfo`");
        }
        let wanted = [
            format!("`{}`", rejection.reason().as_str()),
            grpc_name(rejection.grpc_code()).to_owned(),
            rejection.http_status().to_string(),
            hints.join(", "),
        ];
        assert_eq!(cells[1..5], wanted, "{row}");
        assert!(cells[5].len() > 10, "{row}");
    }
}

#[test]
fn every_reason_has_a_rejection_in_order() {
    let reasons: Vec<_> = one_of_each().iter().map(Rejection::reason).collect();
    assert_eq!(reasons, Reason::ALL);
}

#[test]
fn the_grpc_form_carries_status_reason_and_details() {
    for rejection in one_of_each() {
        let headers = grpc_headers(&rejection, ABOUT);
        let text = |k: &str| headers[k].to_str().expect("text").to_owned();
        assert_eq!(text("grpc-status"), rejection.grpc_code().to_string());
        assert_eq!(text("pigeon-reason"), rejection.reason().as_str());
        assert_eq!(text("content-type"), "application/grpc");
        let bytes = base64::engine::general_purpose::STANDARD_NO_PAD
            .decode(text("grpc-status-details-bin"))
            .expect("base64 without padding");
        let status = tonic_types::pb::Status::decode(&*bytes).expect("a status");
        assert_eq!(status.code, i32::from(rejection.grpc_code()));
        assert_eq!(status.message, rejection.message());
        let info = tonic_types::pb::ErrorInfo::decode(&*status.details[0].value).expect("info");
        assert_eq!(info.reason, rejection.reason().as_str().to_uppercase());
        assert_eq!((info.domain.as_str(), info.metadata.len()), ("pigeon.dev", 2));
        assert_eq!(status.details.len() == 2, rejection.retry().is_some());
    }
}

#[test]
fn the_http_form_is_a_problem_with_hints() {
    let answer = http_answer(&Rejection::Saturated { retry: Duration::from_millis(1_500) }, ABOUT);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(answer.headers["pigeon-reason"], "saturated");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((&problem["status"], &problem["engine"]), (&503.into(), &"e".into()));
    let allow = Rejection::MethodNotAllowed { allow: "GET, PUT".into() };
    assert_eq!(http_answer(&allow, ABOUT).headers["allow"], "GET, PUT");
    for (lack, challenge) in
        [(Lack::Missing, "Bearer"), (Lack::NotValid, "Bearer error=\"invalid_token\"")]
    {
        let answer = http_answer(&Rejection::Unauthenticated(lack), ABOUT);
        assert_eq!(answer.headers["www-authenticate"], challenge);
    }
}

#[test]
fn resets_follow_the_table_of_grpc() {
    for (http2, grpc) in [(0, 13), (2, 13), (7, 14), (8, 1), (11, 8), (12, 7), (5, 2), (99, 2)] {
        assert_eq!(Rejection::EngineReset { code: Some(http2) }.grpc_code(), grpc, "{http2}");
    }
    assert_eq!(Rejection::EngineReset { code: None }.grpc_code(), 14);
}
