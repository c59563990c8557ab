//! JSON for engines that speak gRPC: what an HTTP request means as a call of a method, and how its answer is said in
//! JSON. Knows messages by descriptors alone (`google.api.http` and the JSON mapping of Protobuf).

pub mod frames;
pub mod message;
pub mod rules;
pub mod status;
pub mod template;

/// What `%xx` stands for. None if it is malformed, or no UTF-8. `keep` says which bytes stay as they were written.
fn percent_decoded(text: &str, keep: impl Fn(u8) -> bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        if keep(byte) {
            bytes.extend_from_slice(&rest[..3]);
        } else {
            bytes.push(byte);
        }
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
