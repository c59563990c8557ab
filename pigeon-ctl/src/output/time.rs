//! Spans of time for people.

use jiff::Timestamp;

use super::table::NONE;

/// `4s ago`, `3m12s ago`, `2h11m ago`, `5d3h ago` from milliseconds.
pub fn ago(ms: Option<u64>) -> String {
    ms.map_or_else(|| NONE.to_owned(), |ms| format!("{} ago", span(ms)))
}

/// The two largest units of a span of time in milliseconds.
pub fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `0.06ms`, `81ms`, `1.23s` from milliseconds, to about three digits.
pub fn fine(ms: Option<f64>) -> String {
    match ms {
        None => NONE.to_owned(),
        Some(ms) if ms >= 9_995.0 => format!("{:.1}s", ms / 1_000.0),
        Some(ms) if ms >= 999.5 => format!("{:.2}s", ms / 1_000.0),
        Some(ms) if ms >= 99.95 => format!("{ms:.0}ms"),
        Some(ms) if ms >= 9.995 => format!("{ms:.1}ms"),
        Some(ms) => format!("{ms:.2}ms"),
    }
}

/// Milliseconds from an RFC 3339 time until now; none if it is not one.
pub fn since(time: &str) -> Option<u64> {
    let time: Timestamp = time.parse().ok()?;
    let passed = Timestamp::now().as_millisecond() - time.as_millisecond();
    // A clock that is behind the server's makes it 0.
    Some(u64::try_from(passed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_spans() {
        for (ms, text) in [
            (0.0, "0.00ms"),
            (0.064, "0.06ms"),
            (12.34, "12.3ms"),
            (410.2, "410ms"),
            (1_000.0, "1.00s"),
            (61_234.0, "61.2s"),
        ] {
            assert_eq!(fine(Some(ms)), text);
        }
        assert_eq!(fine(None), NONE);
    }

    #[test]
    fn spans() {
        for (ms, text) in [
            (0, "0s"),
            (59_999, "59s"),
            (192_000, "3m12s"),
            (7_860_000, "2h11m"),
            (443_000_000, "5d3h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(ago(None), NONE);
        assert_eq!(since("yesterday"), None);
        assert!(since("2020-01-01T00:00:00Z").is_some_and(|ms| ms > 0));
        assert_eq!(since("2999-01-01T00:00:00Z"), Some(0));
    }
}
