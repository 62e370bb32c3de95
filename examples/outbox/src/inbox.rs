//! Inbox: handles each message once, however often it is delivered, and acks it after the commit.

use std::time::Duration;

use pipeline::{
    backoff::Backoff,
    broker::{Consumer, Delivery},
    contract::Timestamp,
};
use rusqlite::Transaction;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::database::Database;

/// The tables: the ids of handled messages, and messages that no program can handle.
pub const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS handled (message_id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS handled_at ON handled (at);
    CREATE TABLE IF NOT EXISTS set_aside (
        message_id TEXT, routing_key TEXT, type TEXT, body BLOB, reason TEXT NOT NULL, at INTEGER NOT NULL
    );";

/// How many messages the broker sends ahead.
pub const PREFETCH: u16 = 10;

/// How long ids are kept: far longer than a message can wait in a queue or an outbox to come a second time.
const KEEP_IDS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The log message of a handled message (`message_id`, `type`).
pub const HANDLED: &str = "handled";
/// The log message of a message that had been handled before (`message_id`, `type`).
pub const HANDLED_BEFORE: &str = "handled before";
/// The log message of a message that can't be handled (`message_id`, `type`, `reason`).
pub const SET_ASIDE: &str = "set aside";

/// A received message.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// The routing key.
    pub routing_key: String,
    /// The property `type`; empty if the message has none.
    pub kind: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// The changes that follow from it are made.
    Done,
    /// It can't be handled, now or later, for this reason. It is kept in the table `set_aside`.
    SetAside(String),
}

/// Makes the changes that follow from a message. An error undoes them and requeues the message, so it is for what may
/// pass: a locked database, a full disk.
pub type Handler = fn(&Transaction<'_>, &Incoming) -> rusqlite::Result<Handled>;

/// Handles the messages of a consumer until `stop`.
pub async fn run(
    mut consumer: Consumer,
    database: Database,
    handler: Handler,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::storing();
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let incoming = Incoming::of(&delivery);
        match database.write(move |transaction| handle_once(transaction, &incoming, handler)).await
        {
            Ok(outcome) => {
                outcome.log(&delivery);
                delivery.ack();
                backoff.reset();
            }
            Err(error) => {
                let id = &delivery.properties.message_id;
                warn!(message_id = id, "requeueing a message that can't be handled yet: {error}");
                tokio::select! {
                    () = sleep(backoff.next_pause()) => {}
                    () = stop.cancelled() => {}
                }
                delivery.requeue();
            }
        }
    }
    consumer.close().await;
}

impl Incoming {
    fn of(delivery: &Delivery) -> Self {
        Self {
            message_id: delivery.properties.message_id.clone(),
            routing_key: delivery.routing_key.clone(),
            kind: delivery.properties.kind.as_deref().unwrap_or_default().to_owned(),
            body: delivery.body.clone(),
        }
    }
}

/// What [`handle_once`] found.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Handled,
    HandledBefore,
    SetAside(String),
}

impl Outcome {
    fn log(&self, delivery: &Delivery) {
        let (id, kind) = (&delivery.properties.message_id, delivery.properties.kind.as_deref());
        match self {
            Self::Handled => info!(message_id = id, r#type = kind, "{HANDLED}"),
            Self::HandledBefore => info!(message_id = id, r#type = kind, "{HANDLED_BEFORE}"),
            Self::SetAside(reason) => warn!(message_id = id, r#type = kind, reason, "{SET_ASIDE}"),
        }
    }
}

/// Handles a message, unless its id says that it was handled before.
fn handle_once(
    transaction: &Transaction<'_>,
    incoming: &Incoming,
    handler: Handler,
) -> rusqlite::Result<Outcome> {
    let handled = match &incoming.message_id {
        // A copy of it could not be recognized.
        None => Handled::SetAside("it has no message_id".to_owned()),
        Some(id) if !is_first(transaction, id)? => return Ok(Outcome::HandledBefore),
        Some(_) => handler(transaction, incoming)?,
    };
    let Handled::SetAside(reason) = handled else { return Ok(Outcome::Handled) };
    let Incoming { message_id, routing_key, kind, body } = incoming;
    let insert = "INSERT INTO set_aside VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = (message_id, routing_key, kind, body, &reason, Timestamp::now().as_millis());
    transaction.execute(insert, row)?;
    Ok(Outcome::SetAside(reason))
}

/// Notes the id, and forgets old ones. False if it is known.
fn is_first(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<bool> {
    let now = Timestamp::now();
    let forget = "DELETE FROM handled WHERE at < ?1";
    transaction.execute(forget, [(now - KEEP_IDS).as_millis()])?;
    let insert = "INSERT INTO handled VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(transaction.execute(insert, (id, now.as_millis()))? == 1)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// Counts messages with a body, fails for those without, and refuses those of another type.
    fn count(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
        transaction.execute("UPDATE counter SET messages = messages + 1", [])?;
        match incoming {
            Incoming { body, .. } if body.is_empty() => Err(rusqlite::Error::InvalidQuery),
            Incoming { kind, .. } if kind != "count" => Ok(Handled::SetAside("no".to_owned())),
            _ => Ok(Handled::Done),
        }
    }

    fn incoming(id: Option<&str>, kind: &str, body: &[u8]) -> Incoming {
        let (message_id, routing_key) = (id.map(str::to_owned), String::new());
        Incoming { message_id, routing_key, kind: kind.to_owned(), body: body.to_owned() }
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let counter = "CREATE TABLE counter (messages INTEGER); INSERT INTO counter VALUES (0)";
        connection.execute_batch(counter).unwrap();
        connection
    }

    fn deliver(connection: &mut Connection, incoming: &Incoming) -> rusqlite::Result<Outcome> {
        let transaction = connection.transaction()?;
        let outcome = handle_once(&transaction, incoming, count)?;
        transaction.commit()?;
        Ok(outcome)
    }

    fn number(connection: &Connection, query: &str) -> i64 {
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_message_that_is_delivered_twice_is_handled_once() {
        let mut database = database();
        let message = incoming(Some("1"), "count", b"x");
        assert_eq!(deliver(&mut database, &message), Ok(Outcome::Handled));
        assert_eq!(deliver(&mut database, &message), Ok(Outcome::HandledBefore));
        assert_eq!(number(&database, "SELECT messages FROM counter"), 1);
    }

    #[test]
    fn an_error_undoes_everything_and_the_next_delivery_is_handled() {
        let mut database = database();
        assert!(deliver(&mut database, &incoming(Some("1"), "count", b"")).is_err());
        assert_eq!(number(&database, "SELECT messages FROM counter"), 0);
        let again = incoming(Some("1"), "count", b"x");
        assert_eq!(deliver(&mut database, &again), Ok(Outcome::Handled));
    }

    #[test]
    fn what_can_t_be_handled_is_kept_with_its_reason() {
        let mut database = database();
        let foreign = deliver(&mut database, &incoming(Some("1"), "other", b"x"));
        assert_eq!(foreign, Ok(Outcome::SetAside("no".to_owned())));
        let nameless = deliver(&mut database, &incoming(None, "count", b"y"));
        assert_eq!(nameless, Ok(Outcome::SetAside("it has no message_id".to_owned())));
        let kept = "SELECT count(*) FROM set_aside WHERE reason <> '' AND body IN (x'78', x'79')";
        assert_eq!(number(&database, kept), 2);
    }

    #[test]
    fn ids_are_forgotten_after_a_month() {
        let mut database = database();
        deliver(&mut database, &incoming(Some("1"), "count", b"x")).unwrap();
        let age = i64::try_from(KEEP_IDS.as_millis()).unwrap() + 60_000;
        database.execute("UPDATE handled SET at = at - ?1", [age]).unwrap();
        deliver(&mut database, &incoming(Some("2"), "count", b"x")).unwrap();
        assert_eq!(number(&database, "SELECT count(*) FROM handled"), 1);
    }
}
