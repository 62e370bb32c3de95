//! The workers of a process as a whole: how they start, and in which order they stop.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use pipeline::{
    broker::{Broker, BrokerOptions, Consume},
    shutdown::Shutdown,
    topology::{self, Events, RequestType, Topology},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Config,
    health_listener::{self, Blocked, Observed},
    metrics::Metrics,
    processor::{Processor, progress_urls::ProgressUrls},
    worker::{
        Worker,
        claims::Claims,
        control,
        host_faults::HostFaults,
        in_flight::InFlight,
        intake::Intake,
        isolation::Isolation,
        job_runner::JobRunner,
        settle::{HAND_BACK_TIMEOUT, Settler},
    },
};

/// The `app_id` of the messages that are published.
const PROGRAM: &str = "processor-service";
/// How long workers may take to end once they are to give up their requests: to stop the job, and to hand the request
/// back.
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(2).saturating_add(HAND_BACK_TIMEOUT);
/// How long the last messages may wait for their confirms.
const LAST_CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// Processes requests until told to stop; then finishes those in flight within `DRAIN_TIMEOUT`, hands the rest back, and
/// closes the connections. Needs a Tokio runtime. The broker may be away, also at the start.
///
/// [`main`](crate::main) does this with the settings and the signals of a program.
///
/// # Errors
/// If a type of `TYPES` has no processor. If a worker ends without having been told to: what is left would look healthy
/// and do less. If a job had to be abandoned that blocks its thread: the other jobs are finished first, as at any stop.
pub async fn run<P: Processor>(
    config: Config,
    processor: P,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let job_runner = JobRunner::new(processor, config.all_workers(), config.job_timeout)
        .context("no threads for the jobs")?;
    job_runner.check_types(&config.types)?;
    let listener = config.http_address.map(health_listener::listen).transpose()?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let broker = Arc::new(Broker::connect(&BrokerOptions {
        program: PROGRAM,
        addresses: config.broker.addresses.clone(),
        topology: Topology::of_processor(&config.types, &config.retry_delays),
    }));
    broker.publisher().prepare(topology::EXCHANGE, topology::KEY_RESULT);
    let give_up = give_up_after(config.drain_timeout, &shutdown);
    let stuck = job_runner.stuck();
    let in_flight = InFlight::new(broker.event_publisher());
    let claims = Claims::new(broker.event_publisher());
    let isolation = Isolation::new(config.all_workers());
    let observed = Observed {
        broker: broker.clone(),
        in_flight: in_flight.clone(),
        metrics: Metrics::new(PROGRAM, &broker, &config.types),
        host_faults: HostFaults::new(isolation.clone(), config.types.count()),
        blocked: blocked(&job_runner),
        progress_urls: ProgressUrls::at(address),
        drain: shutdown.drain.clone(),
    };
    let serve = |listener| health_listener::serve(listener, observed.clone());
    let server = listener.map(serve).transpose()?;
    let stop_control = CancellationToken::new();
    let handling_control = tokio::spawn(control::handle_control(
        broker.broadcasts(Events::None),
        in_flight.clone(),
        claims.clone(),
        stop_control.clone(),
    ));
    let mut workers = start_workers(&config, &job_runner, &observed, &isolation, &claims, &give_up);
    tokio::select! {
        // First, or a worker that ends because it was told to would look like one that failed.
        biased;
        () = shutdown.drain.cancelled() => {}
        () = stuck.cancelled() => shutdown.drain.cancel(),
        Some(ended) = workers.join_next() => bail!("a worker ended by itself: {ended:?}"),
    }
    info!("{}", stopping(in_flight.started(), config.drain_timeout, &shutdown));
    let stopping = async {
        stop_workers(&mut workers, &give_up).await;
        // Not before: as long as requests are in flight, `who` is answered.
        stop_control.cancel();
        let _ended = handling_control.await;
        broker.close(LAST_CONFIRM_TIMEOUT).await;
    };
    tokio::select! {
        () = stopping => {}
        () = async { shutdown.now.cancelled().await; sleep(WORKER_STOP_TIMEOUT).await } => {}
    }
    if let Some(server) = server {
        server.stop(false).await;
    }
    ensure!(!stuck.is_cancelled(), "a job that blocks its thread was abandoned");
    Ok(())
}

/// Each type of requests has the same number of workers, so that none waits for the work of another.
fn start_workers<P: Processor>(
    config: &Config,
    job_runner: &JobRunner<P>,
    observed: &Observed,
    isolation: &Isolation,
    claims: &Claims,
    give_up: &CancellationToken,
) -> JoinSet<()> {
    let Observed { broker, in_flight, metrics, host_faults, progress_urls, drain, .. } = observed;
    let broker_start = broker.start_id();
    let mut workers = JoinSet::new();
    for (slot, request_type) in (1..).zip(types_of_workers(config)) {
        let name = worker_name(slot);
        let (one_by_one, is_one_by_one) = watch::channel(true);
        let consume = Consume::queue(&request_type.queue(), config.prefetch, &name)
            .pausing(isolation.paused(slot))
            .one_by_one_while(is_one_by_one);
        let consumer = broker.consume(consume);
        isolation.set_busy(slot, consumer.busy_channels());
        let paused = isolation.paused(slot);
        let intake = Intake::new(&name, consumer, config.prefetch, one_by_one, paused);
        let settler = Settler {
            worker: name.clone(),
            publisher: broker.publisher(),
            isolation: isolation.clone(),
            policy: config.policy(),
            claims: claims.clone(),
            give_up: give_up.clone(),
        };
        let worker = Worker {
            slot,
            name,
            request_type: request_type.clone(),
            job_runner: job_runner.clone(),
            isolation: isolation.clone(),
            settler,
            in_flight: in_flight.clone(),
            claims: claims.clone(),
            host_faults: host_faults.clone(),
            broker_start: broker_start.clone(),
            progress_urls: progress_urls.clone(),
            metrics: metrics.clone(),
            policy: config.policy(),
            isolation_timeout: config.isolation_timeout(),
            drain: drain.clone(),
            give_up: give_up.clone(),
        };
        workers.spawn(worker.run(intake));
    }
    workers
}

/// Asks the processor why jobs wait.
fn blocked<P: Processor>(job_runner: &JobRunner<P>) -> Blocked {
    let job_runner = job_runner.clone();
    Arc::new(move || job_runner.blocked())
}

/// The type of the requests that each worker takes. The first workers have different ones.
fn types_of_workers(config: &Config) -> impl Iterator<Item = &RequestType> {
    (0..config.workers).flat_map(|_| config.types.iter())
}

/// Waits for the workers, which were told to drain, but not long after they are to give up.
async fn stop_workers(workers: &mut JoinSet<()>, give_up: &CancellationToken) {
    let all = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = async { give_up.cancelled().await; sleep(WORKER_STOP_TIMEOUT).await } => {
            warn!("some workers did not end in time");
        }
    }
}

/// A token that is cancelled when `DRAIN_TIMEOUT` is over, or by a second signal.
fn give_up_after(drain_timeout: Duration, shutdown: &Shutdown) -> CancellationToken {
    let give_up = CancellationToken::new();
    let (token, shutdown) = (give_up.clone(), shutdown.clone());
    tokio::spawn(async move {
        shutdown.drain.cancelled().await;
        tokio::select! {
            () = sleep(drain_timeout) => warn!("DRAIN_TIMEOUT is over, handing back the requests in flight"),
            () = shutdown.now.cancelled() => {}
        }
        token.cancel();
    });
    give_up
}

/// What the program does now that it was told to stop.
fn stopping(requests: usize, limit: Duration, shutdown: &Shutdown) -> String {
    let (requests, them) = match requests {
        0 => return "no request is in work".to_owned(),
        1 => ("1 request".to_owned(), "it"),
        requests => (format!("{requests} requests"), "them"),
    };
    let limit = humantime::format_duration(limit);
    let hurry = shutdown.how_to_hurry(&format!("to hand {them} back now"));
    format!("finishing {requests}, up to {limit}{hurry}")
}

/// `host:pid/slot`: tells workers apart in results and logs.
fn worker_name(slot: usize) -> String {
    let uname = rustix::system::uname();
    format!("{}:{}/{slot}", uname.nodename().to_string_lossy(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_names_what_is_finished_first() {
        let of = |requests| stopping(requests, Duration::from_secs(25), &Shutdown::default());
        assert_eq!(of(0), "no request is in work");
        assert_eq!(of(1), "finishing 1 request, up to 25s");
        assert_eq!(of(3), "finishing 3 requests, up to 25s");
    }
}
