//! The calls by which people decide: what is cancelled, done again, or let go of.

use uuid::Uuid;

use super::{
    CallError, Client, Letter, Page, Request,
    client::{ANSWER, Accepted},
};

impl Client {
    /// Cancels a request, and gives it as it is then.
    pub(crate) async fn cancel(&self, id: Uuid) -> Result<Request, CallError> {
        let url = self.url(&["requests", &id.to_string()]);
        let cancel = async || self.json(self.http.delete(url.clone()), ANSWER).await;
        self.patiently(self.until(), cancel).await
    }

    /// Has a failed request done again that has come to this run. Where an answer is lost and the call
    /// is made again, that finds it done.
    pub(crate) async fn replay(&self, id: Uuid, run: u64) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "replay"]);
        let replay = async || self.json(self.http.post(url.clone()), ANSWER).await;
        match self.patiently(self.until(), replay).await {
            Ok(Accepted { .. }) => Ok(()),
            Err(CallError::Refused { kind, .. })
                if kind == "not-failed" && self.get(id).await?.details.run > run =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets go of a failed request that was there a moment ago: one that is gone was discarded.
    pub(crate) async fn discard(&self, id: Uuid) -> Result<(), CallError> {
        self.gone(&["requests", &id.to_string(), "discard"], reqwest::Method::POST).await
    }

    /// Clears a message away that was there a moment ago.
    pub(crate) async fn discard_message(&self, number: i64) -> Result<(), CallError> {
        self.gone(&["parked", &number.to_string()], reqwest::Method::DELETE).await
    }

    async fn gone(&self, path: &[&str], method: reqwest::Method) -> Result<(), CallError> {
        let url = self.url(path);
        let call = async || self.done(self.http.request(method.clone(), url.clone()), ANSWER).await;
        match self.patiently(self.until(), call).await {
            Err(CallError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// Some of the messages that belong to no request, or to one.
    pub(crate) async fn parked(&self, query: &[(&str, String)]) -> Result<Page<Letter>, CallError> {
        let mut url = self.url(&["parked"]);
        url.query_pairs_mut().extend_pairs(query);
        let list = async || self.json(self.http.get(url.clone()), ANSWER).await;
        self.patiently(self.until(), list).await
    }

    /// A message with its whole body.
    pub(crate) async fn message(&self, number: i64) -> Result<Letter, CallError> {
        let url = self.url(&["parked", &number.to_string()]);
        let get = async || self.json(self.http.get(url.clone()), ANSWER).await;
        self.patiently(self.until(), get).await
    }
}
