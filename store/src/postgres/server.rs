//! The server and how to get a connection to it.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::{BadUrl, schema};

/// The key of the lock that lets one web service at a time change the tables.
const MIGRATION_LOCK: i64 = 0x510_31A7_E000;
/// How long it may take to change the tables.
const MIGRATION_LIMIT: Duration = Duration::from_secs(3600);

/// A result is durable before it is acknowledged, whatever the server's default is; but a stronger
/// default stays. What a lost web service left undone does not hold locks for long.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A PostgreSQL server, and the database on it.
pub(super) struct Server {
    options: PgConnectOptions,
    /// How long a statement may take.
    pub(super) patience: Duration,
}

impl Server {
    pub(super) fn parse(url: &str, patience: Duration) -> Result<Self, BadUrl> {
        // The error may quote a part of the URL, but never the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| BadUrl(format!("this is no postgres:// URL: {error}")))?;
        let options = options.application_name("slowlane").disable_statement_logging();
        Ok(Self { options, patience })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<PgConnection, Trouble> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SESSION).execute(&mut connection).await?;
            let limit = format!("{}ms", self.patience.as_millis());
            for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
                let set =
                    sqlx::query("SELECT set_config($1, $2, false)").bind(setting).bind(&limit);
                set.execute(&mut connection).await?;
            }
            Ok(connection)
        };
        self.in_time(connecting).await
    }

    /// Makes sure that the database takes writes and that its tables are up to date.
    pub(super) async fn prepare(&self) -> Result<(), Trouble> {
        let mut connection = self.connect().await?;
        let sql = "SELECT current_setting('transaction_read_only')::bool";
        let read_only = sqlx::query_scalar(sql).fetch_one(&mut connection);
        if self.in_time(read_only).await? {
            return Err(Trouble::Lost("it takes no writes: is it a standby?".to_owned()));
        }
        let migrated = timeout(MIGRATION_LIMIT, migrate(&mut connection)).await;
        migrated.map_err(|_| Trouble::silence(MIGRATION_LIMIT))?.map_err(Trouble::from)
    }

    /// A reason with the server's address.
    pub(super) fn explain(&self, reason: &str) -> String {
        let database = self.options.get_database().unwrap_or_default();
        let (host, port) = (self.options.get_host(), self.options.get_port());
        format!("PostgreSQL at {host}:{port}/{database}: {reason}")
    }

    async fn in_time<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> Result<T, Trouble> {
        let began = Instant::now();
        match timeout(self.patience, work).await {
            Ok(outcome) => outcome.map_err(Trouble::from),
            Err(_) => Err(Trouble::silence(began.elapsed())),
        }
    }
}

/// Takes the steps that are missing. Web services that start together take turns; those that have
/// to wait give up in time and try again.
async fn migrate(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
    lock.execute(&mut *transaction).await?;
    let prepare = "SET LOCAL statement_timeout = 0; \
        CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, at timestamptz NOT NULL)";
    sqlx::raw_sql(prepare).execute(&mut *transaction).await?;
    let done = sqlx::query_scalar("SELECT COALESCE(max(number), 0) FROM migrations");
    let done = done.fetch_one(&mut *transaction).await?;
    for (number, sql) in schema::missing(schema::POSTGRES, done) {
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
        let note = sqlx::query("INSERT INTO migrations VALUES ($1, now())").bind(number);
        note.execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
