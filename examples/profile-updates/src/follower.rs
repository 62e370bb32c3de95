//! Follower: keeps its own copy of the users' names, and refuses those that it can't keep.

use actix_web::web::{Data, Json, Path, ServiceConfig, resource};
use outbox::{
    database::Database,
    http::HttpError,
    inbox::{Handled, Incoming},
    outbox::put,
    service::Service,
};
use rusqlite::{OptionalExtension, Transaction};
use serde::Serialize;
use tracing::info;

use crate::{
    decision::{ApplyError, Decision, decide},
    messages::{Announcement, Rollback, Update},
    topology::{self, FOLLOWER, UPDATE},
};

/// The rule of this copy that the profile service doesn't know: a name has at most 40 characters.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY,
        full_name TEXT NOT NULL CONSTRAINT at_most_40_characters CHECK (length(full_name) <= 40),
        version INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS announcements (text TEXT NOT NULL);";

const APPLY: &str = "INSERT INTO users (id, full_name, version) VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET (full_name, version) = (?2, ?3) WHERE version < ?3";
const SELECT: &str = "SELECT id, full_name, version FROM users WHERE id = ?1";

/// The service.
pub fn service() -> Service {
    Service {
        name: "profile-follower",
        about: "Keeps a copy of the users' names, and refuses those that it can't keep.",
        tables: TABLES,
        topology: topology::of_follower,
        queue: FOLLOWER,
        handler,
        routes,
    }
}

/// A user, as callers see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    full_name: String,
    version: i64,
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/users/{id}").get(get))
        .service(resource("/announcements").get(announcements));
}

async fn get(database: Data<Database>, id: Path<String>) -> Result<Json<User>, HttpError> {
    database.read(move |transaction| find(transaction, &id)).await.map(Json)
}

async fn announcements(database: Data<Database>) -> Result<Json<Vec<Announcement>>, HttpError> {
    let all = |transaction: &Transaction<'_>| {
        let mut select = transaction.prepare("SELECT text FROM announcements ORDER BY rowid")?;
        select.query_map([], |row| Ok(Announcement { text: row.get("text")? }))?.collect()
    };
    let announcements: rusqlite::Result<_> = database.read(all).await;
    Ok(Json(announcements?))
}

fn find(transaction: &Transaction<'_>, id: &str) -> Result<User, HttpError> {
    let user = |row: &rusqlite::Row<'_>| {
        let (id, full_name, version) = (row.get("id")?, row.get("full_name")?, row.get("version")?);
        Ok(User { id, full_name, version })
    };
    let found = transaction.query_row(SELECT, [id], user).optional()?;
    found.ok_or_else(|| HttpError::NotFound(format!("user {id}")))
}

fn handler(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
    match incoming.kind.as_str() {
        UPDATE => follow(transaction, incoming),
        Announcement::TYPE => keep_announcement(transaction, incoming),
        // The pattern matches our own rollbacks, and whatever a later release of the profile service emits.
        _ => Ok(Handled::Done),
    }
}

/// Applies an update, or does what was decided about the error.
fn follow(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
    let update = match serde_json::from_slice(&incoming.body) {
        Ok(update) => update,
        Err(unreadable) => return give_up(transaction, None, unreadable.into()),
    };
    match apply(transaction, &update) {
        Ok(()) => Ok(Handled::Done),
        Err(error) => give_up(transaction, Some(&update), error.into()),
    }
}

fn apply(transaction: &Transaction<'_>, update: &Update) -> rusqlite::Result<()> {
    let Update { user_id, full_name, version } = update;
    transaction.execute(APPLY, (user_id, full_name, version)).map(drop)
}

/// Acts on the decision. A statement that failed has changed nothing, so what is committed is the answer alone.
fn give_up(
    transaction: &Transaction<'_>,
    update: Option<&Update>,
    error: ApplyError,
) -> rusqlite::Result<Handled> {
    let reason = error.to_string();
    match (decide(&error), update, error) {
        (Decision::Requeue, _, ApplyError::Database(error)) => Err(error),
        (Decision::Refuse, Some(update), _) => {
            let (user_id, version) = (update.user_id.clone(), update.version);
            info!(user_id, version, reason, "refusing an update");
            put(transaction, &Rollback { user_id, version, reason }.message())?;
            Ok(Handled::Done)
        }
        _ => Ok(Handled::SetAside(reason)),
    }
}

fn keep_announcement(
    transaction: &Transaction<'_>,
    incoming: &Incoming,
) -> rusqlite::Result<Handled> {
    match serde_json::from_slice::<Announcement>(&incoming.body) {
        Ok(Announcement { text }) => {
            transaction.execute("INSERT INTO announcements VALUES (?1)", [text])?;
            Ok(Handled::Done)
        }
        Err(unreadable) => Ok(Handled::SetAside(ApplyError::from(unreadable).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::Message;
    use rusqlite::Connection;

    use super::*;

    /// A database of a follower, which it can't write if `full`.
    fn database(full: bool) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.execute_batch(outbox::outbox::TABLE).unwrap();
        connection.pragma_update(None, "query_only", full).unwrap();
        connection
    }

    fn handled(connection: &mut Connection, message: Message) -> rusqlite::Result<Handled> {
        let transaction = connection.transaction()?;
        let incoming = Incoming {
            message_id: message.properties.message_id,
            routing_key: message.routing_key,
            kind: message.properties.kind.unwrap_or_default().into_owned(),
            body: message.body,
        };
        let handled = handler(&transaction, &incoming)?;
        transaction.commit()?;
        Ok(handled)
    }

    fn update(full_name: &str, version: i64) -> Message {
        Update { user_id: "1".to_owned(), full_name: full_name.to_owned(), version }.message()
    }

    fn name(connection: &mut Connection) -> String {
        find(&connection.transaction().unwrap(), "1").unwrap().full_name
    }

    fn answers(connection: &Connection) -> Vec<String> {
        let mut select =
            connection.prepare("SELECT routing_key || ' ' || body FROM outbox").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_update_that_comes_late_or_twice_changes_nothing() {
        let mut database = database(false);
        for (full_name, version) in [("Bob", 2), ("Ann", 1), ("Bob", 2)] {
            assert_eq!(handled(&mut database, update(full_name, version)), Ok(Handled::Done));
            assert_eq!(name(&mut database), "Bob");
        }
        assert_eq!(answers(&database), [""; 0]);
    }

    #[test]
    fn a_name_that_the_copy_can_t_keep_is_answered_with_a_rollback() {
        let mut database = database(false);
        handled(&mut database, update("Ann", 1)).unwrap();
        assert_eq!(handled(&mut database, update(&"x".repeat(41), 2)), Ok(Handled::Done));
        assert_eq!(name(&mut database), "Ann");
        let rollback = r#"user.profile.rollback {"userId":"1","version":2,"reason":"CHECK constraint failed: at_most_40_characters"}"#;
        assert_eq!(answers(&database), [rollback]);
        handled(
            &mut database,
            Rollback { user_id: "1".into(), version: 2, reason: String::new() }.message(),
        )
        .unwrap();
        assert_eq!(answers(&database).len(), 1, "its own answer needs none");
    }

    #[test]
    fn an_update_that_can_t_be_stored_now_is_requeued() {
        assert!(handled(&mut database(true), update("Ann", 1)).is_err());
    }

    #[test]
    fn what_is_no_update_is_set_aside() {
        let broken = Message { body: b"{}".to_vec(), ..update("Ann", 1) };
        assert!(matches!(handled(&mut database(false), broken), Ok(Handled::SetAside(_))));
    }
}
