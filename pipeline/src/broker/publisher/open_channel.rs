//! Keeps a confirm channel open: on each new session of a link, and in place of one whose confirms are missing.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    broker::{
        channel_backoff::ChannelBackoff,
        error::PublishError,
        link::Link,
        publisher::confirm_channel::{ChannelEnd, ConfirmChannel, Trust},
        session::Session,
    },
    log_messages::CHANNEL_REPLACED,
};

/// How old an unconfirmed message may be before its channel is replaced. Other confirms have come long before.
const REPLACE_AFTER: Duration = Duration::from_secs(5);
/// The longest time between two replacements, if none of them gets a confirm.
const MAX_REPLACE_INTERVAL: Duration = Duration::from_secs(60);

/// The channel to publish on.
#[derive(Clone, Default)]
pub(super) struct Current {
    /// None while it is being opened.
    pub(super) channel: Option<ConfirmChannel>,
    /// Why the last channel has ended or could not be opened, until there is another one.
    pub(super) refusal: Option<PublishError>,
}

impl Current {
    /// The channel, if messages can be handed to it.
    pub(super) fn open(&self) -> Option<&ConfirmChannel> {
        self.channel.as_ref().filter(|channel| channel.is_open())
    }
}

/// Opens a confirm channel on each new session, and after each channel that the broker closed, until
/// `stop`.
pub(super) async fn keep_open(
    mut link: Link,
    current: watch::Sender<Current>,
    stop: CancellationToken,
    mut channel_backoff: ChannelBackoff,
) {
    let mut trust = Trust::Full;
    loop {
        let session = tokio::select! {
            () = stop.cancelled() => return,
            session = link.ready() => match session {
                Some(session) => session,
                None => return,
            },
        };
        let opened = Instant::now();
        // The broker may take long to open a channel, and the pause may be long: `stop` ends both.
        let opening = ConfirmChannel::open(&session, trust);
        let Some(opening) = stop.run_until_cancelled(opening).await else { return };
        let end = match opening {
            Err(error) => ChannelEnd::of_refused_open(error),
            Ok((channel, task)) => {
                let running = session.spawn(task);
                current.send_replace(Current { channel: Some(channel), refusal: None });
                match serve(&session, running, &current, &stop).await {
                    Served::Ended(end) => end,
                    Served::Stopped(running) => {
                        // Without senders the channel takes no more messages, and ends with the last
                        // confirm.
                        current.send_replace(Current::default());
                        let _ended = running.await;
                        return;
                    }
                }
            }
        };
        trust = if matches!(end, ChannelEnd::Refused(_)) { Trust::OneMessage } else { Trust::Full };
        let is_at_once = end == ChannelEnd::MessageTooLarge && !session.is_lost();
        current.send_replace(Current { channel: None, refusal: end.refusal() });
        if !is_at_once {
            // If the broker closed the channel alone, the exchange may be missing.
            let pause = channel_backoff.pause(&link, &session, opened.elapsed());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

/// Why a channel is no longer served.
enum Served {
    Ended(ChannelEnd),
    Stopped(JoinHandle<ChannelEnd>),
}

/// Replaces the current channel whenever its confirms are missing, until it ends or `stop`.
async fn serve(
    session: &Session,
    mut running: JoinHandle<ChannelEnd>,
    current: &watch::Sender<Current>,
    stop: &CancellationToken,
) -> Served {
    let mut patience = Patience::new();
    loop {
        tokio::select! {
            end = &mut running => return Served::Ended(end.unwrap_or(ChannelEnd::Other)),
            () = stop.cancelled() => return Served::Stopped(running),
            (channel, task) = replacement(session, current, &mut patience) => {
                running = session.spawn(task);
                let next = Current { channel: Some(channel), refusal: None };
                if let Some(old) = current.send_replace(next).channel {
                    old.retire();
                }
            }
        }
    }
}

/// How long the confirms of one channel after the other may be missing.
struct Patience {
    backoff: Backoff,
    replace_after: Duration,
}

impl Patience {
    fn new() -> Self {
        let mut backoff = Backoff::new(REPLACE_AFTER, MAX_REPLACE_INTERVAL);
        Self { replace_after: backoff.next_pause(), backoff }
    }

    /// Grows if the channel that is replaced has had no confirm at all.
    fn after(&mut self, replaced: &ConfirmChannel) {
        if replaced.confirmed_ago().is_some() {
            self.backoff.reset();
        }
        self.replace_after = self.backoff.next_pause();
    }
}

/// Waits until a message on the current channel is unconfirmed for too long, and opens another channel. The
/// broker opens it only while it reads from the connection: then its silence is not that of an alarm, and
/// the confirm is lost, or the queue does not answer.
async fn replacement(
    session: &Session,
    current: &watch::Sender<Current>,
    patience: &mut Patience,
) -> (ConfirmChannel, impl Future<Output = ChannelEnd> + Send + use<>) {
    loop {
        let channel = current.borrow().channel.clone();
        let oldest = channel.as_ref().and_then(ConfirmChannel::oldest).unwrap_or_default();
        let Some(channel) = channel.filter(|_| oldest >= patience.replace_after) else {
            sleep(patience.replace_after.saturating_sub(oldest)).await;
            continue;
        };
        match ConfirmChannel::open(session, Trust::OneMessage).await {
            Ok(opened) => {
                let unconfirmed_ms = oldest.as_millis() as u64;
                tracing::warn!(unconfirmed_ms, "{CHANNEL_REPLACED}");
                patience.after(&channel);
                return opened;
            }
            Err(error) => {
                tracing::debug!("no other channel: {error}");
                sleep(patience.replace_after).await;
            }
        }
    }
}
