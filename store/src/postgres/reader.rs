//! A task that reads: takes commands from the queue of reads, and looks up requests of different callers
//! together.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc::Receiver};
use uuid::Uuid;

use crate::{
    command::{Read, Reply},
    model::request::Found,
    postgres::{
        attempts::GetFailedAttempts,
        bulk_runs::{GetBulkRun, ListBulkRuns, NextBulkRunIn},
        callbacks::NextCallbackIn,
        clock::Clock,
        groups::{GetGroup, ListGroups},
        inspection::Inspect,
        list::GetOpen,
        lookups::{CountOpenBefore, Get, GetEnded, GetMany, GetOrigin},
        overview::GetOverview,
        parked::GetParked,
        session::Session,
    },
};

/// How many commands are taken at once: few, since each may bring a large result.
const MAX_BATCH_COMMANDS: usize = 16;

/// Executes commands until the queue is closed.
pub(super) async fn run(mut session: Session, commands: Arc<Mutex<Receiver<Read>>>) {
    let mut batch = Vec::with_capacity(MAX_BATCH_COMMANDS);
    while commands.lock().await.recv_many(&mut batch, MAX_BATCH_COMMANDS).await > 0 {
        let (mut ids, mut replies, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Read::Get(_, reply) if reply.is_abandoned() => {}
                Read::Get(id, reply) => {
                    ids.push(id);
                    replies.push(reply);
                }
                other => others.push(other),
            }
        }
        get(&mut session, &ids, replies).await;
        for command in others {
            execute(&mut session, command).await;
        }
    }
}

/// Looks up requests of different callers in one statement, and answers each caller.
async fn get(session: &mut Session, ids: &[Uuid], replies: Vec<Reply<Found>>) {
    if ids.is_empty() {
        return;
    }
    let answers = match session.run(&Get(ids)).await {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) => error.answer().map_or_else(Vec::new, |error| vec![Err(error); ids.len()]),
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        reply.send(answer);
    }
}

async fn execute(session: &mut Session, command: Read) {
    match command {
        Read::Get(id, reply) => get(session, &[id], vec![reply]).await,
        Read::GetMany(ids, reply) => session.answer(reply, &GetMany(ids)).await,
        Read::GetEnded(ids, reply) => session.answer(reply, &GetEnded(ids)).await,
        Read::FailedAttempts(id, limit, reply) => {
            session.answer(reply, &GetFailedAttempts { id, limit }).await;
        }
        Read::GetOrigin(id, reply) => session.answer(reply, &GetOrigin(id)).await,
        Read::List(query, reply) => session.answer(reply, &query).await,
        Read::Count(filter, reply) => session.answer(reply, &filter).await,
        Read::ListGroups(only_failed, limit, reply) => {
            session.answer(reply, &ListGroups { only_failed, limit }).await;
        }
        Read::GetGroup(id, reply) => session.answer(reply, &GetGroup(id)).await,
        Read::ListParked(query, reply) => session.answer(reply, &query).await,
        Read::GetParked(number, reply) => session.answer(reply, &GetParked(number)).await,
        Read::NextCallbackIn(full, reply) => session.answer(reply, &NextCallbackIn(full)).await,
        Read::Stats(query, reply) => session.answer(reply, &query).await,
        Read::GetBulkRun(id, reply) => session.answer(reply, &GetBulkRun(id)).await,
        Read::ListBulkRuns(limit, reply) => session.answer(reply, &ListBulkRuns(limit)).await,
        Read::NextBulkRunIn(reply) => session.answer(reply, &NextBulkRunIn).await,
        Read::Overview(reply) => session.answer(reply, &GetOverview).await,
        Read::Open(after, limit, reply) => session.answer(reply, &GetOpen { after, limit }).await,
        Read::OpenBefore(kind, id, reply) => {
            session.answer(reply, &CountOpenBefore(kind, id)).await
        }
        Read::Clock(reply) => session.answer(reply, &Clock).await,
        Read::Inspect(reply) => session.answer(reply, &Inspect).await,
    }
}
