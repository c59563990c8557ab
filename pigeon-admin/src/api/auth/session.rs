//! Sessions of the dashboard: random ids in a cookie, of which only digests are kept, in memory.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

/// The name of the cookie.
pub const COOKIE: &str = "pigeon_session";
/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// How many there may be; one more ends the oldest.
const MOST: usize = 1_000;

/// The digest of a session's id: tells sessions apart and is worth nothing to a thief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket([u8; 32]);

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name in the history.
    pub name: String,
    /// The id of the token that the session began with; none = the first token, which is a file.
    pub token: Option<String>,
}

/// The sessions that are open, and until when.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Ticket, (Instant, Owner)>>);

impl Sessions {
    /// Opens a session and gives its id, which is kept nowhere else.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn open(&self, owner: Owner) -> Result<String, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let mut id = String::with_capacity(64);
        for byte in secret {
            // Writing to a String does not fail.
            let _ = write!(id, "{byte:02x}");
        }
        self.insert(ticket(&id), owner, Instant::now());
        Ok(id)
    }

    fn insert(&self, ticket: Ticket, owner: Owner, now: Instant) {
        let mut open = self.lock();
        open.retain(|_, (ends, _)| *ends > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, (ends, _))| *ends).map(|(t, _)| *t)
        {
            open.remove(&oldest);
        }
        open.insert(ticket, (now + LIFE, owner));
    }

    /// The session of this id, if it is open.
    pub fn find(&self, id: &str) -> Option<(Ticket, Owner)> {
        let (ticket, now) = (ticket(id), Instant::now());
        let open = self.lock();
        let (_, owner) = open.get(&ticket).filter(|(ends, _)| *ends > now)?;
        Some((ticket, owner.clone()))
    }

    /// Whether a session is still open.
    pub fn is_open(&self, ticket: &Ticket) -> bool {
        self.is_open_at(ticket, Instant::now())
    }

    fn is_open_at(&self, ticket: &Ticket, now: Instant) -> bool {
        self.lock().get(ticket).is_some_and(|(ends, _)| *ends > now)
    }

    /// Ends a session.
    pub fn end(&self, ticket: &Ticket) {
        self.lock().remove(ticket);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticket, (Instant, Owner)>> {
        // Every operation leaves the map whole, so that poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ticket(id: &str) -> Ticket {
    Ticket(Sha256::digest(id.as_bytes()).into())
}

/// The session id in the cookies of a request.
pub fn from_cookies(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Owner {
        Owner { name: "ann".into(), token: None }
    }

    #[test]
    fn a_session_opens_lasts_and_ends() {
        let sessions = Sessions::default();
        let id = sessions.open(ann()).expect("randomness");
        assert_eq!(id.len(), 64);
        let (ticket, owner) = sessions.find(&id).expect("open");
        assert_eq!(owner, ann());
        assert!(sessions.find("another").is_none());
        assert!(!sessions.is_open_at(&ticket, Instant::now() + LIFE));
        sessions.end(&ticket);
        assert!(sessions.find(&id).is_none());
    }

    #[test]
    fn one_more_than_the_most_ends_the_oldest() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let nth = |i: usize| ticket(&i.to_string());
        for i in 0..=MOST {
            sessions.insert(nth(i), ann(), start + Duration::from_millis(i as u64));
        }
        let now = start + Duration::from_secs(10);
        assert!(!sessions.is_open_at(&nth(0), now));
        assert!(sessions.is_open_at(&nth(1), now) && sessions.is_open_at(&nth(MOST), now));
        assert_eq!(sessions.lock().len(), MOST);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, line.parse().expect("a value"));
            from_cookies(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; pigeon_session=xyz; c=d"), Some("xyz".into()));
        assert_eq!(of("xpigeon_session=xyz"), None);
        assert_eq!(of("pigeon_session"), None);
    }
}
