//! Which URLs are taken, and what errors say.

use std::time::Duration;

use tokio::time::timeout;

use super::world::{World, open};
use crate::{Health, Store, StoreOptions};

#[tokio::test]
async fn a_bad_url_is_refused_with_a_reason() {
    for (url, reason) in [
        ("", "must begin with"),
        ("mysql://root@localhost/x", "must begin with"),
        ("sqlite:", "a file"),
        ("sqlite::memory:", "a file"),
        ("sqlite:a.db?mode=ro", "no parameters"),
        ("postgres://user:secret@host:port/x", "no postgres:// URL"),
        ("postgres://user:secret@host/x?sslmode=maybe", "no postgres:// URL"),
    ] {
        let error = Store::open(url, &StoreOptions::default()).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("secret"), "{url}: {error}");
    }
}

#[tokio::test]
async fn no_error_shows_a_password() {
    // Nothing listens on this port, so the reason is one that names the server.
    let url = "postgres://user:secret@127.0.0.1:1/slowlane";
    let store = Store::open(url, &StoreOptions::default()).unwrap();
    let error = store.ping().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1/slowlane") && !error.contains("secret"), "{error}");
    let Health::Away(reason) = store.health().borrow().clone() else { panic!("it is not there") };
    assert!(!format!("{reason}{store:?}").contains("secret"));
}

/// Why a store is away, as its health says.
async fn reason(store: &Store) -> String {
    let mut health = store.health();
    let away = health.wait_for(|health| matches!(health, Health::Away(_)));
    match &*timeout(Duration::from_secs(30), away).await.expect("its health says so").unwrap() {
        Health::Away(reason) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_away_and_says_so() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let reason = reason(&open(&World::database(encoding).await)).await;
        assert!(reason.contains(encoding) && reason.contains("ENCODING 'UTF8'"), "{reason}");
    }
}
