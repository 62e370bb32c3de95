//! Account store: a hundred accounts in an embedded database, made at the first start.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, Result};

const ACCOUNTS: std::ops::Range<u32> = 10_000..10_100;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// The accounts in their database.
pub(crate) struct AccountStore(Mutex<Connection>);

impl AccountStore {
    /// Opens the database, and makes the accounts if there are none.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut connection = Connection::open(path)?;
        // In one transaction: a program that is killed in between leaves nothing, and makes all the next time.
        let making = connection.transaction()?;
        making.execute_batch(
            "CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL)",
        )?;
        for (index, id) in ACCOUNTS.enumerate() {
            let account = (id.to_string(), format!("Person_{index}"));
            making.execute("INSERT OR IGNORE INTO accounts VALUES (?1, ?2)", account)?;
        }
        making.commit()?;
        Ok(Self(Mutex::new(connection)))
    }

    /// The account with this id.
    pub(crate) fn find(&self, id: &str) -> Result<Option<Account>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = connection.prepare_cached("SELECT id, name FROM accounts WHERE id = ?1")?;
        let found = query.query_row([id], |row| Ok(Account { id: row.get(0)?, name: row.get(1)? }));
        found.optional()
    }
}
