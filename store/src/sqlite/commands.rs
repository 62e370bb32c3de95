//! Executes the commands of a batch in one transaction.

use rusqlite::Connection;

use crate::{
    command::{Reply, Write},
    error::StoreError,
    sqlite::{
        callbacks, idempotency, parked, replay, requests, results, retention,
        transaction::WriteTransaction,
    },
};

/// Sends the answer to a command, if the commit succeeded, and else the error of the commit.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Executes all commands and commits. The answers are to be sent after that. An error means that nothing
/// was done; the commands after the one that failed are not taken.
pub(super) fn execute_all(
    connection: &mut Connection,
    commands: &mut impl Iterator<Item = Write>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let transaction = WriteTransaction::begin(connection)?;
    commands.try_for_each(|command| execute(&transaction, command, answers))?;
    transaction.commit()
}

fn execute(
    tx: &WriteTransaction<'_>,
    command: Write,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    match command {
        Write::Accept(request, reply) => {
            later_if_taken(answers, reply, requests::accept(tx, &request))
        }
        Write::AcceptBatch(requests, reply) => {
            let accepted = requests.iter().map(|request| requests::accept(tx, request));
            later(answers, reply, accepted.collect())
        }
        Write::Claim(claim, reply) => later(answers, reply, idempotency::claim(tx, &claim)),
        Write::ReleaseClaim(key, id, how, reply) => {
            later(answers, reply, idempotency::release(tx, &key, id, how))
        }
        Write::ApplyResults(results, reply) => {
            let applied = results.iter().map(|result| results::apply(tx, result));
            later(answers, reply, applied.collect())
        }
        Write::Park(messages, reply) => {
            let applied = messages.iter().map(|message| parked::park(tx, message));
            later(answers, reply, applied.collect())
        }
        Write::RecordRetries(retries, reply) => {
            let recorded = retries.iter().try_for_each(|retry| results::record_retry(tx, retry));
            later(answers, reply, recorded)
        }
        Write::Cancel(id, reply) => later(answers, reply, requests::cancel(tx, id)),
        Write::NoteReplay(id, run, reply) => later(answers, reply, replay::note(tx, id, run)),
        Write::Replay(id, run, reply) => later(answers, reply, replay::replay(tx, id, run)),
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
        Write::Ping(reply) => later(answers, reply, Ok(())),
    }
}

/// Keeps the answer to a command until the commit.
fn later<T: 'static>(
    answers: &mut Vec<Answer>,
    reply: Reply<T>,
    answer: rusqlite::Result<T>,
) -> rusqlite::Result<()> {
    later_if_taken(answers, reply, answer.map(Ok))
}

/// The same for a command whose data the database may refuse.
fn later_if_taken<T: 'static>(
    answers: &mut Vec<Answer>,
    reply: Reply<T>,
    answer: rusqlite::Result<Result<T, StoreError>>,
) -> rusqlite::Result<()> {
    // Without an answer there is no commit, and its error is sent instead.
    let (answer, outcome) = match answer {
        Ok(answer) => (answer, Ok(())),
        Err(error) => (Err(StoreError::Unavailable(error.to_string())), Err(error)),
    };
    answers.push(Box::new(move |committed| drop(reply.send(committed.and(answer)))));
    outcome
}
