//! The faults that are switched on at a proxy.

use std::time::Duration;

/// What every connection of a proxy has to obey at the moment.
#[derive(Debug, Default, Clone)]
pub(super) struct Rules {
    pub(super) refusing: bool,
    pub(super) stalled: bool,
    pub(super) muted: bool,
    /// What the target says is held back.
    pub(super) holding: bool,
    pub(super) delay: Duration,
    /// Raised by every cut: a connection that sees it change closes.
    pub(super) cuts: u64,
    /// How many publisher confirms of the target are still to be swallowed.
    pub(super) confirms_to_swallow: u32,
    /// How many bytes the next connection may send before it is cut.
    pub(super) next_limit: Option<u64>,
}
