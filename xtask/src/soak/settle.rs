//! The end of a soak: waits until everything has ended or nothing moves any more, and looks at all that is left.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use testbed::{foreign::Foreign, rabbitmq::Node};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    api::{Api, Looked},
    ledger::Kind,
    schedule::WEBS,
    shared_ledger::SharedLedger,
    stage::Stage,
};

/// How long nothing may move before what is left is stuck. The longest pause there may be is half a minute, after
/// which a callback is taken over from a web service that died.
const QUIET: Duration = Duration::from_secs(90);
/// The pause between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// How many requests are looked at side by side.
const LOOKS: usize = 8;

/// Waits for the end of everything, and enters what the API says of each request.
pub(super) async fn wait(
    api: &Api,
    ledger: &SharedLedger,
    stage: &Stage,
    mut calls: JoinSet<()>,
) -> Result<()> {
    let mut moved = Moved::new();
    loop {
        while let Some(call) = calls.try_join_next() {
            call.context("a client of the load panicked")?;
        }
        look_at_all(api, ledger).await;
        let left = calls.len() + ledger.lock().waiting().len();
        // The broker is asked last, and rarely: a message may wait in it for nobody's sake.
        let depth = if left == 0 {
            depth(&stage.broker).await?.iter().map(|(_, depth)| depth).sum()
        } else {
            0
        };
        if left == 0 && depth == 0 {
            return Ok(());
        }
        if moved.nothing(ledger.lock().progress, depth) {
            return Ok(());
        }
        sleep(INTERVAL).await;
    }
}

/// Looks at what is shown in another way, by each web service, when all has ended.
pub(super) async fn compare(api: &Api, ledger: &SharedLedger) -> Result<()> {
    for web in 0..WEBS {
        let (mut cursor, mut ids) = (None, HashSet::new());
        loop {
            let page = api.page(web, cursor.as_deref()).await?;
            page.items.iter().for_each(|view| ledger.lock().listed(view));
            ids.extend(page.items.iter().map(|view| view.request_id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        ledger.lock().listed_all(&ids);
    }
    for message in api.parked(0).await? {
        ledger.lock().fault(format!("a message belongs to no request: {message}"));
    }
    Ok(())
}

/// Looks for messages that were left behind, when no service runs any more that could hold some.
pub(super) async fn look_at_queues(ledger: &SharedLedger, broker: &Node) -> Result<()> {
    for (queue, depth) in depth(broker).await? {
        if depth > 0 {
            ledger.lock().fault(format!("{depth} messages are left in the queue {queue}"));
        }
    }
    Ok(())
}

/// Waits until all web services are ready; what is missing after a while is a finding.
pub(super) async fn ready(api: &Api, ledger: &SharedLedger) {
    let began = Instant::now();
    for web in 0..WEBS {
        while let Err(error) = api.ready(web).await {
            if began.elapsed() > QUIET {
                ledger.lock().fault(format!("{error:#}"));
                break;
            }
            sleep(INTERVAL).await;
        }
    }
}

async fn look_at_all(api: &Api, ledger: &SharedLedger) {
    let waiting = ledger.lock().waiting();
    let looks = stream::iter(waiting).map(|(number, id)| look(api, ledger, number, id));
    looks.buffer_unordered(LOOKS).collect::<()>().await;
}

async fn look(api: &Api, ledger: &SharedLedger, number: usize, id: Uuid) {
    match api.look(number % WEBS, id).await {
        Looked::Shown(view) => ledger.lock().looked(number, &view),
        Looked::Missing(answer) => ledger.lock().missing(number, &answer),
        // It is looked at again.
        Looked::Unavailable => {}
        Looked::Unexpected(answer) => {
            ledger.lock().found(Kind::Wrong, number, format!("its GET was answered {answer}"));
        }
    }
}

/// How many messages wait in each queue that outlives its connection.
async fn depth(broker: &Node) -> Result<Vec<(String, u32)>> {
    let list = broker.ctl(&["list_queues", "--no-table-headers", "name", "exclusive"]).await?;
    let foreign = Foreign::connect(&broker.url()).await?;
    let mut depths = Vec::new();
    for line in list.lines() {
        if let Some((queue, "false")) = line.split_once('\t') {
            depths.push((queue.to_owned(), foreign.depth(queue).await?.messages));
        }
    }
    Ok(depths)
}

/// Notices when nothing moves any more.
struct Moved {
    last: (u64, u32),
    at: Instant,
}

impl Moved {
    fn new() -> Self {
        Self { last: (0, 0), at: Instant::now() }
    }

    /// Whether nothing has moved for too long.
    fn nothing(&mut self, progress: u64, depth: u32) -> bool {
        if (progress, depth) != self.last {
            *self = Self { last: (progress, depth), at: Instant::now() };
        }
        self.at.elapsed() > QUIET
    }
}
