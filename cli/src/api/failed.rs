//! Calls about failed requests and parked messages: list, get, replay, discard.

use reqwest::Method;
use uuid::Uuid;

use super::{client::Client, error::CallError, page::Page, parked_message::ParkedMessage};

impl Client {
    /// Replays a failed request that was in run `run` a moment ago. If an earlier response was lost, the
    /// repeated call finds the request in a later run, which is a success too.
    pub(crate) async fn replay(&self, id: Uuid, run: u64) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "replay"]);
        self.call_for_next_run(url, id, run, "not-failed").await
    }

    /// Discards a failed request that existed a moment ago; one that is missing was discarded.
    pub(crate) async fn discard(&self, id: Uuid) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "discard"]);
        missing_is_done(self.call_for_status(Method::POST, url).await)
    }

    /// Discards a parked message that existed a moment ago.
    pub(crate) async fn discard_message(&self, number: i64) -> Result<(), CallError> {
        let url = self.url(&["parked", &number.to_string()]);
        missing_is_done(self.call_for_status(Method::DELETE, url).await)
    }

    /// A page of parked messages: those that belong to no request, or to the one that the query names.
    pub(crate) async fn parked_messages(
        &self,
        query: &[(&str, String)],
    ) -> Result<Page<ParkedMessage>, CallError> {
        let mut url = self.url(&["parked"]);
        url.query_pairs_mut().extend_pairs(query);
        self.call(Method::GET, url).await
    }

    /// A parked message with its whole body.
    pub(crate) async fn parked_message(&self, number: i64) -> Result<ParkedMessage, CallError> {
        self.call(Method::GET, self.url(&["parked", &number.to_string()])).await
    }
}

fn missing_is_done(deleted: Result<(), CallError>) -> Result<(), CallError> {
    match deleted {
        Err(CallError::NotFound(_)) => Ok(()),
        other => other,
    }
}
