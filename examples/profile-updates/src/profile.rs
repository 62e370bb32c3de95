//! Profile service: owns the users' names, emits each update, and undoes those that a follower has refused.

use actix_web::{
    HttpResponse,
    web::{Data, Form, Json, Path, ServiceConfig, resource},
};
use outbox::{
    database::Database,
    http::HttpError,
    inbox::{Handled, Incoming},
    outbox::put,
    service::Service,
};
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};

use crate::{
    messages::{Announcement, Rollback, Update},
    topology::{self, ROLLBACK, ROLLBACKS},
};

/// Every name that a user was given. The name is the last one that was not refused, so undoing an update is to note that
/// it was refused, whatever other updates were made meanwhile.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS names (
        user_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        full_name TEXT NOT NULL,
        refused TEXT,
        PRIMARY KEY (user_id, version)
    ) WITHOUT ROWID;";

const INSERT: &str = "INSERT INTO names (user_id, version, full_name)
    SELECT ?1, 1 + coalesce(max(version), 0), ?2 FROM names WHERE user_id = ?1 RETURNING version";
const SELECT: &str = "SELECT full_name, version FROM names WHERE user_id = ?1 AND refused IS NULL
    ORDER BY version DESC LIMIT 1";
const REFUSE: &str = "UPDATE names SET refused = ?3 WHERE user_id = ?1 AND version = ?2";
const LAST_REFUSAL: &str =
    "SELECT refused FROM names WHERE user_id = ?1 ORDER BY version DESC LIMIT 1";

/// The service.
pub fn service() -> Service {
    Service {
        name: "profile-service",
        about: "Owns the users' names, emits each update, and undoes those that are refused.",
        tables: TABLES,
        topology: topology::of_profile,
        queue: ROLLBACKS,
        handler,
        routes,
    }
}

/// The form of `POST /users/{id}`.
#[derive(Deserialize)]
struct NewName {
    full_name: String,
}

/// A user, as callers see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    full_name: String,
    version: i64,
    /// Why the last update was undone, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/users/{id}").get(get).post(update))
        .service(resource("/announcements").post(announce));
}

async fn get(database: Data<Database>, id: Path<String>) -> Result<Json<User>, HttpError> {
    database.read(move |transaction| find(transaction, id.into_inner())).await.map(Json)
}

async fn update(
    database: Data<Database>,
    id: Path<String>,
    form: Form<NewName>,
) -> Result<HttpResponse, HttpError> {
    let (user_id, full_name) = (id.into_inner(), form.into_inner().full_name);
    if full_name.trim().is_empty() {
        return Err(HttpError::Invalid("full_name: takes a name".to_owned()));
    }
    let commit = move |transaction: &Transaction<'_>| {
        let version =
            transaction.query_row(INSERT, (&user_id, &full_name), |row| row.get("version"))?;
        put(transaction, &Update { user_id: user_id.clone(), full_name, version }.message())?;
        find(transaction, user_id)
    };
    Ok(HttpResponse::Created().json(database.write(commit).await?))
}

async fn announce(
    database: Data<Database>,
    form: Form<Announcement>,
) -> Result<HttpResponse, HttpError> {
    database.write(move |transaction| put(transaction, &form.message())).await?;
    Ok(HttpResponse::Created().finish())
}

fn find(transaction: &Transaction<'_>, id: String) -> Result<User, HttpError> {
    let name = |row: &rusqlite::Row<'_>| Ok((row.get("full_name")?, row.get("version")?));
    let found = transaction.query_row(SELECT, [&id], name).optional()?;
    let (full_name, version) = found.ok_or_else(|| HttpError::NotFound(format!("user {id}")))?;
    let refusal = transaction.query_row(LAST_REFUSAL, [&id], |row| row.get(0))?;
    Ok(User { id, full_name, version, refusal })
}

/// Undoes an update.
fn handler(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
    if incoming.routing_key != ROLLBACK {
        return Ok(Handled::SetAside(format!("it is no {ROLLBACK}")));
    }
    match serde_json::from_slice(&incoming.body) {
        Ok(Rollback { user_id, version, reason }) => {
            transaction.execute(REFUSE, (user_id, version, reason))?;
            Ok(Handled::Done)
        }
        Err(error) => Ok(Handled::SetAside(format!("the body can't be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn named(transaction: &Transaction<'_>, full_name: &str) -> i64 {
        transaction.query_row(INSERT, ("1", full_name), |row| row.get(0)).unwrap()
    }

    fn name(transaction: &Transaction<'_>) -> Option<String> {
        find(transaction, "1".to_owned()).ok().map(|user| user.full_name)
    }

    fn roll_back(transaction: &Transaction<'_>, version: i64) {
        let rollback = Rollback { user_id: "1".to_owned(), version, reason: "no".to_owned() };
        let sent = rollback.message();
        let incoming = Incoming {
            message_id: None,
            routing_key: sent.routing_key,
            kind: String::new(),
            body: sent.body,
        };
        assert_eq!(handler(transaction, &incoming), Ok(Handled::Done));
    }

    #[test]
    fn the_name_is_the_last_that_was_not_refused_in_whatever_order_rollbacks_come() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let transaction = connection.transaction().unwrap();
        assert_eq!(["Ann", "Bob", "Cid", "Dan"].map(|it| named(&transaction, it)), [1, 2, 3, 4]);
        roll_back(&transaction, 2);
        assert_eq!(name(&transaction).as_deref(), Some("Dan"));
        roll_back(&transaction, 4);
        assert_eq!(name(&transaction).as_deref(), Some("Cid"));
        roll_back(&transaction, 3);
        roll_back(&transaction, 3);
        assert_eq!(name(&transaction).as_deref(), Some("Ann"));
        assert_eq!(named(&transaction, "Eve"), 5);
        roll_back(&transaction, 1);
        assert_eq!(name(&transaction).as_deref(), Some("Eve"));
        roll_back(&transaction, 5);
        assert_eq!(name(&transaction), None);
    }
}
