//! `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, "Requests").

use std::time::Duration;

use http::HeaderValue;

const MOST: u128 = 99_999_999;

/// Reads the value; none if it is malformed.
pub(super) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.as_bytes().split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b"H" => Some(Duration::from_secs(n * 3_600)),
        b"M" => Some(Duration::from_secs(n * 60)),
        b"S" => Some(Duration::from_secs(n)),
        b"m" => Some(Duration::from_millis(n)),
        b"u" => Some(Duration::from_micros(n)),
        b"n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

/// Writes a time in the finest unit that holds it, rounded down and at least 1.
pub(super) fn format(time: Duration) -> HeaderValue {
    let (n, unit) = match (time.as_micros(), time.as_millis()) {
        (us, _) if us <= MOST => (us.max(1), 'u'),
        (_, ms) if ms <= MOST => (ms, 'm'),
        _ => (u128::from(time.as_secs()).min(MOST), 'S'),
    };
    HeaderValue::from_str(&format!("{n}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_refuses_the_rest() {
        let read = |s: &str| parse(&HeaderValue::from_str(s).expect("a value"));
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("500m"), Some(Duration::from_millis(500)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(read("0m"), Some(Duration::ZERO));
        for bad in ["", "m", "5", "-5m", "5x", "123456789m", "1.5S", " 5m", "٣S"] {
            let value = HeaderValue::from_bytes(bad.as_bytes()).expect("a value");
            assert_eq!(parse(&value), None, "{bad:?}");
        }
    }

    #[test]
    fn writes_what_it_reads_never_longer() {
        for (ms, written) in [
            (0, "1u"),
            (5, "5000u"),
            (99_999, "99999000u"),
            (100_000, "100000m"),
            (86_400_000_000, "86400000S"),
        ] {
            let time = Duration::from_millis(ms);
            assert_eq!(format(time), written);
            assert!(ms == 0 || parse(&format(time)).expect("readable") <= time);
        }
    }
}
