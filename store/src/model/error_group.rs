//! Error groups: failures with the same code and the same pattern of the message.

use std::{fmt, str::FromStr};

use pipeline::contract::{ErrorBody, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::{count::Count, error_pattern::error_pattern};

/// How much of a code counts, here and in filters.
pub(crate) const MAX_CODE_CHARS: usize = 200;
/// How many groups a code has, or a few more if several are added at once. A message with a name in it that no pattern
/// replaces makes a group for each name.
pub(crate) const MAX_GROUPS_OF_CODE: u32 = 1000;
/// The pattern of the group that has the further errors of a code.
const OTHER_ERRORS: &str = "(other errors)";
/// How much of an example is kept.
const MAX_EXAMPLE_CHARS: usize = 1000;

/// The id of an error group: the same for the same code and pattern, in any store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(i64);

/// The text is no [`GroupId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of an error group is 16 hexadecimal digits")]
pub struct BadGroupId;

/// Failures with the same code and the same pattern of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorGroup {
    /// Its id.
    pub id: GroupId,
    /// The error code.
    pub code: String,
    /// What their messages have in common, see [`error_pattern`]; or that they are the other errors of a code with many groups.
    pub pattern: String,
    /// The message of the first one.
    pub example: String,
    /// The request of the first one. It may have expired.
    pub example_request: Uuid,
    /// How many attempts failed so, also of requests that have gone on or expired since.
    pub count: u64,
    /// How many requests are failed so now.
    pub failed: Count,
    /// When the first attempt failed so, by the store's clock.
    pub first_seen_at: Timestamp,
    /// When the last attempt failed so, by the store's clock.
    pub last_seen_at: Timestamp,
}

/// An error with its group, to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupedError {
    pub(crate) id: GroupId,
    pub(crate) code: String,
    pub(crate) pattern: String,
    pub(crate) example: String,
}

impl GroupId {
    /// The group of an error.
    pub fn of(error: &ErrorBody) -> Self {
        GroupedError::of(error).id
    }

    pub(crate) fn number(self) -> i64 {
        self.0
    }

    pub(crate) fn from_number(number: i64) -> Self {
        Self(number)
    }
}

impl GroupedError {
    pub(crate) fn of(error: &ErrorBody) -> Self {
        Self::with_pattern(error, error_pattern(&error.message))
    }

    /// The error in the group for those whose code has [`MAX_GROUPS_OF_CODE`].
    pub(crate) fn other(error: &ErrorBody) -> Self {
        Self::with_pattern(error, OTHER_ERRORS.to_owned())
    }

    fn with_pattern(error: &ErrorBody, pattern: String) -> Self {
        let beginning = |text: &str, length| text.chars().take(length).collect::<String>();
        let code = beginning(&error.code, MAX_CODE_CHARS);
        let mut digest = Sha256::new();
        // With its length, or moving a character from one to the other would make no difference.
        digest.update((code.len() as u64).to_be_bytes());
        digest.update(&code);
        digest.update(&pattern);
        let digest: [u8; 32] = digest.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let id = GroupId(i64::from_be_bytes(first));
        Self { id, code, pattern, example: beginning(&error.message, MAX_EXAMPLE_CHARS) }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for GroupId {
    type Err = BadGroupId;

    fn from_str(text: &str) -> Result<Self, BadGroupId> {
        let is_id = text.len() == 16 && text.bytes().all(|it| it.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_id).ok_or(BadGroupId)?;
        Ok(Self(number.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_code_and_a_pattern() {
        let of = |code: &str, message: &str| GroupId::of(&ErrorBody::new(code, message));
        assert_eq!(of("timeout", "after 5 s"), of("timeout", "after 17 s"));
        assert_ne!(of("timeout", "after 5 s"), of("permanent", "after 5 s"));
        assert_ne!(of("timeout", "after 5 s"), of("timeout", "after 5 minutes"));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        // Stored ids stay valid.
        assert_eq!(of("timeout", "after 5 s").to_string(), "ea81257411759f2e");
    }

    #[test]
    fn all_other_errors_of_a_code_are_one_group() {
        let other = |code, message| GroupedError::other(&ErrorBody::new(code, message));
        assert_eq!(other("timeout", "of alice").id, other("timeout", "of bob").id);
        assert_ne!(other("timeout", "of alice").id, other("permanent", "of alice").id);
        assert_eq!(other("timeout", "of alice").example, "of alice");
    }

    #[test]
    fn an_id_survives_the_way_as_text() {
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            let id = GroupId(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "0", "+000000000000001", "00000000000000000", "zzzzzzzzzzzzzzzz"] {
            assert_eq!(bad.parse::<GroupId>(), Err(BadGroupId), "{bad}");
        }
    }
}
