//! The context of a trace, as it travels with a call (W3C Trace Context, `traceparent`).

use std::fmt;

/// What a caller says about the trace that its call is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Of the whole trace; never 0.
    pub trace: u128,
    /// The span that the call comes from; never 0.
    pub span: u64,
    /// Whether the caller keeps the trace.
    pub sampled: bool,
}

impl Context {
    /// Reads `00-<32 digits>-<16 digits>-<2 digits>`; none where it is anything else (section 3.2.2). Of later
    /// versions only these four parts are read (section 4.3).
    pub fn parse(text: &[u8]) -> Option<Self> {
        const LENGTH: usize = 55;
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let text = str::from_utf8(head).ok()?;
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let separated = |n: usize, b: u8| match n {
            2 | 35 | 52 => b == b'-',
            _ => lower(b),
        };
        if !text.bytes().enumerate().all(|(n, b)| separated(n, b)) {
            return None;
        }
        let version = &text[..2];
        let whole = rest.is_empty() || (version != "00" && rest[0] == b'-');
        if version == "ff" || !whole {
            return None;
        }
        let trace = u128::from_str_radix(&text[3..35], 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(&text[36..52], 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(&text[53..55], 16).ok()?;
        Some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, sampled } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(*sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_reads_back() {
        let context = Context::parse(GOOD.as_bytes()).expect("good");
        assert_eq!(context.to_string(), GOOD);
        assert!(context.sampled);
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(Context::parse(format!("{later}-more").as_bytes()), Some(context));
        assert_eq!(Context::parse(later.as_bytes()), Some(context));
    }

    #[test]
    fn what_is_malformed_is_none() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(Context::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = Context::parse(&bytes) {
                prop_assert_ne!(context.trace, 0);
            }
        }

        #[test]
        fn any_context_reads_back(trace in 1..u128::MAX, span in 1..u64::MAX, sampled: bool) {
            let context = Context { trace, span, sampled };
            prop_assert_eq!(Context::parse(context.to_string().as_bytes()), Some(context));
        }
    }
}
