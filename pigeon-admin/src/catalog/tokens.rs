//! Tokens in memory, as the writer last saw them; and what the handles ask of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};

use super::writer::Request;
use super::{Actor, Catalog, StoreError};
use crate::access::{Token, Tokens};

/// Most tokens there may be: everyone's is in memory.
pub const MOST_TOKENS: usize = 1_000;

/// Why a token was not made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Another one has the name.
    #[error("there is a token of this name")]
    Exists,
    /// There is none of this name.
    #[error("there is no token of this name")]
    NotFound,
    /// There are [`MOST_TOKENS`].
    #[error("there are {MOST_TOKENS} tokens")]
    TooMany,
    /// It could not be stored.
    #[error("the write could not be stored")]
    Store(#[source] StoreError),
}

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum TokenWrite {
    Add(Box<Token>),
    /// By name.
    Revoke(String),
}

/// What every handle shares.
#[derive(Clone)]
pub(super) struct Shown {
    pub tokens: watch::Receiver<Arc<Tokens>>,
    pub uses: Uses,
}

/// When tokens were used, and not written down yet: by id, Unix time in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<Mutex<BTreeMap<String, i64>>>);

impl Uses {
    fn note(&self, id: &str, at_ms: i64) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(id) {
            Some(last) => *last = at_ms,
            None => _ = uses.insert(id.to_owned(), at_ms),
        }
    }

    /// When it was used last, if that is not written down yet.
    pub(super) fn of(&self, id: &str) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Takes them, to write them down.
    pub(super) fn take(&self) -> Vec<(String, i64)> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *uses).into_iter().collect()
    }
}

impl Catalog {
    /// All tokens but the first, which is a file.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.shown.tokens.borrow().clone()
    }

    /// A token was used at `now_ms`, Unix time in milliseconds. It is written down within a minute.
    pub fn used(&self, token: &Token, now_ms: i64) {
        self.shown.uses.note(&token.id, now_ms);
    }

    /// When a token was used last, Unix time in milliseconds.
    pub fn last_use(&self, token: &Token) -> Option<i64> {
        self.shown.uses.of(&token.id).max(token.used_ms)
    }

    /// Makes a token; on disk when this returns.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing has changed then.
    pub async fn add_token(&self, token: Token, actor: Actor) -> Result<(), TokenError> {
        self.write_token(TokenWrite::Add(Box::new(token)), actor).await
    }

    /// Revokes the token of this name; on disk when this returns. Other admins of the same store know it within
    /// a second.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing has changed then.
    pub async fn revoke_token(&self, name: &str, actor: Actor) -> Result<(), TokenError> {
        self.write_token(TokenWrite::Revoke(name.to_owned()), actor).await
    }

    async fn write_token(&self, write: TokenWrite, actor: Actor) -> Result<(), TokenError> {
        let stopped = || TokenError::Store(StoreError::Stopped);
        let (reply, answer) = oneshot::channel();
        let request = Request::Token { write, actor, reply };
        self.writer.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}
