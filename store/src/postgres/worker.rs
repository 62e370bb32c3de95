//! The tasks that own the connections.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc::Receiver};
use uuid::Uuid;

use super::{
    batch::{self, Rows},
    callbacks::{NextCallback, RetryOne},
    claim::UnclaimOne,
    clock::Clock,
    line::{Failure, Line, Work},
    look::{Get, GetMany, GetParked, LookForEnded, LookForOrigin},
    tend::{CancelOne, DiscardOne, Expire, Ping, ReplayOne, UnparkOne},
};
use crate::{
    Found, StoreError,
    command::{Read, Reply, Write},
};

/// How many commands are taken at once.
const BATCH: usize = 512;
/// How many questions are taken at once: few, since each may bring a large result.
const QUESTIONS: usize = 16;

/// Writes until nobody can ask any more. All requests that wait are recorded in one statement, and
/// so are all claims.
pub(super) async fn write(mut line: Line, mut commands: Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH);
    while commands.recv_many(&mut batch, BATCH).await > 0 {
        let (mut requests, mut claims, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for command in batch.drain(..) {
            match command {
                Write::Accept(request, reply) => requests.push((request, reply)),
                Write::Claim(claim, reply) => claims.push((claim, reply)),
                other => others.push(other),
            }
        }
        each(&mut line, requests).await;
        each(&mut line, claims).await;
        for command in others {
            change(&mut line, command).await;
        }
    }
}

/// Writes rows of different callers, and answers each.
async fn each<T, R>(line: &mut Line, rows: Vec<(R, Reply<T>)>)
where
    R: Rows<Outcome = Result<T, StoreError>>,
    T: Send,
{
    if rows.is_empty() {
        return;
    }
    let (rows, replies): (Vec<R>, Vec<Reply<T>>) = rows.into_iter().unzip();
    let outcomes = batch::write(line, rows).await.unwrap_or_default();
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        drop(reply.send(outcome));
    }
}

async fn change(line: &mut Line, command: Write) {
    match command {
        Write::Accept(request, reply) => each(line, vec![(request, reply)]).await,
        Write::AcceptAll(requests, reply) => answer(reply, batch::write(line, requests).await),
        Write::Claim(claim, reply) => each(line, vec![(claim, reply)]).await,
        Write::ReleaseClaim(name, id, how, reply) => {
            run(line, reply, &UnclaimOne(name, id, how)).await
        }
        Write::Finish(results, reply) => answer(reply, batch::write(line, results).await),
        Write::Park(messages, reply) => answer(reply, batch::write(line, messages).await),
        Write::Retrying(news, reply) => answer(reply, batch::write(line, news).await.map(drop)),
        Write::Cancel(id, reply) => run(line, reply, &CancelOne(id)).await,
        Write::Replay(id, of, reply) => run(line, reply, &ReplayOne(id, of)).await,
        Write::Discard(id, reply) => run(line, reply, &DiscardOne(id)).await,
        Write::DeleteParked(number, reply) => run(line, reply, &UnparkOne(number)).await,
        Write::Expire(expiry, reply) => run(line, reply, &Expire(expiry)).await,
        Write::TakeCallbacks(take, reply) => run(line, reply, &take).await,
        Write::AttemptReport(attempted, reply) => run(line, reply, &attempted).await,
        Write::RetryCallback(id, reply) => run(line, reply, &RetryOne(id)).await,
        Write::Ping(reply) => run(line, reply, &Ping).await,
    }
}

/// Reads until nobody can ask any more.
pub(super) async fn read(mut line: Line, questions: Arc<Mutex<Receiver<Read>>>) {
    let mut batch = Vec::with_capacity(QUESTIONS);
    while questions.lock().await.recv_many(&mut batch, QUESTIONS).await > 0 {
        let (mut ids, mut replies, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for question in batch.drain(..) {
            match question {
                Read::Get(id, reply) => {
                    ids.push(id);
                    replies.push(reply);
                }
                other => others.push(other),
            }
        }
        get(&mut line, &ids, replies).await;
        for question in others {
            look(&mut line, question).await;
        }
    }
}

async fn get(line: &mut Line, ids: &[Uuid], replies: Vec<Reply<Found>>) {
    if ids.is_empty() {
        return;
    }
    let answers = match line.run(&Get(ids)).await {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(Failure::Unavailable(reason)) => vec![Err(StoreError::Unavailable(reason)); ids.len()],
        Err(Failure::Data(_) | Failure::Away) => Vec::new(),
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        drop(reply.send(answer));
    }
}

async fn look(line: &mut Line, question: Read) {
    match question {
        Read::Get(id, reply) => get(line, &[id], vec![reply]).await,
        Read::GetMany(ids, reply) => run(line, reply, &GetMany(ids)).await,
        Read::Ended(ids, reply) => run(line, reply, &LookForEnded(ids)).await,
        Read::Origin(id, reply) => run(line, reply, &LookForOrigin(id)).await,
        Read::Clock(reply) => run(line, reply, &Clock).await,
        Read::List(list, reply) => run(line, reply, &list).await,
        Read::NextCallback(full, reply) => run(line, reply, &NextCallback(full)).await,
        Read::Parked(letters, reply) => run(line, reply, &letters).await,
        Read::ParkedMessage(number, reply) => run(line, reply, &GetParked(number)).await,
    }
}

/// Answers, unless the store is away: then the reply is dropped, and its health says why.
fn answer<T>(reply: Reply<T>, outcome: Option<T>) {
    if let Some(outcome) = outcome {
        drop(reply.send(Ok(outcome)));
    }
}

async fn run<W: Work>(line: &mut Line, reply: Reply<W::Answer>, work: &W) {
    let answer = match line.run(work).await {
        Ok(answer) => Ok(answer),
        Err(Failure::Data(reason)) => Err(StoreError::Refused(reason)),
        Err(Failure::Unavailable(reason)) => Err(StoreError::Unavailable(reason)),
        Err(Failure::Away) => return,
    };
    drop(reply.send(answer));
}
