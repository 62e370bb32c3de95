//! Filters of lists: which requests a list is of, and between which ids those lie.

use std::{fmt, str::FromStr};

use pipeline::contract::Timestamp;
use uuid::Uuid;

use crate::model::{
    error_group::GroupId,
    id_time::first_id,
    request::{Status, Summary},
};

/// Which requests to list or count: those that meet all conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFilter {
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those of this type.
    pub kind: Option<String>,
    /// Only those that have failed with this error code.
    pub code: Option<String>,
    /// Only those that are failed now with an error of this group.
    pub group: Option<GroupId>,
    /// Only those whose ids begin so.
    pub id_prefix: Option<IdPrefix>,
    /// Only those whose ids were made then or later. Ids that are not of version 7 tell no time; they count as their
    /// bits say.
    pub accepted_after: Option<Timestamp>,
    /// Only those whose ids were made before.
    pub accepted_before: Option<Timestamp>,
    /// Only those of which so many attempts were made, or more. Two is the least that selects any.
    pub min_attempts: Option<u32>,
}

/// The beginning of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPrefix {
    first: u128,
    digits: u32,
}

/// The text is no [`IdPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the beginning of an id is 1 to 32 hexadecimal digits, with or without dashes")]
pub struct BadIdPrefix;

/// The lowest and the highest id that a list may have; if the first is the greater one, the list is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) low: Uuid,
    pub(crate) high: Uuid,
}

impl RequestFilter {
    /// The ids that meet the conditions on ids.
    pub(crate) fn ids(&self) -> IdRange {
        let mut range = IdRange { low: Uuid::nil(), high: Uuid::max() };
        if let Some(prefix) = self.id_prefix {
            range = IdRange { low: prefix.first(), high: prefix.last() };
        }
        if let Some(after) = self.accepted_after {
            range.low = range.low.max(first_id(after));
        }
        self.accepted_before.map_or(range, |before| range.below(first_id(before)))
    }

    /// Whether a request that has not ended meets all conditions, except those on its status.
    pub fn matches_open(&self, request: &Summary) -> bool {
        let IdRange { low, high } = self.ids();
        self.code.is_none()
            && self.group.is_none()
            && self.kind.as_ref().is_none_or(|kind| *kind == request.kind)
            && self.min_attempts.is_none_or(|least| request.attempts >= least)
            && (low..=high).contains(&request.id)
    }
}

impl IdRange {
    /// The part of it that lies above an id.
    pub(crate) fn above(self, id: Uuid) -> Self {
        match id.as_u128().checked_add(1) {
            Some(after) => Self { low: self.low.max(Uuid::from_u128(after)), ..self },
            None => Self { low: Uuid::max(), high: Uuid::nil() },
        }
    }

    /// The part of it that lies below an id.
    pub(crate) fn below(self, id: Uuid) -> Self {
        match id.as_u128().checked_sub(1) {
            Some(before) => Self { high: self.high.min(Uuid::from_u128(before)), ..self },
            None => Self { low: Uuid::max(), high: Uuid::nil() },
        }
    }
}

impl IdPrefix {
    /// The lowest id that begins so.
    fn first(self) -> Uuid {
        Uuid::from_u128(self.first)
    }

    /// The highest id that begins so.
    fn last(self) -> Uuid {
        Uuid::from_u128(self.first | u128::MAX.checked_shr(4 * self.digits).unwrap_or(0))
    }
}

impl FromStr for IdPrefix {
    type Err = BadIdPrefix;

    fn from_str(text: &str) -> Result<Self, BadIdPrefix> {
        let digits = text.replace('-', "");
        let is_prefix =
            (1..=32).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_prefix);
        let digits = u32::try_from(digits.len()).map_err(|_| BadIdPrefix)?;
        number
            .map(|number| Self { first: number << (4 * (32 - digits)), digits })
            .ok_or(BadIdPrefix)
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{:032x}", self.first)[..self.digits as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap()
    }

    #[test]
    fn a_prefix_is_a_range_of_ids() {
        let prefix = |text: &str| {
            let prefix: IdPrefix = text.parse().unwrap();
            (prefix.first(), prefix.last())
        };
        let from = id("01a1f000-0000-0000-0000-000000000000");
        assert_eq!(prefix("01a1f"), (from, id("01a1ffff-ffff-ffff-ffff-ffffffffffff")));
        assert_eq!(prefix("01A1F000-0"), (from, id("01a1f000-0fff-ffff-ffff-ffffffffffff")));
        let whole = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        assert_eq!(prefix(whole), (id(whole), id(whole)));
        assert_eq!("01A1-f".parse::<IdPrefix>().unwrap().to_string(), "01a1f");
        for bad in ["", "-", "g", "+1", "0x1", "ä", " 1", &format!("{whole}0")] {
            assert_eq!(bad.parse::<IdPrefix>(), Err(BadIdPrefix), "{bad}");
        }
    }

    #[test]
    fn conditions_on_ids_are_one_range() {
        let at = Timestamp::from_millis;
        let all = RequestFilter::default();
        assert_eq!(all.ids(), IdRange { low: Uuid::nil(), high: Uuid::max() });
        let times = RequestFilter {
            accepted_after: Some(at(0x01a1_fd87_448c)),
            accepted_before: Some(at(0x01a1_fd87_448d)),
            ..all.clone()
        };
        let millisecond = IdRange {
            low: id("01a1fd87-448c-0000-0000-000000000000"),
            high: id("01a1fd87-448c-ffff-ffff-ffffffffffff"),
        };
        assert_eq!(times.ids(), millisecond);
        let prefix = |text: &str| Some(text.parse().unwrap());
        let both = RequestFilter { id_prefix: prefix("01a1fd87448c755"), ..times.clone() }.ids();
        assert_eq!(both.low, id("01a1fd87-448c-7550-0000-000000000000"));
        let nothing = RequestFilter { id_prefix: prefix("02"), ..times }.ids();
        assert!(nothing.low > nothing.high);
        let before_all = millisecond.below(Uuid::nil());
        assert!(before_all.low > before_all.high);
        assert_eq!(millisecond.below(Uuid::max()), millisecond);
    }
}
