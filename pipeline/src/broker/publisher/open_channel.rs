//! Opens a confirm channel on each new session of a link.

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::confirm_channel::ConfirmChannel;
use crate::broker::{channel_backoff::ChannelBackoff, link::Link};

/// Opens a confirm channel on each new session, and after each channel that the broker closed, until
/// `stop`.
pub(super) async fn keep_open(
    mut link: Link,
    channel: watch::Sender<Option<ConfirmChannel>>,
    stop: CancellationToken,
    mut channel_backoff: ChannelBackoff,
) {
    loop {
        let session = tokio::select! {
            () = stop.cancelled() => return,
            session = link.ready() => match session {
                Some(session) => session,
                None => return,
            },
        };
        let opened = Instant::now();
        if let Ok((open, task)) = ConfirmChannel::open(&session).await {
            channel.send_replace(Some(open));
            let mut running = Box::pin(session.run_to_end(task));
            tokio::select! {
                _ = &mut running => { channel.send_replace(None); }
                () = stop.cancelled() => {
                    // Without senders the channel takes no more messages, and ends with the last
                    // confirm.
                    channel.send_replace(None);
                    let _ended = running.await;
                    return;
                }
            }
        }
        // If the broker closed the channel alone, the exchange may be missing.
        channel_backoff.pause(&link, &session, opened.elapsed()).await;
    }
}
