//! Lists of requests, page by page: the query, the page and the cursor.

use std::{cmp::Reverse, fmt, str::FromStr};

use uuid::Uuid;

use crate::model::{
    filter::{IdRange, RequestFilter},
    request::Summary,
};

/// Which requests to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestQuery {
    /// Which requests.
    pub filter: RequestFilter,
    /// How many at most.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// A page of requests, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The requests.
    pub items: Vec<Summary>,
    /// Where to go on; none if this is the last page.
    pub next: Option<Cursor>,
}

/// A place in a list. It stays where it is whatever is added or removed.
///
/// As text it is opaque: its format may change with any release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Uuid);

/// The text is no [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the cursor of a list")]
pub struct BadCursor;

/// The first letter of a cursor's text: the version of its format.
const FORMAT_VERSION: char = 'a';

impl RequestQuery {
    /// Between which ids the requests lie.
    pub(crate) fn ids(&self) -> IdRange {
        let ids = self.filter.ids();
        self.cursor.map_or(ids, |cursor| ids.below(cursor.0))
    }

    /// How many rows to read: one more than wanted tells whether there is another page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page made of the rows that were read, from one list or several, and of the lowest id that was looked at, if that was
    /// not all.
    pub(crate) fn page(&self, mut items: Vec<Summary>, window: Option<Uuid>) -> Page {
        items.sort_by_key(|item| Reverse(item.id));
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = match more {
            true => items.last().map(|last| last.id),
            false => window,
        };
        Page { items, next: next.map(Cursor) }
    }
}

impl Cursor {
    /// The place after this request.
    pub fn after(id: Uuid) -> Self {
        Self(id)
    }

    /// The request before this place.
    pub fn id(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT_VERSION}{}", self.0.simple())
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let digits = text
            .strip_prefix(FORMAT_VERSION)
            .filter(|digits| digits.len() == 32)
            .ok_or(BadCursor)?;
        Uuid::try_parse(digits).map(Self).map_err(|_| BadCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_as_text() {
        let cursor = Cursor(Uuid::now_v7());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let id = cursor.0.to_string();
        for text in ["", "a", "aa", &id, "b0123456789abcdef0123456789abcdef", "aä"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }
}
