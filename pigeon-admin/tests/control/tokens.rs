//! Tokens in the store: kept, ended everywhere, copied with it.

use pigeon_admin::access::{Rights, Role, Token};
use pigeon_admin::catalog::{Actor, AuditFilter, TokenError};
use pigeon_proto::model::{KeyHash, Labels};

use crate::database::{Database, home, on_both_databases};
use crate::support::{catalog, soon};

on_both_databases! {
    tokens_outlive_a_restart_and_are_revoked_for_good,
}

fn token(name: &str, id: &str) -> Token {
    Token {
        id: id.to_owned(),
        name: name.to_owned(),
        rights: Rights {
            role: Role::Operator,
            scope: Labels::from([("team".to_owned(), "a \"b\"".to_owned())]),
        },
        hash: KeyHash::of(format!("pgn_{id}_secret").as_bytes()),
        created_ms: 1_700_000_000_123,
        created_by: "tester".to_owned(),
        expires_ms: (name == "short").then_some(1_900_000_000_000),
        used_ms: None,
    }
}

async fn tokens_outlive_a_restart_and_are_revoked_for_good(on: Database) {
    let Some(dir) = home(on).await else { return };
    let first = catalog(&dir).await;
    let tester = || Actor::almighty("tester");
    for wanted in [token("ci", "11111111"), token("short", "22222222")] {
        first.add_token(wanted, tester()).await.expect("made");
    }
    let again = first.add_token(token("ci", "33333333"), tester()).await;
    assert!(matches!(again, Err(TokenError::Exists)), "{again:?}");
    let found = first.tokens().find("pgn_11111111_secret").cloned().expect("known");
    assert_eq!(*found, token("ci", "11111111"));
    assert!(first.tokens().find("pgn_11111111_other").is_none());
    assert!(first.tokens().find("pgn_22222222_").is_none() && first.tokens().find("").is_none());
    first.used(&found, 1_800_000_000_000);
    assert_eq!(first.view().revision, 1, "no revision of the configuration");
    first.close().await;

    let second = catalog(&dir).await;
    assert_eq!(second.tokens().len(), 2);
    let kept = second.tokens().by_name("ci").cloned().expect("kept");
    assert_eq!(kept.used_ms, Some(1_800_000_000_000), "written down at the end");
    assert_eq!(Token { used_ms: None, ..(*kept).clone() }, *found);
    second.revoke_token("ci", tester()).await.expect("revoked");
    let none = second.revoke_token("ci", tester()).await;
    assert!(matches!(none, Err(TokenError::NotFound)), "{none:?}");
    assert!(second.tokens().find("pgn_11111111_secret").is_none());
    let events =
        second.audit(&AuditFilter { kind: Some("token".into()), ..Default::default() }, 9).await;
    let told: Vec<_> = events.expect("events").into_iter().map(|e| (e.action, e.name)).collect();
    let told: Vec<_> = told.iter().map(|(a, n)| (a.as_str(), n.as_str())).collect();
    assert_eq!(told, [("delete", "ci"), ("create", "short"), ("create", "ci")]);
    second.close().await;
    let third = catalog(&dir).await;
    assert_eq!(third.tokens().iter().map(|t| t.name.clone()).collect::<Vec<_>>(), ["short"]);
    third.close().await;
}

#[tokio::test]
async fn what_one_admin_revokes_the_other_refuses() {
    let Some(one) = home(Database::Postgres).await else { return };
    let (a, b) = tokio::join!(catalog(&one), catalog(&one));
    a.add_token(token("ci", "11111111"), Actor::almighty("tester")).await.expect("made");
    let known = |catalog: pigeon_admin::catalog::Catalog, is: bool| async move {
        while catalog.tokens().by_name("ci").is_some() != is {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("the other's token", known(b.clone(), true)).await;
    // Of the same name at the other: it has seen that one.
    let again = b.add_token(token("ci", "33333333"), Actor::almighty("tester")).await;
    assert!(matches!(again, Err(TokenError::Exists)), "{again:?}");
    b.revoke_token("ci", Actor::almighty("tester")).await.expect("revoked");
    soon("its end", known(a.clone(), false)).await;
    a.close().await;
    b.close().await;
}
