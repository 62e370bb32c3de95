//! The server: its URL, connections to it, and its schema migrations.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::{
    error::BadUrl,
    migrations,
    options::StoreOptions,
    postgres::error::{ErrorKind, StatementError},
};

/// The key of the advisory lock that lets one web service at a time migrate the schema.
const MIGRATION_LOCK: i64 = 0x510_31A7_E000;
/// How long a migration may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(3600);

/// The encoding of a database that stores any JSON.
const ENCODING: &str = "UTF8";

/// The settings of each connection. A commit is durable before it is answered, whatever the server's
/// default is; a stronger default stays.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A PostgreSQL server, and the database on it.
pub(super) struct Server {
    options: PgConnectOptions,
    /// How long the statements of reads may take: as long as their callers wait.
    pub(super) read_timeout: Duration,
    /// How long all other statements may take.
    pub(super) statement_timeout: Duration,
    /// How long it may take to connect and to answer a ping.
    ping_timeout: Duration,
}

/// The longest limit of the server, 24.8 days, in milliseconds. Zero would be none.
const MAX_LIMIT_MILLIS: u128 = i32::MAX as u128;

impl Server {
    /// The server that a `postgres:` URL names.
    pub(super) fn parse(url: &str, timeouts: &StoreOptions) -> Result<Self, BadUrl> {
        // What stands behind it, most likely the host, would be dropped.
        if url.contains('#') {
            return Err(BadUrl("write # as %23".to_owned()));
        }
        if let Some(reason) = misplaced_at(url) {
            return Err(BadUrl(reason.to_owned()));
        }
        // The error may quote a part of the URL, but never the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| BadUrl(format!("this is no postgres:// URL: {error}")))?;
        // Poolers refuse a setting that they don't know, and no column is a float.
        let options = options.extra_float_digits(None);
        let options = options.application_name("slowlane").disable_statement_logging();
        let StoreOptions { timeout: read_timeout, statement_timeout, ping_timeout, .. } = *timeouts;
        Ok(Self { options, read_timeout, statement_timeout, ping_timeout })
    }

    /// A new connection, for statements that may take so long. The server ends those that take longer, and idle
    /// transactions, so that those of a lost web service don't hold locks for long.
    pub(super) async fn connect(
        &self,
        statement_timeout: Duration,
    ) -> Result<PgConnection, StatementError> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
            for (setting, limit) in [
                ("statement_timeout", statement_timeout),
                ("idle_in_transaction_session_timeout", self.ping_timeout),
            ] {
                let limit = format!("{}ms", limit.as_millis().clamp(1, MAX_LIMIT_MILLIS));
                let set = sqlx::query("SELECT set_config($1, $2, false)").bind(setting).bind(limit);
                set.execute(&mut connection).await?;
            }
            Ok(connection)
        };
        self.in_time(connecting).await
    }

    /// Checks that the database takes writes and all texts, and applies the missing migrations.
    pub(super) async fn prepare(&self) -> Result<(), StatementError> {
        let mut connection = self.connect(self.ping_timeout).await?;
        let sql = "SELECT current_setting('transaction_read_only')::bool, \
            current_setting('server_encoding')";
        let settings = sqlx::query_as(sql).fetch_one(&mut connection);
        let (is_read_only, encoding): (bool, String) = self.in_time(settings).await?;
        if is_read_only {
            let reason = "it takes no writes: is it a standby?";
            return Err(StatementError::new(ErrorKind::Connection, reason));
        }
        if encoding != ENCODING {
            let reason = format!(
                "the database has the encoding {encoding}, which can't store all texts; \
                 make one with CREATE DATABASE ... ENCODING '{ENCODING}' TEMPLATE template0"
            );
            return Err(StatementError::new(ErrorKind::Connection, reason));
        }
        self.check_session(&mut connection).await?;
        let migrated = timeout(MIGRATION_TIMEOUT, migrate(&mut connection)).await;
        migrated.unwrap_or_else(|_| Err(StatementError::timeout(MIGRATION_TIMEOUT).in_migration()))
    }

    /// Checks that a connection keeps its server process: a pooler in transaction mode gives an idle one's to another.
    async fn check_session(&self, connection: &mut PgConnection) -> Result<(), StatementError> {
        let mut other = match self.connect(self.ping_timeout).await {
            Err(error) if error.kind == ErrorKind::NoRoom => return Ok(()),
            connected => connected?,
        };
        let mut processes = Vec::new();
        for connection in [connection, &mut other] {
            let process = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection);
            processes.push(self.in_time::<i32>(process).await?);
        }
        match processes[0] == processes[1] {
            true => Err(StatementError::of_pooler("two connections have one server process")),
            false => Ok(()),
        }
    }

    /// Checks that the server answers, on a new connection.
    pub(super) async fn ping(&self) -> Result<(), StatementError> {
        let mut connection = match self.connect(self.ping_timeout).await {
            Err(error) if error.kind == ErrorKind::NoRoom => return Ok(()),
            connected => connected?,
        };
        self.ping_on(&mut connection).await
    }

    /// Checks that the server answers on this connection.
    pub(super) async fn ping_on(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), StatementError> {
        self.in_time(sqlx::query("SELECT 1").execute(connection)).await.map(drop)
    }

    /// The reason of an error with the server's address.
    pub(super) fn explain(&self, error: &StatementError) -> String {
        let database = self.options.get_database().unwrap_or_default();
        let (host, port) = (self.options.get_host(), self.options.get_port());
        format!("PostgreSQL at {host}:{port}/{database}: {error}")
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, StatementError> {
        let began = Instant::now();
        match timeout(self.ping_timeout, work).await {
            Ok(outcome) => outcome.map_err(StatementError::from),
            Err(_) => Err(StatementError::no_answer(began.elapsed())),
        }
    }
}

/// Applies the missing migrations. Web services that start together take turns; those that have to wait
/// time out and try again. A table that another session has locked is not waited for longer than 3 s: all statements of the
/// web services that run would wait behind this one.
async fn migrate(connection: &mut PgConnection) -> Result<(), StatementError> {
    let mut transaction = connection.begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
    lock.execute(&mut *transaction).await?;
    let prepare = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '3s'; \
        CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, at timestamptz NOT NULL)";
    sqlx::raw_sql(prepare).execute(&mut *transaction).await?;
    let done = sqlx::query_scalar("SELECT COALESCE(max(number), 0) FROM migrations");
    let done = done.fetch_one(&mut *transaction).await?;
    migrations::log(migrations::POSTGRES, done);
    for (number, sql) in migrations::missing(migrations::POSTGRES, done) {
        let applied = sqlx::raw_sql(*sql).execute(&mut *transaction).await;
        applied.map_err(|error| StatementError::of_migration(*number, error))?;
        let note = sqlx::query("INSERT INTO migrations VALUES ($1, now())").bind(number);
        note.execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// What is wrong with a URL whose password ends its host part too early: the rest of the password would be shown as the
/// name of the database or of a parameter.
fn misplaced_at(url: &str) -> Option<&'static str> {
    let (_, rest) = url.split_once("://")?;
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let mut names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
    if path.contains('@') {
        Some(
            "an @ stands after a /: write / in the password as %2F, or @ in the name of the database as %40",
        )
    } else if names.any(|name| name.contains('@')) {
        Some("an @ stands after a ?: write ? in the password as %3F")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_ends_the_host_part_is_refused_and_not_shown() {
        let parse = |url| Server::parse(url, &StoreOptions::default());
        for (url, written) in [
            ("postgres://app:12/secret@h/d", "%2F"),
            ("postgres://app:12/secret@h:5432/d?sslmode=disable", "%2F"),
            ("postgres://app:12?secret@h/d", "%3F"),
            ("postgres://app:12?secret@h/d?sslmode=disable", "%3F"),
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(error.contains(written) && !error.contains("secret"), "{url}: {error}");
        }
        for url in
            ["postgres://app:12%2Fa%3Fb@h/d", "postgres://h/d?user=a@b", "postgres://h/a%40b"]
        {
            assert!(parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn nothing_of_a_url_is_dropped_behind_a_number_sign() {
        let parse = |url| Server::parse(url, &StoreOptions::default());
        for url in ["postgres://app:#secret@h/d", "postgres://app:se#cret@h/d", "postgres://h/d#2"]
        {
            let error = parse(url).err().expect(url).to_string();
            assert_eq!(error, "write # as %23");
        }
        let server = parse("postgres://app:%23secret@h/prod%232").ok().unwrap();
        assert_eq!(server.options.get_database(), Some("prod#2"));
    }
}
