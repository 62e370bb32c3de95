//! What the thread that writes does for each command.

use pipeline::contract::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Params, Transaction, TransactionBehavior, params,
};
use uuid::Uuid;

use super::{callbacks, row};
use crate::{
    Applied, Cancel, Claim, Claimed, Cleared, DeleteParked, Discard, Expiry, IdempotencyKeyHash,
    NewRequest, Parked, ReleaseClaim, Replay, Retrying, Status, StoreError, WorkerResult,
    claim::{self, Holder},
    command::{Reply, Write},
    ending::{Stored, dropped},
    sql::{self, accept_rule, discard, is_first, replay, retrying_rule, retrying_run},
};

/// Tells a caller what came of its command, if the commit was well, and else what was wrong with
/// that.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

const ACCEPT: &str = concat!(
    "INSERT INTO requests (id, type, owner, accepted_at, trace, callback_url, callback_host, \
     request_data) SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)",
    accept_rule!()
);
/// An upsert would do the same in one statement, and take more than twice as long.
const FINISH: &str = concat!(
    "UPDATE requests SET status = ?2, run = max(COALESCE(?3, run), run), attempts = ?4, deliveries = ?5, \
     started_at = COALESCE(?6, started_at), finished_at = ?7, settled_at = ?8, worker = ?9, \
     error_code = ?10, error_message = ?11, result = ?12, next_attempt_at = NULL \
     WHERE id = ?1 AND ",
    is_first!("?2", "COALESCE(?3, requests.run)")
);
const FINISH_NEW: &str = "INSERT INTO requests (id, status, run, attempts, deliveries, started_at, \
    finished_at, settled_at, worker, error_code, error_message, result) \
    SELECT ?1, ?2, COALESCE(?3, 0), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 \
    WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = ?1)";
const STORED: &str =
    "SELECT status, run, worker, finished_at, error_code FROM requests WHERE id = $1";
const RETRYING: &str = concat!(
    "INSERT INTO requests (id, run, attempts, last_error, next_attempt_at) \
     SELECT $1, ",
    retrying_run!("$1", "$2"),
    ", $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)",
    retrying_rule!()
);
const PARK: &str = "INSERT INTO parked (key, request_id, reason, error, received_at, headers, body) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO NOTHING";
const CLAIM: &str = "INSERT INTO claims (name, digest, id, claimed_at, keep_until) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
const HOLDER: &str = "SELECT digest, id, claimed_at, \
    EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    OR EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = claims.id) \
    FROM claims WHERE name = $1";
const TAKE_OVER: &str = "UPDATE claims SET claimed_at = $1 WHERE name = $2";
const EXPIRE: &str = "DELETE FROM requests WHERE id IN \
    (SELECT id FROM requests WHERE settled_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) \
    ORDER BY settled_at LIMIT $2) RETURNING id";
const EXPIRE_CALLBACK: &str = "DELETE FROM callbacks WHERE request_id = $1";
const BURY: &str = "INSERT OR IGNORE INTO tombstones VALUES ($1, $2)";
const EXPIRE_PARKED: &str = "DELETE FROM parked WHERE number IN \
    (SELECT number FROM parked WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
const EXPIRE_TOMBSTONES: &str = "DELETE FROM tombstones WHERE id IN \
    (SELECT id FROM tombstones WHERE expired_at < $1 ORDER BY expired_at LIMIT $2)";

/// Does all commands in one transaction and adds the answers to be given after it. An error means
/// that none was done; the commands after the one that failed are left where they are.
pub(super) fn all(
    connection: &mut Connection,
    commands: &mut impl Iterator<Item = Write>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    // If it is not committed it is rolled back when it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let work = Work { transaction: &transaction, now: Timestamp::now() };
    commands.try_for_each(|command| work.one(command, answers))?;
    transaction.commit()
}

struct Work<'c> {
    transaction: &'c Transaction<'c>,
    now: Timestamp,
}

impl Work<'_> {
    fn one(&self, command: Write, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
        match command {
            Write::Accept(request, reply) => later(answers, reply, self.accept(&request)),
            Write::AcceptAll(requests, reply) => {
                let accepted = requests.iter().map(|request| self.accept(request));
                later(answers, reply, accepted.collect::<Result<_, _>>().map(Ok))
            }
            Write::Claim(claim, reply) => later(answers, reply, self.claim(&claim).map(Ok)),
            Write::ReleaseClaim(name, id, how, reply) => {
                later(answers, reply, self.unclaim(&name, id, how).map(Ok))
            }
            Write::Finish(results, reply) => {
                let applied = results.iter().map(|result| self.finish(result));
                later(answers, reply, applied.collect::<Result<_, _>>().map(Ok))
            }
            Write::Park(messages, reply) => {
                let applied = messages.iter().map(|message| self.park(message));
                later(answers, reply, applied.collect::<Result<_, _>>().map(Ok))
            }
            Write::Retrying(news, reply) => {
                let noted = news.iter().try_for_each(|news| self.retrying(news));
                later(answers, reply, noted.map(Ok))
            }
            Write::Cancel(id, reply) => later(answers, reply, self.cancel(id).map(Ok)),
            Write::Replay(id, run, reply) => later(answers, reply, self.replay(id, run).map(Ok)),
            Write::Discard(id, reply) => later(answers, reply, self.discard(id).map(Ok)),
            Write::DeleteParked(number, reply) => {
                later(answers, reply, self.unpark(number).map(Ok))
            }
            Write::Expire(expiry, reply) => later(answers, reply, self.expire(expiry).map(Ok)),
            Write::TakeCallbacks(take, reply) => {
                later(answers, reply, callbacks::take(self.transaction, &take, self.now).map(Ok))
            }
            Write::AttemptReport(attempted, reply) => {
                let noted = callbacks::attempted(self.transaction, &attempted, self.now);
                later(answers, reply, noted.map(Ok))
            }
            Write::RetryCallback(id, reply) => {
                let rows =
                    self.row(sql::RETRY_CALLBACK, params![self.now.as_millis(), id.as_bytes()]);
                later(answers, reply, rows.map(|rows| Ok(rows > 0)))
            }
            Write::Ping(reply) => later(answers, reply, Ok(Ok(()))),
        }
    }

    fn accept(&self, new: &NewRequest) -> rusqlite::Result<Result<(), StoreError>> {
        let target = new.callback.as_ref();
        let values = params![
            new.id.as_bytes(),
            new.kind,
            new.owner,
            new.accepted_at.as_millis(),
            new.trace,
            target.map(|target| &target.url),
            target.map(|target| &target.host),
            new.request_data
        ];
        let accepted = self.try_row(ACCEPT, values)?;
        if accepted.is_ok() && target.is_some() {
            self.row(callbacks::OF_ENDED, [new.id.as_bytes()])?;
        }
        Ok(accepted.map(drop).map_err(StoreError::Refused))
    }

    fn claim(&self, new: &Claim) -> rusqlite::Result<Claimed> {
        let (name, id) = (new.name.bytes(), new.id.as_bytes());
        let values = params![
            name,
            new.digest,
            id,
            self.now.as_millis(),
            (self.now + claim::KEPT).as_millis()
        ];
        if self.row(CLAIM, values)? > 0 {
            return Ok(Claimed::Proceed(new.id));
        }
        let mut statement = self.transaction.prepare_cached(HOLDER)?;
        let holder = statement.query_row([name], |row| {
            Ok(Holder {
                digest: row.get(0)?,
                id: Uuid::from_bytes(row.get(1)?),
                claimed_at: row::time(row, 2)?,
                is_answered: row.get(3)?,
            })
        })?;
        let claimed = claim::decide(&holder, new, self.now);
        if claimed.is_taken_over(new) {
            self.row(TAKE_OVER, params![self.now.as_millis(), name])?;
        }
        Ok(claimed)
    }

    fn unclaim(
        &self,
        name: &IdempotencyKeyHash,
        id: Uuid,
        how: ReleaseClaim,
    ) -> rusqlite::Result<()> {
        let (name, id) = (name.bytes(), id.as_bytes());
        let unclaimed = match how {
            ReleaseClaim::Forget => self.row(sql::FORGET, params![name, id, claim::KEPT_MILLIS]),
            ReleaseClaim::Leave => self.row(sql::LEAVE, params![name, id]),
        };
        unclaimed.map(drop)
    }

    fn finish(&self, new: &WorkerResult) -> rusqlite::Result<Applied> {
        match self.end(FINISH, new)? {
            Ok(0) => {}
            Ok(_) => {
                self.row(callbacks::OF_ENDING, [new.id.as_bytes()])?;
                return Ok(Applied::Stored);
            }
            Err(reason) => return Ok(Applied::BadRow(reason)),
        }
        if let Some(stored) = self.stored(new.id)? {
            return Ok(dropped(Some(&stored), new));
        }
        Ok(match self.end(FINISH_NEW, new)? {
            Ok(0) => dropped(None, new),
            Ok(_) => Applied::Stored,
            Err(reason) => Applied::BadRow(reason),
        })
    }

    fn end(
        &self,
        sql: &'static str,
        new: &WorkerResult,
    ) -> rusqlite::Result<Result<usize, String>> {
        let (status, error) = (new.end.status().number(), new.end.error());
        let values = params![
            new.id.as_bytes(),
            status,
            new.run,
            new.attempt,
            new.deliveries,
            new.started_at.map(Timestamp::as_millis),
            new.finished_at.map(Timestamp::as_millis),
            self.now.as_millis(),
            new.worker,
            error.map(|error| &error.code),
            error.map(|error| &error.message),
            new.end.result(),
        ];
        self.try_row(sql, values)
    }

    fn park(&self, new: &Parked) -> rusqlite::Result<Applied> {
        let (key, request) = (new.key(), new.ends.as_ref().map(|ends| ends.id.into_bytes()));
        let values = params![
            key,
            request,
            new.reason,
            new.error,
            new.received_at.as_millis(),
            new.headers,
            new.body
        ];
        let kept = match self.try_row(PARK, values)? {
            Ok(rows) => rows > 0,
            Err(reason) => return Ok(Applied::BadRow(reason)),
        };
        let Some(ends) = &new.ends else {
            return Ok(if kept { Applied::Stored } else { Applied::Duplicate });
        };
        let applied = self.finish(ends)?;
        if kept && matches!(applied, Applied::BadRow(_)) {
            self.row("DELETE FROM parked WHERE key = $1", params![key])?;
        }
        Ok(applied)
    }

    fn retrying(&self, news: &Retrying) -> rusqlite::Result<()> {
        let id = news.id.as_bytes();
        let values = params![
            id,
            news.run,
            news.attempts,
            news.last_error,
            news.next_attempt_at.map(Timestamp::as_millis)
        ];
        if let Err(reason) = self.try_row(RETRYING, values)? {
            tracing::warn!(id = %news.id, reason, "news of a retry can't be stored");
        }
        Ok(())
    }

    fn cancel(&self, id: Uuid) -> rusqlite::Result<Cancel> {
        let mut cancel = self.transaction.prepare_cached(sql::CANCEL)?;
        let run = cancel.query_row(params![self.now.as_millis(), id.as_bytes()], |row| row.get(1));
        if let Some(run) = run.optional()? {
            self.row(callbacks::OF_ENDING, [id.as_bytes()])?;
            return Ok(Cancel::Done(run));
        }
        Ok(match self.stored(id)? {
            Some(stored) => Cancel::TooLate(stored.status),
            None if row::is_buried(self.transaction, id)? => Cancel::Expired,
            None => Cancel::Unknown,
        })
    }

    fn replay(&self, id: Uuid, run: u32) -> rusqlite::Result<Replay> {
        let mut replay = self.transaction.prepare_cached(replay!())?;
        if replay.exists(params![id.as_bytes(), run])? {
            self.row(EXPIRE_CALLBACK, [id.as_bytes()])?;
            return Ok(Replay::Done);
        }
        let stored = self.stored(id)?.map(|stored| (stored.status, stored.run));
        Ok(Replay::dropped(stored, run, row::is_buried(self.transaction, id)?))
    }

    fn discard(&self, id: Uuid) -> rusqlite::Result<Discard> {
        let mut discard = self.transaction.prepare_cached(discard!())?;
        if discard.exists([id.as_bytes()])? {
            self.row(EXPIRE_CALLBACK, [id.as_bytes()])?;
            self.row("DELETE FROM parked WHERE request_id = $1", [id.as_bytes()])?;
            self.row(BURY, params![id.as_bytes(), self.now.as_millis()])?;
            return Ok(Discard::Done);
        }
        let stored = self.stored(id)?.map(|stored| stored.status);
        Ok(Discard::dropped(stored, row::is_buried(self.transaction, id)?))
    }

    fn unpark(&self, number: i64) -> rusqlite::Result<DeleteParked> {
        if self.row(sql::UNPARK, [number])? > 0 {
            return Ok(DeleteParked::Done);
        }
        let mut whose = self.transaction.prepare_cached(sql::WHOSE)?;
        let whose = whose.query_row([number], |row| row.get(0)).optional()?;
        Ok(whose.map_or(DeleteParked::Unknown, |id| DeleteParked::Belongs(Uuid::from_bytes(id))))
    }

    fn expire(&self, expiry: Expiry) -> rusqlite::Result<Cleared> {
        let Expiry { ended_before, tombstones_before, at_most } = expiry;
        let mut statement = self.transaction.prepare_cached(EXPIRE)?;
        let gone =
            statement.query_map(params![ended_before.as_millis(), at_most], |row| row.get(0))?;
        let gone: Vec<[u8; 16]> = gone.collect::<Result<_, _>>()?;
        for id in &gone {
            self.row(EXPIRE_CALLBACK, [id])?;
            self.row(BURY, params![id, self.now.as_millis()])?;
        }
        Ok(Cleared {
            requests: gone.len() as u64,
            parked: self.row(EXPIRE_PARKED, params![ended_before.as_millis(), at_most])? as u64,
            tombstones: self
                .row(EXPIRE_TOMBSTONES, params![tombstones_before.as_millis(), at_most])?
                as u64,
            claims: self.expire_claims(at_most)?,
        })
    }

    fn expire_claims(&self, at_most: u32) -> rusqlite::Result<u64> {
        let gone = self.row(sql::EXPIRE_CLAIMS, params![self.now.as_millis(), at_most])?;
        let kept = params![(self.now + claim::KEPT).as_millis(), self.now.as_millis(), at_most];
        Ok(gone.max(self.row(sql::PROLONG_CLAIMS, kept)?) as u64)
    }

    fn stored(&self, id: Uuid) -> rusqlite::Result<Option<Stored>> {
        let mut statement = self.transaction.prepare_cached(STORED)?;
        let stored = statement.query_row([id.as_bytes()], |row| {
            Ok(Stored {
                status: Status::from_number(row.get(0)?),
                run: row.get(1)?,
                worker: row.get(2)?,
                finished_at: row::time_if_any(row, 3)?,
                error_code: row.get(4)?,
            })
        });
        stored.optional()
    }

    /// Runs a statement and gives how many rows it changed.
    fn row(&self, sql: &'static str, values: impl Params) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(values)
    }

    /// The same; a refusal for which the data are to blame does not harm the transaction.
    fn try_row(
        &self,
        sql: &'static str,
        values: impl Params,
    ) -> rusqlite::Result<Result<usize, String>> {
        match self.row(sql, values) {
            Err(error) if is_about_data(&error) => Ok(Err(error.to_string())),
            other => other.map(Ok),
        }
    }
}

/// Notes the answer to a command, to be given after the commit.
fn later<T: 'static>(
    answers: &mut Vec<Answer>,
    reply: Reply<T>,
    answer: rusqlite::Result<Result<T, StoreError>>,
) -> rusqlite::Result<()> {
    // Without an answer there will be no commit, and what was wrong is told instead.
    let (answer, outcome) = match answer {
        Ok(answer) => (answer, Ok(())),
        Err(error) => (Err(StoreError::Unavailable(error.to_string())), Err(error)),
    };
    answers.push(Box::new(move |committed| drop(reply.send(committed.and(answer)))));
    outcome
}

fn is_about_data(error: &rusqlite::Error) -> bool {
    let about_data = [ErrorCode::ConstraintViolation, ErrorCode::TooBig, ErrorCode::TypeMismatch];
    error.sqlite_error_code().is_some_and(|code| about_data.contains(&code))
}
