//! Outbox: messages commit with the change they are about; a relay publishes them in their order.

use std::{sync::Arc, time::Duration};

use pipeline::{
    backoff::Backoff,
    broker::{PublishError, Publisher},
    contract::{Message, Properties},
};
use rusqlite::{OptionalExtension, Row, Transaction};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::database::Database;

/// The table. `refused` is the reason why a message can't be published.
pub const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        at INTEGER,
        exchange TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        type TEXT,
        body BLOB NOT NULL,
        refused TEXT
    );";

/// The log message of a published message (`message_id`, `type`).
pub const PUBLISHED: &str = "published";

/// The longest pause before a message is published again.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How long a message may wait for its confirm before it is published again.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Adds a message to the outbox: it is published if the transaction commits, as persistent JSON. It has to have a
/// `message_id`. Its `type` is kept, its headers are not.
///
/// # Errors
/// If the database doesn't take it.
pub fn put(transaction: &Transaction<'_>, message: &Message) -> rusqlite::Result<()> {
    let insert = "INSERT INTO outbox (message_id, at, exchange, routing_key, type, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let Message { exchange, routing_key, properties, body } = message;
    let Properties { message_id, timestamp, kind, .. } = properties;
    let at = timestamp.and_then(|seconds| i64::try_from(seconds).ok());
    let row = (message_id, at, exchange, routing_key, kind, body);
    transaction.execute(insert, row).map(drop)
}

/// Publishes the messages of the outbox until `stop`, one after the other: the next one when the broker has confirmed
/// the one before and that is removed.
pub async fn relay(database: Database, publisher: Publisher, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(50), MAX_PAUSE);
    let mut logged = false;
    let relaying = async {
        loop {
            match publish_next(&database, &publisher).await {
                Ok(true) => {
                    backoff.reset();
                    logged = false;
                }
                Ok(false) => database.committed().await,
                Err(error) => {
                    if !logged {
                        warn!("can't publish yet, the message waits in the outbox: {error:#}");
                    }
                    logged = true;
                    sleep(backoff.next_pause()).await;
                }
            }
        }
    };
    tokio::select! {
        () = relaying => {}
        () = stop.cancelled() => {}
    }
}

/// Publishes the oldest message. False if there is none.
async fn publish_next(database: &Database, publisher: &Publisher) -> anyhow::Result<bool> {
    let Some((position, message)) = database.read(oldest).await? else { return Ok(false) };
    let message = Arc::new(message);
    let (id, kind) = (&message.properties.message_id, &message.properties.kind);
    match publisher.publish(message.clone(), Instant::now() + PUBLISH_TIMEOUT).await {
        Ok(()) => {
            info!(message_id = id, r#type = kind.as_deref(), "{PUBLISHED}");
            let remove = "DELETE FROM outbox WHERE position = ?1";
            database.write(move |transaction| transaction.execute(remove, [position])).await?;
        }
        Err(error) => {
            let Some(reason) = refusal(&error) else { return Err(error.into()) };
            error!(message_id = id, reason, "a message can't be published, it stays in the outbox");
            let refuse = "UPDATE outbox SET refused = ?2 WHERE position = ?1";
            let refused = (position, reason);
            database.write(move |transaction| transaction.execute(refuse, refused)).await?;
        }
    }
    Ok(true)
}

/// Why a message would be refused each time it is published. None if it may be taken later.
fn refusal(error: &PublishError) -> Option<String> {
    match error {
        PublishError::Invalid(_) | PublishError::TooLarge { .. } => Some(error.to_string()),
        PublishError::NotSent(_)
        | PublishError::Overloaded
        | PublishError::Nacked
        | PublishError::Unroutable(_)
        | PublishError::Refused(_)
        | PublishError::Unknown(_) => None,
    }
}

fn oldest(transaction: &Transaction<'_>) -> rusqlite::Result<Option<(i64, Message)>> {
    let select = "SELECT position, message_id, at, exchange, routing_key, type, body FROM outbox
        WHERE refused IS NULL ORDER BY position LIMIT 1";
    transaction.query_row(select, [], message).optional()
}

fn message(row: &Row<'_>) -> rusqlite::Result<(i64, Message)> {
    let properties = Properties {
        content_type: Some("application/json".into()),
        message_id: row.get("message_id")?,
        timestamp: row.get::<_, Option<i64>>("at")?.map(i64::unsigned_abs),
        kind: row.get::<_, Option<String>>("type")?.map(Into::into),
        persistent: true,
        ..Properties::default()
    };
    let message = Message {
        exchange: row.get::<_, String>("exchange")?.into(),
        routing_key: row.get("routing_key")?,
        properties,
        body: row.get("body")?,
    };
    Ok((row.get("position")?, message))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn wanted(body: &str) -> Message {
        Message::json("x", "k", &body).with_type("t")
    }

    #[test]
    fn messages_leave_in_their_order_and_only_if_they_were_committed() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let mut commit = |body: &str, commit: bool| {
            let transaction = connection.transaction().unwrap();
            put(&transaction, &wanted(body)).unwrap();
            if commit {
                transaction.commit().unwrap()
            }
        };
        commit("first", true);
        commit("undone", false);
        commit("second", true);
        let transaction = connection.transaction().unwrap();
        for expected in ["\"first\"", "\"second\""] {
            let (position, message) = oldest(&transaction).unwrap().unwrap();
            assert_eq!(message.body, expected.as_bytes());
            transaction.execute("DELETE FROM outbox WHERE position = ?1", [position]).unwrap();
        }
        assert!(oldest(&transaction).unwrap().is_none());
    }

    #[test]
    fn a_message_comes_out_as_it_was_put_in() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let transaction = connection.transaction().unwrap();
        let sent = wanted("same");
        put(&transaction, &sent).unwrap();
        let (_, message) = oldest(&transaction).unwrap().unwrap();
        assert_eq!(message.properties, sent.properties);
        assert_eq!((message.exchange, message.routing_key), (sent.exchange, sent.routing_key));
    }

    #[test]
    fn a_message_that_can_t_be_published_does_not_hold_up_others() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        let transaction = connection.transaction().unwrap();
        put(&transaction, &wanted("too long")).unwrap();
        put(&transaction, &wanted("next")).unwrap();
        transaction.execute("UPDATE outbox SET refused = 'it is' WHERE position = 1", []).unwrap();
        assert_eq!(oldest(&transaction).unwrap().unwrap().0, 2);
    }

    #[test]
    fn only_what_is_wrong_with_the_message_itself_sets_it_aside() {
        let too_large = PublishError::TooLarge { bytes: 20, max_bytes: 10 };
        assert!(refusal(&too_large).is_some_and(|reason| reason.contains("10 at most")));
        assert!(refusal(&PublishError::Invalid("no".into())).is_some());
        let reason = || "no queue yet".to_owned();
        for error in [
            PublishError::NotSent(reason()),
            PublishError::Overloaded,
            PublishError::Nacked,
            PublishError::Unroutable(reason()),
            PublishError::Refused(reason()),
            PublishError::Unknown(reason()),
        ] {
            assert_eq!(refusal(&error), None);
        }
    }
}
