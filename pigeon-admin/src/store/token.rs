//! Tokens: all of them at once, and one more or one less.

use pigeon_proto::model::KeyHash;
use serde_json::{Value as Json, json};

use super::db::Value::{Int, MaybeInt, MaybeText, Text};
use super::db::{Conn, For, Row};
use super::{StoreError, postgres};
use crate::access::{Rights, Role, Token, Tokens};
use crate::catalog::Actor;

const READ: &str =
    "SELECT id, name, role, scope, hash, created_ms, created_by, expires_ms, used_ms FROM token";

const INSERT: &str = "INSERT INTO token (id, name, role, scope, hash, created_ms, created_by, expires_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const DELETE: &str = "DELETE FROM token WHERE id = $1";

const USED: &str =
    "UPDATE token SET used_ms = $2 WHERE id = $1 AND (used_ms IS NULL OR used_ms < $2)";

const AUDIT: &str = "INSERT INTO audit (revision, seq, at_ms, actor, source, action, kind, name, \
     before, after, request_id) VALUES ($1, 0, $2, $3, $4, $5, 'token', $6, $7, $8, $9)";

/// What becomes of a token.
#[derive(Clone, Copy, Debug)]
pub enum TokenChange<'a> {
    /// There is one more.
    Add(&'a Token),
    /// It is worth nothing any more.
    Revoke(&'a Token),
}

/// All tokens.
pub(super) async fn all(conn: &mut Conn) -> Result<Tokens, StoreError> {
    conn.rows(READ, &[]).await?.iter().map(token).collect()
}

fn token(row: &Row) -> Result<Token, StoreError> {
    let name = row.text(1)?;
    let unreadable = |why: String| StoreError::Unreadable { object: format!("token/{name}"), why };
    let role = row.text(2)?;
    let role = Role::named(&role).ok_or_else(|| unreadable(format!("{role} is no role")))?;
    let scope = serde_json::from_str(&row.text(3)?).map_err(|e| unreadable(e.to_string()))?;
    let hash: KeyHash = row.text(4)?.parse().map_err(|e| unreadable(format!("{e}")))?;
    Ok(Token {
        id: row.text(0)?,
        rights: Rights { role, scope },
        hash,
        created_ms: row.int(5)?,
        created_by: row.text(6)?,
        expires_ms: row.maybe_int(7)?,
        used_ms: row.maybe_int(8)?,
        name,
    })
}

/// Makes a change, with its audit row; on disk when this returns.
pub(super) async fn change(
    conn: &mut Conn,
    change: TokenChange<'_>,
    at_ms: i64,
    actor: &Actor,
) -> Result<(), StoreError> {
    conn.begin(For::Writing).await?;
    let (action, token, before, after) = match change {
        TokenChange::Add(token) => {
            insert(conn, token).await?;
            ("create", token, None, Some(document(token).to_string()))
        }
        TokenChange::Revoke(token) => {
            if conn.execute(DELETE, &[Text(&token.id)]).await? != 1 {
                return Err(StoreError::ChangedElsewhere);
            }
            ("delete", token, Some(document(token).to_string()), None)
        }
    };
    let values = [
        MaybeInt(None),
        Int(at_ms),
        Text(&actor.name),
        Text(&actor.source),
        Text(action),
        Text(&token.name),
        MaybeText(before.as_deref()),
        MaybeText(after.as_deref()),
        Text(&actor.request_id),
    ];
    conn.execute(AUDIT, &values).await?;
    if let Conn::Postgres(_) = conn {
        postgres::tell(conn, "tokens").await?;
    }
    conn.commit().await
}

async fn insert(conn: &mut Conn, token: &Token) -> Result<(), StoreError> {
    let (scope, hash) = (json!(token.rights.scope).to_string(), token.hash.to_string());
    let values = [
        Text(&token.id),
        Text(&token.name),
        Text(token.rights.role.as_str()),
        Text(&scope),
        Text(&hash),
        Int(token.created_ms),
        Text(&token.created_by),
        MaybeInt(token.expires_ms),
    ];
    conn.execute(INSERT, &values).await.map(drop)
}

/// As the audit has it: what it may do, and nothing to log in with.
fn document(token: &Token) -> Json {
    json!({
        "kind": "token",
        "name": token.name,
        "id": token.id,
        "role": token.rights.role,
        "scope": token.rights.scope,
        "expires_ms": token.expires_ms,
    })
}

/// Notes when tokens were used last.
pub(super) async fn used(conn: &mut Conn, uses: &[(String, i64)]) -> Result<(), StoreError> {
    for (id, at_ms) in uses {
        conn.execute(USED, &[Text(id), Int(*at_ms)]).await?;
    }
    Ok(())
}
