//! Messages that were handed to the failed queue.

use pipeline::contract::{Timestamp, headers};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Store, StoreError,
    command::{Read, Write},
    ending::WorkerResult,
};

/// A message to be kept, with what it does to its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The whole body, also if it is not even text.
    pub body: Vec<u8>,
    /// Our own headers, as a JSON object.
    pub headers: String,
    /// Why it was handed over, a word of [`codes`](pipeline::contract::codes) or a worker's own.
    pub reason: String,
    /// The error message that belongs to the reason.
    pub error: String,
    /// When it came.
    pub received_at: Timestamp,
    /// How it ends its request; none if it has no id that is a UUID.
    pub ends: Option<WorkerResult>,
}

impl Parked {
    /// What tells this message from all others. A second delivery has the same bytes and the same
    /// headers of ours; what the broker counts is not among them.
    pub(super) fn key(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let headers = headers_without_reason(&self.headers);
        for part in [&self.body, headers.as_bytes(), self.reason.as_bytes()] {
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

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Counts up; the list is in order of numbers.
    pub number: i64,
    /// ParkedFilter it is, if it has an id that is a UUID.
    pub request: Option<Uuid>,
    /// The body: whole, or in a list its beginning.
    pub body: Vec<u8>,
    /// How many bytes the whole body has.
    pub size: u64,
    /// Our own headers, as a JSON object.
    pub headers: String,
    /// Why it was handed over.
    pub reason: String,
    /// The error message that belongs to the reason.
    pub error: String,
    /// When it came.
    pub received_at: Timestamp,
}

/// Which parked messages to list, the latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParkedQuery {
    /// ParkedFilter.
    pub whose: ParkedFilter,
    /// Only those with numbers below this one.
    pub below: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// ParkedFilter messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedFilter {
    /// Those that belong to no request.
    Nobody,
    /// Those of this request.
    Request(Uuid),
}

/// The answer to a wish to clear a message away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteParked {
    /// It is gone.
    Done,
    /// It stays as long as this request.
    Belongs(Uuid),
    /// There is no such message.
    Unknown,
}

impl ParkedQuery {
    pub(super) fn before(&self) -> i64 {
        self.below.unwrap_or(i64::MAX)
    }
}

impl Store {
    /// Parked messages, each with the beginning of its body: 1000 bytes at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn parked(&self, letters: ParkedQuery) -> Result<Vec<ParkedMessage>, StoreError> {
        self.look(|reply| Read::Parked(letters, reply)).await
    }

    /// A parked message with its whole body.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn parked_message(&self, number: i64) -> Result<Option<ParkedMessage>, StoreError> {
        self.look(|reply| Read::ParkedMessage(number, reply)).await
    }

    /// Clears a message away that belongs to no request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be gone all the same.
    pub async fn unpark(&self, number: i64) -> Result<DeleteParked, StoreError> {
        self.change(&self.writes, self.patience, |reply| Write::DeleteParked(number, reply)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(body: &[u8], headers: &str) -> Parked {
        let (reason, error) = ("malformed".to_owned(), "not JSON".to_owned());
        let (body, headers) = (body.to_vec(), headers.to_owned());
        Parked { body, headers, reason, error, received_at: Timestamp::from_millis(1), ends: None }
    }

    #[test]
    fn the_key_is_the_message_not_its_delivery() {
        let message = parked(b"{", "{}");
        let again = Parked {
            received_at: Timestamp::from_millis(2),
            error: "in other words".into(),
            ..message.clone()
        };
        assert_eq!(message.key(), again.key());
        assert_ne!(message.key(), parked(b"{{", "}").key());
        let copy = r#"{"slowlane-error":"not JSON","slowlane-reason":"malformed"}"#;
        assert_eq!(message.key(), parked(b"{", copy).key());
        assert_ne!(message.key(), parked(b"{", r#"{"slowlane-run":1}"#).key());
    }
}
