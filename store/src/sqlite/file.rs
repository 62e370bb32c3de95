//! The file and how it is opened.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use pipeline::contract::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{BadUrl, schema};

/// Statements that are kept ready in each connection.
const STATEMENTS: usize = 32;

/// The database file.
pub(super) struct File {
    path: PathBuf,
    /// How long to wait for another program that holds a lock on it.
    lock_patience: Duration,
    /// Only the first opening may make the file. Later a missing one means that the disk is not
    /// there, and a new one in its place would hide what was stored.
    seen: AtomicBool,
}

/// Which file stood at the path when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl File {
    pub(super) fn parse(url: &str, patience: Duration) -> Result<Self, BadUrl> {
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        let path = path.strip_prefix("//").unwrap_or(path);
        let bad = |what: &str| BadUrl(format!("{what}; give a file as in sqlite:slowlane.db"));
        if path.is_empty() || path == ":memory:" {
            return Err(bad("results must be kept in a file"));
        }
        if path.contains('?') {
            return Err(bad("a sqlite: URL takes no parameters"));
        }
        let path =
            percent_decode_str(path).decode_utf8().map_err(|_| bad("the path is not text"))?;
        let (path, lock_patience) = (PathBuf::from(path.as_ref()), patience / 2);
        Ok(Self { path, lock_patience, seen: AtomicBool::new(false) })
    }

    /// A connection that writes, to a file whose tables are up to date and that takes writes.
    pub(super) fn open_to_write(&self) -> Result<(Connection, Identity), String> {
        let create = !self.seen.load(Ordering::Acquire);
        let opened = self.try_open_to_write(create).map_err(|error| self.explain(&error))?;
        self.seen.store(true, Ordering::Release);
        Ok((opened, self.identity()?))
    }

    /// A connection that reads.
    pub(super) fn open_to_read(&self) -> rusqlite::Result<Connection> {
        let connection = self.open(false)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -4000)?;
        Ok(connection)
    }

    /// Which file stands at the path now.
    pub(super) fn identity(&self) -> Result<Identity, String> {
        match fs::metadata(&self.path) {
            Ok(file) => Ok(Identity(file.dev(), file.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(format!("{} is gone", self.path.display()))
            }
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }

    /// Fails if another file, or none, stands at the path by now: what is written to the old one
    /// would not be found after a restart.
    pub(super) fn still(&self, opened: Identity) -> Result<(), String> {
        if self.identity()? == opened {
            return Ok(());
        }
        Err(format!("{} was replaced by another file", self.path.display()))
    }

    /// An error of SQLite's as a sentence with the path.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    fn try_open_to_write(&self, create: bool) -> rusqlite::Result<Connection> {
        let mut connection = self.open(create)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            let reason = format!("the disk allows no write-ahead log (journal mode {mode})");
            return Err(rusqlite::Error::ToSqlConversionFailure(reason.into()));
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        // The log is cut back to this size after a burst.
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        migrate(&mut connection)?;
        let opened = "INSERT INTO opened VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET at = ?1";
        connection.execute(opened, [Timestamp::now().as_millis()])?;
        Ok(connection)
    }

    fn open(&self, create: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = Connection::open_with_flags(Path::new(&self.path), flags)?;
        connection.busy_timeout(self.lock_patience)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }
}

/// Takes the steps that are missing; two programs that try at once take turns.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (number, sql) in schema::missing(schema::SQLITE, done) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The third step makes the table of requests anew.
    #[test]
    fn a_file_of_an_earlier_release_keeps_what_is_in_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (_, sql) in &schema::SQLITE[..2] {
            connection.execute_batch(sql).unwrap();
        }
        connection.pragma_update(None, "user_version", 2).unwrap();
        let columns = "id, status, type, owner, run, attempts, deliveries, accepted_at, started_at, \
            finished_at, settled_at, next_attempt_at, worker, error_code, error_message, last_error, \
            trace, request_data, result";
        let row =
            "x'01', 2, 't', 'o', 3, 4, 5, 6, 7, 8, 9, 10, 'w', 'c', 'm', 'l', 'tr', x'aa', x'bb'";
        let insert = format!("INSERT INTO requests ({columns}) VALUES ({row})");
        connection.execute_batch(&insert).unwrap();
        migrate(&mut connection).unwrap();
        let same = format!("SELECT ({columns}) = ({row}) FROM requests");
        assert!(connection.query_row(&same, [], |row| row.get::<_, bool>(0)).unwrap());
        let indexes = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'requests' \
            AND sql IS NOT NULL";
        assert_eq!(connection.query_row(indexes, [], |row| row.get::<_, i64>(0)).unwrap(), 3);
        migrate(&mut connection).unwrap();
    }
}
