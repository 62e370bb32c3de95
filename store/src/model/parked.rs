//! Parked messages: what came to the failed queue and is kept whole.

use pipeline::contract::{Timestamp, headers};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::worker_result::WorkerResult;

/// A message to park, with the result that it means for its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParked {
    /// The whole body, also if it is not text.
    pub body: Vec<u8>,
    /// Slowlane's own headers, as a JSON object.
    pub headers: String,
    /// Why it came to the failed queue: one of [`codes`](pipeline::contract::codes) or a worker's own.
    pub reason: String,
    /// The error message that belongs to the reason.
    pub error: String,
    /// The failure of its request; none if the message has no id that is a UUID.
    pub result: Option<WorkerResult>,
}

impl NewParked {
    /// A digest that tells this message from all others. A second delivery has the same bytes, the same request and the
    /// same headers of ours; the broker's counters are not among them. The request may be known by the properties alone.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let headers = headers_without_reason(&self.headers);
        let parts = [self.body.as_slice(), headers.as_bytes(), self.reason.as_bytes()];
        let request = self.result.as_ref().map(|result| result.id.as_bytes().as_slice());
        for part in parts.into_iter().chain(request) {
            // With their lengths, or moving a byte from one to the next would make no difference.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// Headers without those that give the reason. A copy of a dead letter, published in place of requeueing it,
/// has them in addition to the headers of the original.
fn headers_without_reason(json: &str) -> String {
    let Ok(mut headers) = serde_json::from_str::<Map<String, Value>>(json) else {
        return json.to_owned();
    };
    headers.retain(|name, _| name != headers::REASON && name != headers::ERROR);
    Value::Object(headers).to_string()
}

/// A parked message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its number: numbers grow, and lists are in their order.
    pub number: i64,
    /// The request it belongs to, if it has an id that is a UUID.
    pub request: Option<Uuid>,
    /// The body: whole, or in a list its beginning.
    pub body: Vec<u8>,
    /// How many bytes the whole body has.
    pub size: u64,
    /// Slowlane's own headers, as a JSON object.
    pub headers: String,
    /// Why it came to the failed queue.
    pub reason: String,
    /// The error message that belongs to the reason.
    pub error: String,
    /// When it was received, by the store's clock.
    pub received_at: Timestamp,
}

/// Which parked messages to list, the latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParkedQuery {
    /// To which request they belong.
    pub filter: ParkedFilter,
    /// Only those with smaller numbers than this one.
    pub below: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// To which request parked messages belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedFilter {
    /// To none.
    WithoutRequest,
    /// To this one.
    OfRequest(Uuid),
}

/// The answer to the deletion of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteParked {
    /// It is deleted.
    Done,
    /// It stays as long as this request, to which it belongs.
    BelongsTo(Uuid),
    /// There is no such message.
    Unknown,
}

impl ParkedQuery {
    /// All listed messages have smaller numbers than this one.
    pub(crate) fn before(&self) -> i64 {
        self.below.unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(body: &[u8], headers: &str) -> NewParked {
        let (reason, error) = ("malformed".to_owned(), "not JSON".to_owned());
        let (body, headers) = (body.to_vec(), headers.to_owned());
        NewParked { body, headers, reason, error, result: None }
    }

    #[test]
    fn the_key_is_of_the_message_and_not_of_its_delivery() {
        let message = parked(b"{", "{}");
        let again = NewParked { error: "in other words".into(), ..message.clone() };
        assert_eq!(message.digest(), again.digest());
        assert_ne!(message.digest(), parked(b"{{", "}").digest());
        let copy = r#"{"slowlane-error":"not JSON","slowlane-reason":"malformed"}"#;
        assert_eq!(message.digest(), parked(b"{", copy).digest());
        assert_ne!(message.digest(), parked(b"{", r#"{"slowlane-run":1}"#).digest());
    }
}
