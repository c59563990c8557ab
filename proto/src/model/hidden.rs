//! Values that are for programs that need them and for nobody who only looks: they travel to the proxies and into
//! exports, but not into what a program shows of its configuration. Which these are is said where the field is.

use std::cell::Cell;
use std::fmt::Display;

use serde::{Serialize as _, Serializer};

use super::headers::Headers;

/// What stands for a hidden value.
const MASK: &str = "(hidden)";

thread_local! {
    static HIDING: Cell<bool> = const { Cell::new(false) };
}

/// Ends hiding, also by a panic.
struct Hiding(bool);

impl Drop for Hiding {
    fn drop(&mut self) {
        HIDING.set(self.0);
    }
}

/// What `write` writes on this thread has no hidden values in it.
pub fn without_secrets<T>(write: impl FnOnce() -> T) -> T {
    let _before = Hiding(HIDING.replace(true));
    write()
}

/// Writes a hidden value; for `Serialize` of a type whose every value is one.
///
/// # Errors
/// Those of `to`.
pub fn hidden_text<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    if HIDING.get() { to.serialize_str(MASK) } else { to.collect_str(value) }
}

/// Writes headers whose values are hidden: they may be keys for an engine.
pub(super) fn headers<S: Serializer>(headers: &Headers, to: S) -> Result<S::Ok, S::Error> {
    if HIDING.get() {
        to.collect_map(headers.keys().map(|name| (name, MASK)))
    } else {
        headers.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    struct Key(&'static str);

    impl Serialize for Key {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            hidden_text(&self.0, to)
        }
    }

    #[derive(Serialize)]
    struct Holder {
        keys: Vec<Key>,
        #[serde(serialize_with = "headers")]
        headers: Headers,
    }

    #[test]
    fn hidden_values_are_shown_only_where_nobody_hides_them() {
        let headers = [("authorization".to_owned(), "Bearer 1".to_owned())].into();
        let holder = Holder { keys: vec![Key("secret")], headers };
        let written = || serde_json::to_string(&holder).expect("JSON");
        let plain = r#"{"keys":["secret"],"headers":{"authorization":"Bearer 1"}}"#;
        assert_eq!(written(), plain);
        let hidden = r#"{"keys":["(hidden)"],"headers":{"authorization":"(hidden)"}}"#;
        assert_eq!(without_secrets(written), hidden);
        let caught = std::panic::catch_unwind(|| without_secrets(|| panic!("on the way")));
        assert!(caught.is_err());
        assert_eq!(written(), plain, "hiding ends with its caller");
    }
}
