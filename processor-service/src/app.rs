//! The processor as a whole: what it is made of, and in which order it starts and stops.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use pipeline::{
    broker::{Broker, BrokerOptions, Consume},
    shutdown::Shutdown,
    topology::{self, Topology},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    Config, Processor, control,
    in_hand::InHand,
    jobs::Jobs,
    outcome::PROGRAM,
    receipt::Policy,
    room::Room,
    worker::{HAND_BACK, Worker},
};

/// How long workers may take to end once they are to give up what they have: work that is asked to
/// end takes its time, and then it is handed back.
const LAST_WORDS: Duration = Duration::from_secs(2).saturating_add(HAND_BACK);
/// How long a request waits at least to be alone.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);
/// How long the results that were handed over last may wait for their confirm.
const LAST_CONFIRMS: Duration = Duration::from_secs(1);

/// Works on requests until told to stop; then finishes what is in hand within `DRAIN_TIMEOUT`,
/// gives the rest back, and closes. Needs a Tokio runtime; the broker need not be there.
///
/// # Errors
/// If a worker ends without having been told to: what is left would look alive and do less. If a job had to be
/// given up that blocks its thread: the others were finished first, as at any stop.
pub async fn run<P: Processor>(
    config: Config,
    processor: P,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let broker = Broker::connect(&BrokerOptions {
        program: PROGRAM,
        addresses: config.broker.addresses.clone(),
        topology: Topology::of_processor(&config.retry_delays),
    });
    let give_up = give_up_after(config.drain_timeout, &shutdown);
    let in_hand = InHand::new(broker.event_publisher());
    let obeyed = CancellationToken::new();
    let obeying =
        tokio::spawn(control::obey(broker.broadcasts(false), in_hand.clone(), obeyed.clone()));
    let jobs = Jobs::new(processor, &config).context("no threads to work with")?;
    let mut workers = start_workers(config, &jobs, &broker, &in_hand, &shutdown, &give_up);
    tokio::select! {
        // First, or a worker that ends because it was told to would look like one that broke.
        biased;
        () = shutdown.drain.cancelled() => {}
        () = jobs.stuck().cancelled_owned() => shutdown.drain.cancel(),
        Some(ended) = workers.join_next() => bail!("a worker ended by itself: {ended:?}"),
    }
    let winding_down = async {
        let all = async { while workers.join_next().await.is_some() {} };
        tokio::select! {
            () = all => {}
            () = async { give_up.cancelled().await; sleep(LAST_WORDS).await } => {
                warn!("some workers did not end in time");
            }
        }
        // As long as anything is in hand, who asks for it is answered.
        obeyed.cancel();
        let _ended = obeying.await;
        broker.close(LAST_CONFIRMS).await;
    };
    tokio::select! {
        () = winding_down => {}
        () = async { shutdown.now.cancelled().await; sleep(LAST_WORDS).await } => {}
    }
    ensure!(!jobs.stuck().is_cancelled(), "a job that blocks its thread was given up");
    Ok(())
}

fn start_workers<P: Processor>(
    config: Config,
    jobs: &Jobs<P>,
    broker: &Broker,
    in_hand: &InHand,
    shutdown: &Shutdown,
    give_up: &CancellationToken,
) -> JoinSet<()> {
    let room = Room::new(config.workers);
    let policy = Policy::from(&config);
    let mut workers = JoinSet::new();
    for slot in 1..=config.workers {
        let name = worker_name(slot);
        let consume = Consume::queue(topology::REQUESTS, 1, &name).pausing(room.paused(slot));
        let consumer = broker.consume(consume);
        room.watch(slot, consumer.idle());
        let worker = Worker {
            slot,
            name,
            jobs: jobs.clone(),
            room: room.clone(),
            publisher: broker.publisher(),
            in_hand: in_hand.clone(),
            policy: policy.clone(),
            patience: patience(&config),
            drain: shutdown.drain.clone(),
            give_up: give_up.clone(),
        };
        workers.spawn(worker.run(consumer));
    }
    workers
}

/// How long a request may wait to be alone: then it can still be worked on and end before the broker
/// takes it back.
fn patience(config: &Config) -> Duration {
    let used = config.job_timeout.saturating_add(config.drain_timeout);
    config.ack_timeout.saturating_sub(used.saturating_add(LEAST_PATIENCE)).max(LEAST_PATIENCE)
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
