//! The database file: how it is opened and migrated, and whether it is still the same file.

use std::{
    fs,
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use percent_encoding::percent_decode_str;
use pipeline::contract::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::{
    error::BadUrl,
    migrations,
    model::inspection::{self, Inspection},
    options::StoreOptions,
    sqlite::file_lock::FileLock,
};

/// How many prepared statements each connection keeps.
const STATEMENT_CACHE_CAPACITY: usize = 64;

/// The pause before another attempt to change the journal mode of a locked file.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// What every database file of SQLite begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The database file.
pub(super) struct File {
    path: PathBuf,
    /// How long to wait for another program that has locked it.
    lock_timeout: Duration,
    /// Keeps other web services from the file, if that is wanted.
    lock: Option<FileLock>,
    /// Whether the file was opened before. Only the first opening may create it: later a missing file
    /// means that the disk is not mounted, and a new file would hide what was stored.
    was_opened: AtomicBool,
}

/// Tells files at the same path apart: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// Why the database file can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{} is gone", .0.display())]
    Gone(PathBuf),
    #[error("{} was replaced by another file", .0.display())]
    Replaced(PathBuf),
    #[error("{}: the disk allows no write-ahead log (journal mode {mode})", path.display())]
    NoWriteAheadLog { path: PathBuf, mode: String },
    #[error("another web service uses {}: only one at a time can use an SQLite file; for several, set DATABASE_URL=postgres://...", .0.display())]
    InUse(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl FileError {
    /// Whether another program held the lock of the file for too long.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if is_busy(source))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

impl File {
    /// The file that a `sqlite:` URL names.
    pub(super) fn parse(url: &str, options: &StoreOptions) -> Result<Self, BadUrl> {
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
        let path = PathBuf::from(path.as_ref());
        if is_something_else(&path) {
            return Err(bad(&format!("{} is no SQLite database", path.display())));
        }
        let lock = options.locks_file.then(FileLock::default);
        let was_opened = AtomicBool::new(false);
        Ok(Self { path, lock_timeout: options.ping_timeout, lock, was_opened })
    }

    /// A connection that writes, to a migrated file that takes writes.
    pub(super) fn open_to_write(&self) -> Result<(Connection, Identity), FileError> {
        let create = !self.was_opened.load(Ordering::Acquire);
        self.lock(create)?;
        let connection = self.open_and_migrate(create)?;
        self.was_opened.store(true, Ordering::Release);
        Ok((connection, self.identity()?))
    }

    /// A connection that reads.
    pub(super) fn open_to_read(&self) -> Result<Connection, FileError> {
        let open = || {
            let connection = self.open(false)?;
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cache_size", -4000)?;
            Ok(connection)
        };
        open().map_err(|error| self.error(error))
    }

    /// The path, and the file system that it is on.
    pub(super) fn inspect(&self) -> Inspection {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let path = path.display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Inspection::Sqlite { file_system: inspection::file_system(&mounts, &path), path }
    }

    /// Fails if another file, or none, is at the path by now: what is written to the old one would not be
    /// found after a restart.
    pub(super) fn check_identity(&self, opened: Identity) -> Result<(), FileError> {
        if self.identity()? == opened {
            return Ok(());
        }
        Err(FileError::Replaced(self.path.clone()))
    }

    /// An error of SQLite with the path of the file.
    pub(super) fn error(&self, source: rusqlite::Error) -> FileError {
        FileError::Sqlite { path: self.path.clone(), source }
    }

    /// Locks the file, if that is wanted, which may create it.
    fn lock(&self, create: bool) -> Result<(), FileError> {
        let Some(lock) = &self.lock else { return Ok(()) };
        if !create {
            // It is gone, or not mounted.
            self.identity()?;
        }
        match lock.acquire(&self.path, create) {
            Ok(true) => Ok(()),
            Ok(false) => Err(FileError::InUse(self.path.clone())),
            Err(source) => Err(FileError::Io { path: self.path.clone(), source }),
        }
    }

    /// Which file is at the path now.
    fn identity(&self) -> Result<Identity, FileError> {
        let path = || self.path.clone();
        match fs::metadata(&self.path) {
            Ok(file) => Ok(Identity(file.dev(), file.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(FileError::Gone(path())),
            Err(source) => Err(FileError::Io { path: path(), source }),
        }
    }

    /// A connection to a file that is migrated. The memory that migrations have taken goes with the connection that made
    /// them: one that stays open would keep it.
    fn open_and_migrate(&self, create: bool) -> Result<Connection, FileError> {
        let mut connection = self.open_with_log(create)?;
        while migrate(&mut connection).map_err(|error| self.error(error))? {
            drop(connection);
            connection = self.open_with_log(false)?;
        }
        note_opened(&connection).map_err(|error| self.error(error))?;
        Ok(connection)
    }

    /// A connection that writes into a write-ahead log.
    fn open_with_log(&self, create: bool) -> Result<Connection, FileError> {
        let open = || {
            let connection = self.open(create)?;
            let mode = self.use_write_ahead_log(&connection)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // The log is cut back to this size after a burst.
            connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
            Ok((connection, mode))
        };
        let (connection, mode) = open().map_err(|error| self.error(error))?;
        match mode == "wal" {
            true => Ok(connection),
            false => Err(FileError::NoWriteAheadLog { path: self.path.clone(), mode }),
        }
    }

    /// Has SQLite use a write-ahead log, and returns the journal mode that the file has then. While somebody else opens a new
    /// file SQLite says at once that it is locked, whatever its timeout is.
    fn use_write_ahead_log(&self, connection: &Connection) -> rusqlite::Result<String> {
        let until = Instant::now() + self.lock_timeout;
        loop {
            let changed =
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            match changed {
                Err(error) if is_busy(&error) && Instant::now() < until => {
                    thread::sleep(LOCK_PAUSE)
                }
                other => return other,
            }
        }
    }

    fn open(&self, create: bool) -> rusqlite::Result<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = Connection::open_with_flags(Path::new(&self.path), flags)?;
        connection.busy_timeout(self.lock_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE_CAPACITY);
        Ok(connection)
    }
}

/// Whether something other than a database is at this path. A file without content becomes a database; what can't be read
/// now may be readable later.
fn is_something_else(path: &Path) -> bool {
    match fs::metadata(path) {
        Err(_) => false,
        Ok(file) if !file.is_file() => true,
        Ok(_) => {
            let mut begin = Vec::new();
            let read = fs::File::open(path)
                .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
            read.is_ok() && !begin.is_empty() && begin != MAGIC
        }
    }
}

/// Writes down when the file was opened, which shows that it takes writes.
fn note_opened(connection: &Connection) -> rusqlite::Result<()> {
    let opened = "INSERT INTO opened VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET at = ?1";
    connection.execute(opened, [Timestamp::now().as_millis()]).map(drop)
}

/// Applies the missing migrations, and says whether there were any; two programs that try at once take turns.
fn migrate(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    migrations::log(migrations::SQLITE, done);
    let mut were_missing = false;
    for (number, sql) in migrations::missing(migrations::SQLITE, done) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        were_missing = true;
    }
    transaction.commit()?;
    Ok(were_missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_open_a_new_file_at_once_take_turns() {
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", dir.path().join("results.db").display());
            let open = || {
                let file = File::parse(&url, &StoreOptions::default()).ok().unwrap();
                file.open_to_write().map(drop).map_err(|error| error.to_string())
            };
            let opened = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(opened.iter().all(Result::is_ok), "{opened:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        let refused = || {
            let url = format!("sqlite:{}", path.display());
            File::parse(&url, &StoreOptions::default()).err().map(|error| error.0)
        };
        assert_eq!(refused(), None, "it will be made");
        for text in ["not a database at all", "short", "SQLite format 3"] {
            fs::write(&path, text).unwrap();
            assert!(refused().unwrap().contains("is no SQLite database"), "{text}");
        }
        fs::write(&path, "").unwrap();
        assert_eq!(refused(), None, "it will be filled");
        let database = Connection::open(&path).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute_batch("CREATE TABLE t (a)").unwrap();
        assert_eq!(refused(), None, "it is one");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused().is_some());
    }

    /// The third migration makes the table of requests anew.
    #[test]
    fn a_file_of_an_earlier_release_keeps_what_is_in_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (_, sql) in &migrations::SQLITE[..2] {
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
        assert!(migrate(&mut connection).unwrap());
        let tallied = "SELECT failed = 1 AND queued = 0 FROM tallies WHERE type = 't'";
        assert!(connection.query_row(tallied, [], |row| row.get::<_, bool>(0)).unwrap());
        let same = format!("SELECT ({columns}) = ({row}) FROM requests");
        assert!(connection.query_row(&same, [], |row| row.get::<_, bool>(0)).unwrap());
        let indexes = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'requests' \
            AND sql IS NOT NULL";
        assert_eq!(connection.query_row(indexes, [], |row| row.get::<_, i64>(0)).unwrap(), 5);
        assert!(!migrate(&mut connection).unwrap());
    }

    #[test]
    fn every_commit_is_on_disk_and_the_log_stays_short_from_the_first_opening_on() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("results.db").display());
        let file = File::parse(&url, &StoreOptions::default()).ok().unwrap();
        for _ in 0..2 {
            let (connection, _) = file.open_to_write().ok().unwrap();
            let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
            let full = 2;
            assert_eq!(number("synchronous"), Ok(full));
            assert_eq!(number("journal_size_limit"), Ok(64 << 20));
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()));
        }
    }
}
