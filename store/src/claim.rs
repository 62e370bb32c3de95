//! Idempotency keys: which of several calls with the same key is the one that sends its request.

use std::time::Duration;

use pipeline::contract::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How long a key is kept at least; longer if its request is.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The same in milliseconds, as SQL counts.
pub(super) const KEPT_MILLIS: i64 = KEPT.as_millis() as i64;

/// What a key is stored as: a digest of its owner and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKeyHash([u8; 32]);

impl IdempotencyKeyHash {
    /// The name of an owner's key.
    pub fn new(owner: Option<&str>, key: &str) -> Self {
        let mut digest = Sha256::new();
        let owner = owner.unwrap_or_default();
        // With its length, or moving a character from one to the other would make no difference.
        digest.update((owner.len() as u64).to_be_bytes());
        digest.update(owner);
        digest.update(key);
        Self(digest.finalize().into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As different as the names are, as far as one can tell.
    pub(super) fn as_uuid(&self) -> Uuid {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        Uuid::from_bytes(half)
    }
}

/// A call's wish to be the one that sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Under which key.
    pub name: IdempotencyKeyHash,
    /// A digest of the body: under one key there is one.
    pub digest: [u8; 32],
    /// The id that the request gets if this call is the first.
    pub id: Uuid,
    /// After how long without an answer another call may take over.
    pub patience: Duration,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Send the request under this id. It is another one than wished for if an earlier call had no
    /// answer and may have sent it.
    Proceed(Uuid),
    /// The request under this id is the answer.
    Answered(Uuid),
    /// Another call is about to send it.
    Busy,
    /// The key stands for another body.
    OtherBody,
}

/// What is stored of a key.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) digest: Vec<u8>,
    pub(super) id: Uuid,
    pub(super) claimed_at: Timestamp,
    /// Whether there is a request under the id, or was.
    pub(super) is_answered: bool,
}

/// What becomes of a wish whose key is stored already. [`Claimed::Proceed`] under another id than the wish's is
/// taken over, which is to be stored.
pub(super) fn decide(holder: &Holder, new: &Claim, now: Timestamp) -> Claimed {
    if holder.digest != new.digest {
        return Claimed::OtherBody;
    }
    // The same call again: its first answer was lost on the way from the store.
    let is_own = holder.id == new.id;
    if holder.is_answered && !is_own {
        return Claimed::Answered(holder.id);
    }
    let is_young = now.saturating_duration_since(holder.claimed_at) < new.patience;
    if is_young && !is_own { Claimed::Busy } else { Claimed::Proceed(holder.id) }
}

impl Claimed {
    /// Whether the id is that of an earlier call, which is taken to be dead.
    pub(super) fn is_taken_over(self, new: &Claim) -> bool {
        matches!(self, Self::Proceed(id) if id != new.id)
    }
}

/// What to do with a key whose request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseClaim {
    /// Nothing was sent: forget the key, unless another call has taken it over meanwhile.
    Forget,
    /// It may have been sent: the next call takes over at once, under the same id.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn claim(digest: u8) -> Claim {
        let name = IdempotencyKeyHash::new(None, "key");
        Claim {
            name,
            digest: [digest; 32],
            id: Uuid::from_u128(2),
            patience: Duration::from_millis(7000),
        }
    }

    fn holder(age: u64, is_answered: bool) -> Holder {
        let (digest, id) = (vec![1; 32], Uuid::from_u128(1));
        Holder { digest, id, claimed_at: NOW - Duration::from_millis(age), is_answered }
    }

    #[test]
    fn one_call_sends_and_the_others_get_its_answer() {
        let id = Uuid::from_u128(1);
        assert_eq!(decide(&holder(0, false), &claim(1), NOW), Claimed::Busy);
        assert_eq!(decide(&holder(6999, false), &claim(1), NOW), Claimed::Busy);
        assert_eq!(decide(&holder(7000, false), &claim(1), NOW), Claimed::Proceed(id));
        assert_eq!(decide(&holder(0, true), &claim(1), NOW), Claimed::Answered(id));
        assert_eq!(decide(&holder(9999, true), &claim(2), NOW), Claimed::OtherBody);
        assert_eq!(decide(&holder(9999, false), &claim(2), NOW), Claimed::OtherBody);
    }

    #[test]
    fn a_call_that_asks_twice_is_not_in_its_own_way() {
        let own = Holder { id: claim(1).id, ..holder(0, false) };
        assert_eq!(decide(&own, &claim(1), NOW), Claimed::Proceed(own.id));
    }

    #[test]
    fn names_tell_owners_and_keys_apart() {
        assert_ne!(
            IdempotencyKeyHash::new(Some("a"), "bc"),
            IdempotencyKeyHash::new(Some("ab"), "c")
        );
        assert_ne!(IdempotencyKeyHash::new(Some("a"), "b"), IdempotencyKeyHash::new(None, "ab"));
        assert_eq!(IdempotencyKeyHash::new(None, "b"), IdempotencyKeyHash::new(None, "b"));
    }
}
