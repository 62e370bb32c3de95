//! Executes the commands of a batch in one transaction.

use rusqlite::Connection;

use crate::{
    command::Write,
    sqlite::{
        answer::{Answer, later, later_if_taken},
        bulk_runs, callbacks, idempotency,
        jobs::Jobs,
        parked, replay, requests, results, retention, retry_now,
        transaction::WriteTransaction,
    },
};

/// Executes all commands, and a part of the jobs if `with_jobs`, and commits. The answers are to be sent after that. An
/// error means that nothing was done; the commands after the one that failed are not taken.
pub(super) fn execute_all(
    connection: &mut Connection,
    commands: &mut impl Iterator<Item = Write>,
    jobs: &mut Jobs,
    with_jobs: bool,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let transaction = WriteTransaction::begin(connection)?;
    commands.try_for_each(|command| execute(&transaction, command, jobs, answers))?;
    if with_jobs {
        jobs.run(&transaction, answers)?;
    }
    transaction.commit()
}

fn execute(
    tx: &WriteTransaction<'_>,
    command: Write,
    jobs: &mut Jobs,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    match command {
        Write::Accept(request, reply) => {
            later_if_taken(answers, reply, requests::accept(tx, &request))
        }
        Write::AcceptBatch(requests, reply) => {
            jobs.add(requests, reply, requests::accept);
            Ok(())
        }
        Write::Claim(claim, reply) => later(answers, reply, idempotency::claim(tx, &claim)),
        Write::ReleaseClaim(key, id, how, reply) => {
            later(answers, reply, idempotency::release(tx, &key, id, how))
        }
        Write::ApplyResults(results, reply) => {
            jobs.add(results, reply, results::apply);
            Ok(())
        }
        Write::Park(messages, reply) => {
            jobs.add(messages, reply, parked::park);
            Ok(())
        }
        Write::RecordRetries(retries, reply) => {
            let recorded = retries.iter().try_for_each(|retry| results::record_retry(tx, retry));
            later(answers, reply, recorded)
        }
        Write::Cancel(id, reply) => later(answers, reply, requests::cancel(tx, id)),
        Write::NoteReplay(id, run, reply) => later(answers, reply, replay::note(tx, id, run)),
        Write::Replay(id, run, reply) => later(answers, reply, replay::replay(tx, id, run)),
        Write::NoteRetry(id, awaited, reissue, reply) => {
            later(answers, reply, retry_now::note(tx, id, awaited, reissue))
        }
        Write::BeginRetry(id, run, reissue, reply) => {
            later(answers, reply, retry_now::begin(tx, id, run, reissue))
        }
        Write::Discard(id, reply) => later(answers, reply, replay::discard(tx, id)),
        Write::DeleteParked(number, reply) => later(answers, reply, parked::delete(tx, number)),
        Write::Expire(expiry, reply) => later(answers, reply, retention::expire(tx, expiry)),
        Write::LeaseCallbacks(wanted, reply) => {
            later(answers, reply, callbacks::lease(tx, &wanted))
        }
        Write::RecordAttempt(report, reply) => {
            later(answers, reply, callbacks::record_attempt(tx, &report))
        }
        Write::RetryCallback(id, reply) => later(answers, reply, callbacks::retry(tx, id)),
        Write::BeginBulkRun(run, reply) => later(answers, reply, bulk_runs::begin(tx, &run)),
        Write::LeaseBulkRuns(wanted, reply) => later(answers, reply, bulk_runs::lease(tx, &wanted)),
        Write::ReportBulkRun(report, reply) => {
            later(answers, reply, bulk_runs::report(tx, &report))
        }
        Write::StopBulkRun(id, reply) => later(answers, reply, bulk_runs::stop(tx, id)),
        Write::Ping(reply) => later(answers, reply, Ok(())),
    }
}
