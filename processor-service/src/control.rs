//! What all programs are asked at once, and what a processor does about it.

use std::time::Duration;

use pipeline::{
    broker::{Broadcast, BroadcastConsumer},
    contract::Control,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::in_hand::InHand;

/// How soon an answer is given again that could not be sent.
const AGAIN: Duration = Duration::from_secs(1);

/// Does what is asked, until stopped.
pub async fn obey(mut listener: BroadcastConsumer, in_hand: InHand, stop: CancellationToken) {
    let mut told = true;
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => break,
            heard = listener.next() => heard,
            () = sleep(AGAIN), if !told => {
                told = in_hand.announce_all();
                continue;
            }
        };
        match heard {
            // A cancel may have been missed. Who hears of work on a request that has ended says so again.
            Some(Broadcast::Subscribed | Broadcast::Control(Control::Who)) => {
                told = in_hand.announce_all()
            }
            Some(Broadcast::Control(Control::Cancel(id, run))) => in_hand.cancel(&id, run),
            Some(Broadcast::Event(_)) => {}
            None => break,
        }
    }
    listener.close().await;
}
