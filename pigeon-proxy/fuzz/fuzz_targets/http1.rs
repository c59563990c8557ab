//! Any bytes as a connection of HTTP/1.1, once whole and once in small pieces: no panic, the same bytes pass with
//! the same fault, and what has passed is read again in the same way.
#![no_main]

#[path = "../../src"]
mod tree {
    #[allow(dead_code, unused_imports)]
    pub mod http1;
}

use libfuzzer_sys::fuzz_target;
use tree::http1::Scanner;

const MAX_HEAD: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Some((&[first, ..], text)) = data.split_first_chunk::<1>() else { return };
    let mut whole = Scanner::new(MAX_HEAD);
    let scan = whole.scan(text);
    assert!(scan.pass <= text.len());
    let size = usize::from(first % 7) + 1;
    let mut parts = Scanner::new(MAX_HEAD);
    let (mut passed, mut fault) = (0, None);
    let mut end = 0;
    while end < text.len() && fault.is_none() {
        end = (end + size).min(text.len());
        let scan = parts.scan(&text[passed..end]);
        (passed, fault) = (passed + scan.pass, scan.fault);
    }
    assert_eq!((passed, fault), (scan.pass, scan.fault));
    let mut again = Scanner::new(MAX_HEAD);
    let second = again.scan(&text[..scan.pass]);
    assert_eq!((second.pass, second.fault), (scan.pass, None));
});
