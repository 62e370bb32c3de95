//! Publishes many messages at once with the foreign client.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{Confirmation, options::BasicPublishOptions};

use super::{Foreign, Properties};

impl Foreign {
    /// Publishes what `next` gives until it gives none, with at most `window` messages unconfirmed. Fails if one
    /// of them was returned or refused.
    pub async fn flood(
        &self,
        exchange: &str,
        key: &str,
        window: usize,
        mut next: impl FnMut() -> Option<(Properties, Vec<u8>)>,
    ) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut waiting = FuturesUnordered::new();
        loop {
            while waiting.len() < window
                && let Some((properties, body)) = next()
            {
                let (exchange, key) = (exchange.into(), key.into());
                let sent = self.channel.basic_publish(exchange, key, options, &body, properties);
                waiting.push(sent.await?);
            }
            let Some(end) = waiting.next().await else { return Ok(()) };
            let end = end?;
            ensure!(end == Confirmation::Ack(None), "publishing with key {key:?}: {end:?}");
        }
    }
}
