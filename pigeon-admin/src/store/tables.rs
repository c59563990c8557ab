//! All tables as rows: what goes from one database into another.

use super::StoreError;
use super::db::{Conn, Row, Value};

/// What a column holds.
#[derive(Clone, Copy)]
enum Column {
    Int,
    MaybeInt,
    Text,
    MaybeText,
}

use Column::{Int, MaybeInt, MaybeText, Text};

/// A table, and the statements to empty, read and fill it.
struct Table {
    clear: &'static str,
    read: &'static str,
    fill: &'static str,
    columns: &'static [Column],
}

const TABLES: [Table; 5] = [
    Table {
        clear: "DELETE FROM meta",
        read: "SELECT cluster_id, generation, revision FROM meta",
        fill: "INSERT INTO meta (one, cluster_id, generation, revision) VALUES (1, $1, $2, $3)",
        columns: &[Text, Int, Int],
    },
    Table {
        clear: "DELETE FROM resource",
        read: "SELECT kind, name, uid, create_revision, mod_revision, created_ms, updated_ms, updated_by, \
               labels, spec, owner FROM resource",
        fill: "INSERT INTO resource (kind, name, uid, create_revision, mod_revision, created_ms, updated_ms, \
               updated_by, labels, spec, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        columns: &[Text, Text, Text, Int, Int, Int, Int, Text, Text, Text, MaybeText],
    },
    Table {
        clear: "DELETE FROM change",
        read: "SELECT revision, seq, kind, name, op, spec FROM change",
        fill: "INSERT INTO change (revision, seq, kind, name, op, spec) VALUES ($1, $2, $3, $4, $5, $6)",
        columns: &[Int, Int, Text, Text, Text, MaybeText],
    },
    Table {
        clear: "DELETE FROM audit",
        read: "SELECT revision, seq, at_ms, actor, source, action, kind, name, before, after, request_id \
               FROM audit ORDER BY id",
        fill: "INSERT INTO audit (revision, seq, at_ms, actor, source, action, kind, name, before, after, \
               request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        columns: &[MaybeInt, Int, Int, Text, Text, Text, Text, Text, MaybeText, MaybeText, Text],
    },
    Table {
        clear: "DELETE FROM token",
        read: "SELECT id, name, role, scope, hash, created_ms, created_by, expires_ms, used_ms FROM token",
        fill: "INSERT INTO token (id, name, role, scope, hash, created_ms, created_by, expires_ms, used_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        columns: &[Text, Text, Text, Text, Text, Int, Text, MaybeInt, MaybeInt],
    },
];

/// Puts what `from` holds in the place of what `to` holds, each within a transaction of its own.
pub(super) async fn copy(from: &mut Conn, to: &mut Conn) -> Result<(), StoreError> {
    for table in &TABLES {
        to.execute(table.clear, &[]).await?;
        for row in from.rows(table.read, &[]).await? {
            let texts = texts(&row, table.columns)?;
            let values: Result<Vec<Value<'_>>, StoreError> = (table.columns.iter().zip(&texts))
                .enumerate()
                .map(|(n, (column, text))| {
                    Ok(match column {
                        Int => Value::Int(row.int(n)?),
                        MaybeInt => Value::MaybeInt(row.maybe_int(n)?),
                        Text => Value::Text(text.as_deref().unwrap_or_default()),
                        MaybeText => Value::MaybeText(text.as_deref()),
                    })
                })
                .collect();
            to.execute(table.fill, &values?).await?;
        }
    }
    Ok(())
}

/// The texts of a row, at their columns.
fn texts(row: &Row, columns: &[Column]) -> Result<Vec<Option<String>>, StoreError> {
    let text = |(n, column): (usize, &Column)| match column {
        Int | MaybeInt => Ok(None),
        Text | MaybeText => row.maybe_text(n),
    };
    columns.iter().enumerate().map(text).collect()
}
