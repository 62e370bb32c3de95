//! Open load: requests are sent when they are due, whether or not the ones before have been answered.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, future::try_join_all, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use super::{http_client::HttpClient, load_thread::on_load_thread};

/// The longest time that is told apart from others.
const MAX_MICROS: u64 = 120_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Requests at even distances.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenLoad {
    /// The most requests that wait for their results at once; those due meanwhile wait for a connection.
    pub(super) connections: usize,
    pub(super) per_second: f64,
    /// Requests due in the first part are not counted.
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

impl OpenLoad {
    /// The microseconds from when each request was due to its result. Fails if one has none within 10 s after it was sent.
    pub(super) async fn run(self, address: SocketAddr) -> Result<Histogram<u64>> {
        on_load_thread(move || async move {
            let connecting = (0..self.connections).map(|_| HttpClient::connect(address));
            let clients = try_join_all(connecting).await?;
            let from = Instant::now() + self.warm_up;
            let (sender, due) = mpsc::unbounded_channel();
            thread::Builder::new().name("pace".to_owned()).spawn(move || self.pace(&sender))?;
            send_when_due(clients, due, from).await
        })
        .await
    }

    /// Sends the time of each request when it is due. The timers of the runtime would be up to a millisecond late.
    fn pace(self, sender: &mpsc::UnboundedSender<Instant>) {
        let begin = Instant::now();
        let total = (self.warm_up + self.duration).as_secs_f64() * self.per_second;
        for number in 0..total as u64 {
            let due = begin + Duration::from_secs_f64(number as f64 / self.per_second);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // The receiver is gone if a request has failed.
            if sender.send(due).is_err() {
                return;
            }
        }
    }
}

/// Sends each request over a connection that is free. The times of those due before `from` are left out.
async fn send_when_due(
    mut free: Vec<HttpClient>,
    mut due: mpsc::UnboundedReceiver<Instant>,
    from: Instant,
) -> Result<Histogram<u64>> {
    let mut times = Histogram::new_with_bounds(1, MAX_MICROS, SIGNIFICANT_DIGITS)?;
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(answered) = running.next() => {
                let (client, due): (HttpClient, Instant) = answered?;
                if due >= from {
                    times.saturating_record(u64::try_from(due.elapsed().as_micros())?);
                }
                free.push(client);
            }
            Some(due) = due.recv(), if !free.is_empty() => {
                running.extend(free.pop().map(|client| post(client, due)));
            }
            else => return Ok(times),
        }
    }
}

async fn post(mut client: HttpClient, due: Instant) -> Result<(HttpClient, Instant)> {
    client.post_and_wait().await?;
    Ok((client, due))
}
