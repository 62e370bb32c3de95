//! Database: a SQLite file in which a change, the messages about it and the message it follows from commit together.

use std::{
    panic::resume_unwind,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::{sync::Notify, task::spawn_blocking};

/// How long a transaction waits while another program has locked the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A service's database. One process at a time uses it; clones share it.
#[derive(Clone)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
    committed: Arc<Notify>,
}

impl Database {
    /// Opens the file, which is made if it is missing, and creates the tables that are missing.
    ///
    /// # Errors
    /// If the file can't be opened or written.
    pub fn open(path: &Path, tables: &[&str]) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is committed survives a power cut, too.
        connection.pragma_update(None, "synchronous", "FULL")?;
        tables.iter().try_for_each(|table| connection.execute_batch(table))?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), committed: Arc::default() })
    }

    /// Makes all changes of `change` in one transaction. An error undoes them all.
    ///
    /// # Errors
    /// Those of `change`, and those of the commit.
    pub async fn write<T, E>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        self.transaction(TransactionBehavior::Immediate, change).await
    }

    /// Reads one state of the database, also while another program writes.
    ///
    /// # Errors
    /// Those of `query`.
    pub async fn read<T, E>(
        &self,
        query: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        self.transaction(TransactionBehavior::Deferred, query).await
    }

    /// Waits for a commit of [`Self::write`] since the last call.
    pub(crate) async fn committed(&self) {
        self.committed.notified().await;
    }

    /// Runs in a thread of its own, and to its end: a caller that is gone interrupts no transaction.
    async fn transaction<T, E>(
        &self,
        behavior: TransactionBehavior,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        let Self { connection, committed } = self.clone();
        let running = spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = run(&transaction)?;
            transaction.commit()?;
            if matches!(behavior, TransactionBehavior::Immediate) {
                committed.notify_one();
            }
            Ok(value)
        });
        running.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}
