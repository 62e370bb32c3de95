//! What all programs are asked at once, and what a processor does about it.

use pipeline::{
    broker::{Heard, Listener},
    contract::Control,
};
use tokio_util::sync::CancellationToken;

use crate::in_hand::InHand;

/// Does what is asked, until stopped.
pub async fn obey(mut listener: Listener, in_hand: InHand, stop: CancellationToken) {
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => break,
            heard = listener.next() => heard,
        };
        match heard {
            Some(Heard::Control(control)) => act(&control, &in_hand),
            // Nothing that was missed would still be of use: who wants to know asks again.
            Some(Heard::Listening | Heard::Event(_)) => {}
            None => break,
        }
    }
    listener.close().await;
}

fn act(control: &Control, in_hand: &InHand) {
    match control {
        Control::Who => in_hand.announce_all(),
        Control::Cancel(id, run) => in_hand.cancel(id, *run),
    }
}
