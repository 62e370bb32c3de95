//! Control messages: cancels jobs, answers `who` with the jobs in flight, and `who-had` with what was delivered here.

use std::time::Duration;

use pipeline::{
    broker::{Broadcast, BroadcastConsumer},
    contract::Control,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::worker::{claims::Claims, in_flight::InFlight};

/// How long to wait before the jobs are announced again that could not be announced.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Handles control messages until it is stopped.
pub(crate) async fn handle_control(
    mut consumer: BroadcastConsumer,
    in_flight: InFlight,
    claims: Claims,
    stop: CancellationToken,
) {
    let mut announced = true;
    loop {
        let broadcast = tokio::select! {
            () = stop.cancelled() => break,
            broadcast = consumer.next() => broadcast,
            () = sleep(RETRY_INTERVAL), if !announced => {
                announced = in_flight.announce_all();
                continue;
            }
        };
        match broadcast {
            // A cancel may have been missed before the subscription. A web service that hears of a job whose request
            // is final sends it again.
            Some(Broadcast::Subscribed | Broadcast::Control(Control::Who)) => {
                announced = in_flight.announce_all();
            }
            Some(Broadcast::Control(Control::Cancel(id, run))) => in_flight.cancel(&id, run),
            Some(Broadcast::Control(control)) => claims.handle(control),
            Some(Broadcast::Event(_)) => {}
            None => break,
        }
    }
    consumer.close().await;
}
