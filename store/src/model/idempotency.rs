//! Idempotency keys: which of several calls with the same key sends its request.

use std::time::Duration;

use pipeline::contract::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How long a key is kept at least; longer if its request is.
pub(crate) const MIN_KEY_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// [`MIN_KEY_RETENTION`] in milliseconds, for SQL.
pub(crate) const MIN_KEY_RETENTION_MILLIS: i64 = MIN_KEY_RETENTION.as_millis() as i64;

/// How long a key is kept at least from the moment that it was taken over. The millisecond more tells it from a key
/// that was not: see [`DELETE_CLAIM`](crate::sql::DELETE_CLAIM).
pub(crate) const TAKEN_OVER_KEY_RETENTION: Duration =
    MIN_KEY_RETENTION.saturating_add(Duration::from_millis(1));

/// What a key is stored as: a digest of its owner and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKeyHash([u8; 32]);

impl IdempotencyKeyHash {
    /// The hash of an owner's key.
    pub fn new(owner: Option<&str>, key: &str) -> Self {
        let mut digest = Sha256::new();
        let owner = owner.unwrap_or_default();
        // With its length, or moving a character from one to the other would make no difference.
        digest.update((owner.len() as u64).to_be_bytes());
        digest.update(owner);
        digest.update(key);
        Self(digest.finalize().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Half of the hash, which is enough to tell keys apart.
    pub(crate) fn as_uuid(&self) -> Uuid {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        Uuid::from_bytes(half)
    }
}

/// A call's claim to be the one that sends the request of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The key.
    pub key: IdempotencyKeyHash,
    /// A digest of the body: all calls with one key must have the same body.
    pub body_digest: [u8; 32],
    /// The id that the request gets if this call is the first.
    pub id: Uuid,
    /// How old a claim without an answer must be before this call takes it over.
    pub timeout: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Send the request under this id. It is not the id in the claim if an earlier call had no answer
    /// and may have sent the request.
    Proceed(Uuid),
    /// The request under this id is the answer.
    Answered(Uuid),
    /// The request under this id is the answer, once it is recorded: its message was sent by an earlier call,
    /// and so far only its result has come.
    Record(Uuid),
    /// Another call is sending the request.
    Busy,
    /// The key was used with another body.
    OtherBody,
}

/// A stored claim.
#[derive(Debug, Clone)]
pub(crate) struct StoredClaim {
    pub(crate) body_digest: Vec<u8>,
    pub(crate) id: Uuid,
    pub(crate) claimed_at: Timestamp,
    /// Whether there is a request under the id, or was.
    pub(crate) is_answered: bool,
    /// Whether that request was recorded, and not only its result.
    pub(crate) is_recorded: bool,
}

/// The answer to a claim whose key is stored already. If [`Claimed::is_taken_over`], the stored claim's
/// time is to be renewed.
pub(crate) fn decide(stored: &StoredClaim, new: &Claim, now: Timestamp) -> Claimed {
    if stored.body_digest != new.body_digest {
        return Claimed::OtherBody;
    }
    // The same call again: the store's first answer to it was lost.
    let is_own = stored.id == new.id;
    if stored.is_answered && !is_own {
        let answer = if stored.is_recorded { Claimed::Answered } else { Claimed::Record };
        return answer(stored.id);
    }
    if is_young(stored.claimed_at, new.timeout, now) && !is_own {
        Claimed::Busy
    } else {
        Claimed::Proceed(stored.id)
    }
}

/// Whether a claim may still be answered by the call that made it. One that is further in the future than that takes was made
/// before the clock was set back; with SQLite that is the clock of the host.
fn is_young(claimed_at: Timestamp, timeout: Duration, now: Timestamp) -> bool {
    now.saturating_duration_since(claimed_at) < timeout
        && claimed_at.saturating_duration_since(now) <= timeout
}

impl Claimed {
    /// Whether the id is that of an earlier call, which is taken to be dead.
    pub(crate) fn is_taken_over(self, new: &Claim) -> bool {
        matches!(self, Self::Proceed(id) if id != new.id)
    }
}

/// How to release the key of a request that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseClaim {
    /// Nothing was sent: delete the key, unless another call has taken it over meanwhile.
    Delete,
    /// The request may have been sent: the next call takes over at once, under the same id.
    AllowTakeover,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn claim(digest: u8) -> Claim {
        let (key, timeout) = (IdempotencyKeyHash::new(None, "key"), Duration::from_millis(7000));
        Claim { key, body_digest: [digest; 32], id: Uuid::from_u128(2), timeout }
    }

    fn stored(age_millis: u64, is_answered: bool) -> StoredClaim {
        let claimed_at = NOW - Duration::from_millis(age_millis);
        let (body_digest, id) = (vec![1; 32], Uuid::from_u128(1));
        StoredClaim { body_digest, id, claimed_at, is_answered, is_recorded: is_answered }
    }

    #[test]
    fn one_call_sends_and_the_others_get_its_answer() {
        let id = Uuid::from_u128(1);
        assert_eq!(decide(&stored(0, false), &claim(1), NOW), Claimed::Busy);
        assert_eq!(decide(&stored(6999, false), &claim(1), NOW), Claimed::Busy);
        assert_eq!(decide(&stored(7000, false), &claim(1), NOW), Claimed::Proceed(id));
        assert_eq!(decide(&stored(0, true), &claim(1), NOW), Claimed::Answered(id));
        let unrecorded = StoredClaim { is_recorded: false, ..stored(0, true) };
        assert_eq!(decide(&unrecorded, &claim(1), NOW), Claimed::Record(id));
        assert_eq!(decide(&stored(9999, true), &claim(2), NOW), Claimed::OtherBody);
        assert_eq!(decide(&stored(9999, false), &claim(2), NOW), Claimed::OtherBody);
    }

    #[test]
    fn a_claim_from_before_the_clock_was_set_back_is_taken_over() {
        let ahead = |millis| {
            let claimed_at = NOW + Duration::from_millis(millis);
            decide(&StoredClaim { claimed_at, ..stored(0, false) }, &claim(1), NOW)
        };
        assert_eq!(ahead(7000), Claimed::Busy, "its call may still run");
        assert_eq!(ahead(7001), Claimed::Proceed(Uuid::from_u128(1)));
    }

    #[test]
    fn a_call_that_claims_twice_proceeds() {
        let own = StoredClaim { id: claim(1).id, ..stored(0, false) };
        assert_eq!(decide(&own, &claim(1), NOW), Claimed::Proceed(own.id));
    }

    #[test]
    fn hashes_tell_owners_and_keys_apart() {
        let hash = IdempotencyKeyHash::new;
        assert_ne!(hash(Some("a"), "bc"), hash(Some("ab"), "c"));
        assert_ne!(hash(Some("a"), "b"), hash(None, "ab"));
        assert_eq!(hash(None, "b"), hash(None, "b"));
    }
}
