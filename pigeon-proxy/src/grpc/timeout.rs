//! `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, "Requests").

use std::time::Duration;

const MOST: u128 = 99_999_999;

/// Reads the value; none if it is malformed.
pub(crate) fn parse(value: &[u8]) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
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

/// A value of the header, without an allocation.
pub(crate) struct Written {
    bytes: [u8; 9],
    at: usize,
}

impl Written {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

/// Writes a time in the finest unit that holds it, rounded down and at least 1.
pub(crate) fn format(time: Duration) -> Written {
    let (n, unit) = match (time.as_micros(), time.as_millis()) {
        (us, _) if us <= MOST => (us.max(1), b'u'),
        (_, ms) if ms <= MOST => (ms, b'm'),
        _ => (u128::from(time.as_secs()).min(MOST), b'S'),
    };
    let mut written = Written { bytes: [0; 9], at: 8 };
    written.bytes[8] = unit;
    // At most MOST, so it fits.
    let mut n = n as u32;
    while n > 0 && written.at > 0 {
        written.at -= 1;
        written.bytes[written.at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_refuses_the_rest() {
        assert_eq!(parse(b"2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse(b"4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse(b"500m"), Some(Duration::from_millis(500)));
        assert_eq!(parse(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse(b"99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse(b"0m"), Some(Duration::ZERO));
        for bad in ["", "m", "5", "-5m", "5x", "123456789m", "1.5S", " 5m", "٣S"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn writes_what_it_reads_never_longer() {
        for (ms, text) in [
            (0, "1u"),
            (5, "5000u"),
            (99_999, "99999000u"),
            (100_000, "100000m"),
            (86_400_000_000, "86400000S"),
        ] {
            let time = Duration::from_millis(ms);
            let written = format(time);
            assert_eq!(written.as_bytes(), text.as_bytes());
            assert!(ms == 0 || parse(written.as_bytes()).expect("readable") <= time);
        }
    }
}
