//! What the soak found to be wrong.

use std::fmt;

use uuid::Uuid;

/// The kinds of findings: none of these may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Something that was promised is gone.
    Lost,
    /// Something does not end.
    Stuck,
    /// Something ended, but not as it should have.
    Wrong,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The request it is about: its number in the plan, and its id if it has one.
    pub(crate) request: Option<(usize, Option<Uuid>)>,
    pub(crate) text: String,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Stuck => "stuck",
            Self::Wrong => "wrong",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request {
            Some((number, Some(id))) => write!(f, "request {number} ({id}): {}", self.text),
            Some((number, None)) => write!(f, "request {number}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
