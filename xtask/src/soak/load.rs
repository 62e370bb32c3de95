//! The load: makes each call of the plan at its time, again and again until it is accepted, and enters the answers.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    api::{Api, Looked, Posted},
    ledger::Kind,
    plan::{Call, Plan, Repeat},
    shared_ledger::SharedLedger,
};

/// The pause before a call is made again, and what it grows to.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(3);
/// How many calls may wait to be accepted. With more, their attempts alone would keep a small machine busy, and what is
/// between the services and their broker, which runs in this process, would never get its turn.
const MAX_OPEN_CALLS: usize = 1000;

/// Makes all calls at their times. Gives those that are still to be accepted or repeated.
pub(super) async fn run(
    plan: Plan,
    start: Instant,
    api: Arc<Api>,
    ledger: SharedLedger,
) -> JoinSet<()> {
    let mut calls = JoinSet::new();
    for call in plan {
        sleep_until(start + call.at).await;
        ledger.lock().planned(&call.requests);
        calls.spawn(make(call, Arc::clone(&api), ledger.clone()));
        while calls.try_join_next().is_some() {}
        while calls.len() >= MAX_OPEN_CALLS {
            calls.join_next().await;
        }
    }
    calls
}

async fn make(call: Call, api: Arc<Api>, ledger: SharedLedger) {
    let client = Client { api: &api, ledger: &ledger, call: &call };
    match call.repeat {
        Repeat::Never => client.until_accepted(call.web).await,
        Repeat::AtOnce => {
            let (first, second) =
                (client.until_accepted(call.web), client.until_accepted(call.web + 1));
            tokio::join!(first, second);
        }
        Repeat::After(pause) => {
            client.until_accepted(call.web).await;
            sleep(pause).await;
            client.until_accepted(call.web + 1).await;
        }
    }
}

/// A client that makes one call.
struct Client<'a> {
    api: &'a Api,
    ledger: &'a SharedLedger,
    call: &'a Call,
}

impl Client<'_> {
    /// Goes from one web service to the other until one accepts.
    async fn until_accepted(&self, mut web: usize) {
        let mut pause = RETRY_INTERVAL;
        loop {
            match self.api.post(self.call, web).await {
                Posted::Accepted(ids) => {
                    self.accepted(&ids);
                    return self.check(web + 1, &ids).await;
                }
                Posted::Again { answer, after } => {
                    self.ledger.lock().answered(answer);
                    sleep(pause.max(after.unwrap_or_default().min(MAX_RETRY_INTERVAL))).await;
                }
                Posted::Unexpected(answer) => {
                    let number = self.call.requests[0].number;
                    self.ledger.lock().found(
                        Kind::Wrong,
                        number,
                        format!("its POST was answered {answer}"),
                    );
                    sleep(pause).await;
                }
            }
            pause = (pause * 2).min(MAX_RETRY_INTERVAL);
            web += 1;
        }
    }

    fn accepted(&self, ids: &[uuid::Uuid]) {
        let mut ledger = self.ledger.lock();
        ledger.answered(if self.call.batch { "200 batch" } else { "202" });
        for (request, id) in self.call.requests.iter().zip(ids) {
            ledger.accepted(request.number, *id);
        }
    }

    /// A 202 means that every web service knows the request from that moment.
    async fn check(&self, web: usize, ids: &[uuid::Uuid]) {
        if !self.call.checked {
            return;
        }
        for (request, id) in self.call.requests.iter().zip(ids) {
            let text =
                |answer| format!("the other web service answered right after the 202: {answer}");
            match self.api.look(web, *id).await {
                Looked::Missing(answer) => {
                    self.ledger.lock().missing(request.number, &text(answer));
                }
                Looked::Unexpected(answer) => {
                    self.ledger.lock().found(Kind::Wrong, request.number, text(answer));
                }
                Looked::Shown(_) | Looked::Unavailable => {}
            }
        }
    }
}
