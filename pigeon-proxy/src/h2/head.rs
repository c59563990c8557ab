//! Whether a decoded list is a well-formed head or trailers (RFC 9113 sections 8.2 and 8.3).
#![allow(missing_docs, clippy::todo)]
use super::fields::Fields;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);
pub fn check_request(_fields: &Fields) -> Result<(), Malformed> {
    todo!()
}
pub fn check_response(_fields: &Fields) -> Result<u16, Malformed> {
    todo!()
}
pub fn check_trailers(_fields: &Fields) -> Result<(), Malformed> {
    todo!()
}
pub fn content_length(_fields: &Fields) -> Result<Option<u64>, Malformed> {
    todo!()
}
