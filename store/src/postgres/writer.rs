//! A task that writes: takes commands from its queue, and writes rows of different callers together.

use tokio::sync::mpsc::Receiver;

use crate::{
    command::{Reply, Write},
    error::StoreError,
    postgres::{
        batch::{self, Rows},
        bulk_runs::StopBulkRun,
        callbacks::RetryCallback,
        idempotency::Release,
        parked::DeleteOne,
        replay::{DiscardOne, NoteReplay, ReplayOne},
        requests::CancelOne,
        retention::{Expire, Ping},
        retry_now::{BeginOneRetry, NoteOneRetry},
        session::{Session, WorkError},
    },
};

/// How many commands are taken at once.
const MAX_BATCH_COMMANDS: usize = 512;

/// Executes commands until the queue is closed. All requests that wait are recorded in one statement, and
/// so are all claims.
pub(super) async fn run(mut session: Session, mut commands: Receiver<Write>) {
    let mut batch = Vec::with_capacity(MAX_BATCH_COMMANDS);
    while commands.recv_many(&mut batch, MAX_BATCH_COMMANDS).await > 0 {
        let (mut requests, mut claims, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Write::Accept(request, reply) => requests.push((request, reply)),
                Write::Claim(claim, reply) => claims.push((claim, reply)),
                other => others.push(other),
            }
        }
        write_together(&mut session, requests).await;
        write_together(&mut session, claims).await;
        for command in others {
            execute(&mut session, command).await;
        }
    }
}

/// Writes rows of different callers in one batch, and answers each caller.
async fn write_together<T, R>(session: &mut Session, rows: Vec<(R, Reply<T>)>)
where
    R: Rows<Outcome = Result<T, StoreError>>,
    T: Send,
{
    if rows.is_empty() {
        return;
    }
    let (rows, replies): (Vec<R>, Vec<Reply<T>>) = rows.into_iter().unzip();
    let outcomes = match batch::write(session, rows).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let answer = error.answer();
            replies.iter().map_while(|_| answer.clone().map(Err)).collect()
        }
    };
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        reply.send(outcome);
    }
}

async fn execute(session: &mut Session, command: Write) {
    match command {
        Write::Accept(request, reply) => write_together(session, vec![(request, reply)]).await,
        Write::AcceptBatch(requests, reply) => write(session, reply, requests).await,
        Write::Claim(claim, reply) => write_together(session, vec![(claim, reply)]).await,
        Write::ReleaseClaim(key, id, how, reply) => {
            session.answer(reply, &Release { key, id, how }).await;
        }
        Write::ApplyResults(results, reply) => write(session, reply, results).await,
        Write::Park(messages, reply) => write(session, reply, messages).await,
        Write::RecordRetries(retries, reply) => {
            answer(reply, batch::write(session, retries).await.map(drop))
        }
        Write::Cancel(id, reply) => session.answer(reply, &CancelOne(id)).await,
        Write::NoteReplay(id, run, reply) => {
            session.answer(reply, &NoteReplay { id, run }).await;
        }
        Write::Replay(id, run, reply) => session.answer(reply, &ReplayOne { id, run }).await,
        Write::NoteRetry(id, awaited, reissue, reply) => {
            session.answer(reply, &NoteOneRetry { id, awaited, reissue }).await;
        }
        Write::BeginRetry(id, run, reissue, reply) => {
            session.answer(reply, &BeginOneRetry { id, run, reissue }).await;
        }
        Write::Discard(id, reply) => session.answer(reply, &DiscardOne(id)).await,
        Write::DeleteParked(number, reply) => session.answer(reply, &DeleteOne(number)).await,
        Write::Expire(expiry, reply) => session.answer(reply, &Expire(expiry)).await,
        Write::LeaseCallbacks(wanted, reply) => session.answer(reply, &wanted).await,
        Write::RecordAttempt(report, reply) => session.answer(reply, &report).await,
        Write::BeginBulkRun(run, reply) => session.answer(reply, &run).await,
        Write::LeaseBulkRuns(wanted, reply) => session.answer(reply, &wanted).await,
        Write::ReportBulkRun(report, reply) => session.answer(reply, &report).await,
        Write::StopBulkRun(id, reply) => session.answer(reply, &StopBulkRun(id)).await,
        Write::RetryCallback(id, reply) => session.answer(reply, &RetryCallback(id)).await,
        Write::Ping(reply) => session.answer(reply, &Ping).await,
    }
}

/// Writes the rows of one caller in a batch, and answers with their outcomes.
async fn write<R: Rows>(session: &mut Session, reply: Reply<Vec<R::Outcome>>, rows: Vec<R>) {
    answer(reply, batch::write(session, rows).await);
}

/// Answers, unless the store is unavailable: then the reply is dropped, and its health has the reason.
fn answer<T>(reply: Reply<T>, outcome: Result<T, WorkError>) {
    let answer = match outcome {
        Ok(outcome) => Some(Ok(outcome)),
        Err(error) => error.answer().map(Err),
    };
    if let Some(answer) = answer {
        reply.send(answer);
    }
}
