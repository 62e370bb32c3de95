//! The processor as a whole: what it is made of, and in which order it starts and stops.

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Broker, BrokerOptions},
    shutdown::Shutdown,
    topology::{self, Topology},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Config, Processor, outcome::NAME, worker::Worker};

/// How long the results that were handed over last may wait for their confirm.
const LAST_CONFIRMS: Duration = Duration::from_secs(2);

/// Works on requests until told to stop; then finishes what is in hand within `DRAIN_TIMEOUT`,
/// gives the rest back, and closes. Needs a Tokio runtime; the broker need not be there.
pub async fn run<P: Processor>(config: Config, processor: P, shutdown: Shutdown) {
    let broker = Broker::connect(&BrokerOptions {
        program: NAME,
        addresses: config.broker.addresses.clone(),
        topology: Topology::default(),
    });
    let processor = Arc::new(processor);
    let give_up = give_up_after(config.drain_timeout, &shutdown);
    let mut workers = JoinSet::new();
    for slot in 1..=config.workers {
        let name = worker_name(slot);
        let consumer = broker.consume(topology::REQUESTS, 1, &name);
        let worker = Worker {
            name,
            processor: processor.clone(),
            publisher: broker.publisher(),
            config: config.clone(),
            drain: shutdown.drain.clone(),
            give_up: give_up.clone(),
        };
        workers.spawn(worker.run(consumer));
    }
    while workers.join_next().await.is_some() {}
    broker.close(LAST_CONFIRMS).await;
}

/// A token that is cancelled when the time to finish is over, or by a second signal.
fn give_up_after(drain_timeout: Duration, shutdown: &Shutdown) -> CancellationToken {
    let give_up = CancellationToken::new();
    let (token, shutdown) = (give_up.clone(), shutdown.clone());
    tokio::spawn(async move {
        shutdown.drain.cancelled().await;
        tokio::select! {
            () = sleep(drain_timeout) => warn!("the time to finish is over, giving back what is in hand"),
            () = shutdown.now.cancelled() => {}
        }
        token.cancel();
    });
    give_up
}

/// `host:pid/slot`: tells workers apart, in results and logs.
fn worker_name(slot: usize) -> String {
    let uname = rustix::system::uname();
    format!("{}:{}/{slot}", uname.nodename().to_string_lossy(), std::process::id())
}
