//! Clients repeat calls with idempotency keys over services that are killed again and again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::process::WAIT_TIMEOUT;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::support::{
    database::Database,
    stack::{REQUESTS, RESULTS, Stack, Web},
};

/// Five calls for each key, in turn over two services that are killed again and again while they come.
#[tokio::test]
async fn calls_repeated_over_two_services_that_are_killed_make_one_request_each() -> Result<()> {
    const CLIENTS: usize = 20;
    const KILLS: usize = 8;
    // A key whose caller was killed is soon taken over; calls that take longer are made again.
    const PUBLISH_TIMEOUT: &str = "1s";
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let program = || database.program(&stack).env("PUBLISH_TIMEOUT", PUBLISH_TIMEOUT);
    let ports = [testbed::ports::free()?, testbed::ports::free()?];
    let start =
        async |at: usize| Web::start_at(program(), &format!("127.0.0.1:{}", ports[at])).await;
    let mut services = [start(0).await?, start(1).await?];
    let _processor = stack.processor(4, "1ms").await?;
    let callers = Arc::new(Callers {
        client: services[0].client.clone(),
        bases: services.iter().map(|web| web.base.clone()).collect(),
        accepted: watch::Sender::new(0),
        lost: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(callers.clone().call(client));
    }
    let mut accepted = callers.accepted.subscribe();
    for round in 0..KILLS {
        let before = *accepted.borrow_and_update();
        accepted.wait_for(|accepted| *accepted >= before + 50).await?;
        // Whichever it hits, and wherever it is.
        let at = usize::from(uuid::Uuid::now_v7().as_bytes()[15] % 2);
        services[at].program.kill();
        services[at].program.wait().await?;
        services[at] = start(at).await.with_context(|| format!("after kill {round}"))?;
    }
    callers.stop.store(true, Ordering::Relaxed);
    let of_key: HashMap<String, String> = clients
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    ensure!(callers.lost.load(Ordering::Relaxed) >= KILLS, "calls were lost by kills");
    for (key, id) in &of_key {
        let done = services[0].ended(id).await?;
        assert_eq!(done["processingResults"], format!("{key}-processed"));
    }
    // What was published twice may still be under way; that of another request would make a row.
    let foreign = stack.foreign().await?;
    for queue in [REQUESTS, RESULTS] {
        while foreign.depth(queue).await?.messages > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    let rows = database.number("SELECT count(*) FROM requests").await?;
    assert_eq!(rows, of_key.len() as i64, "one request for each key");
    Ok(())
}

/// Clients that make each call five times, by whichever service answers.
struct Callers {
    client: reqwest::Client,
    bases: Vec<String>,
    /// How many calls were answered with 202.
    accepted: watch::Sender<usize>,
    /// How many had no answer.
    lost: AtomicUsize,
    stop: AtomicBool,
}

impl Callers {
    /// Calls with one key after the other, and gives the one id of each.
    async fn call(self: Arc<Self>, client: usize) -> Result<Vec<(String, String)>> {
        const CALLS: usize = 5;
        let mut of_key = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let key = format!("key-{client}-{}", of_key.len());
            let mut ids = HashSet::new();
            for call in 0..CALLS {
                ids.insert(self.accepted_by_any(&key, client + call).await?);
                self.accepted.send_modify(|accepted| *accepted += 1);
            }
            ensure!(ids.len() == 1, "{key} stands for {ids:?}");
            of_key.extend(ids.into_iter().map(|id| (key.clone(), id)));
        }
        Ok(of_key)
    }

    /// One call, made until it is accepted.
    async fn accepted_by_any(&self, key: &str, mut at: usize) -> Result<String> {
        let limit = tokio::time::Instant::now() + 2 * WAIT_TIMEOUT;
        loop {
            let url = format!("{}/api/v1/processData", self.bases[at % self.bases.len()]);
            let post = self.client.post(url).header("Idempotency-Key", key);
            match post.json(&json!({"data": key})).send().await {
                Ok(answer) if answer.status() == 202 => {
                    if let Ok(accepted) = answer.json::<Value>().await {
                        return Ok(accepted["requestId"].as_str().context("an id")?.to_owned());
                    }
                }
                Ok(answer) if [409, 503].contains(&answer.status().as_u16()) => {}
                Ok(answer) => bail!("an answer that nobody promised: {}", answer.status()),
                Err(_) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
            }
            ensure!(tokio::time::Instant::now() < limit, "{key} is never accepted");
            at += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }
}
