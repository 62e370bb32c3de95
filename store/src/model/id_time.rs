//! The time in ids of version 7.

use pipeline::contract::Timestamp;
use uuid::Uuid;

/// The smallest id of version 7 that could be made at this time.
pub(crate) fn first_id(at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// When an id of version 7 was made.
pub(crate) fn made_at(id: Uuid) -> Timestamp {
    Timestamp::from_millis(i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_are_in_the_order_of_their_times() {
        let before = Timestamp::now();
        let id = Uuid::now_v7();
        assert!(
            first_id(before) <= id && id < first_id(Timestamp::now() + Duration::from_secs(60))
        );
        assert!(made_at(id) >= before);
    }
}
