//! The rules of the contract that a worker is checked against.

/// A rule of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Consumes,
    Prefetch,
    Result,
    Confirms,
    AckAfterConfirm,
    Redelivery,
    Content,
    Ids,
    UnknownFields,
    Malformed,
    Failure,
    Expiry,
    Headers,
    Nesting,
    Reconnects,
}

impl Rule {
    /// All of them, in the order in which they are checked.
    pub(super) const ALL: [Self; 15] = [
        Self::Consumes,
        Self::Result,
        Self::Confirms,
        Self::AckAfterConfirm,
        Self::Prefetch,
        Self::Redelivery,
        Self::Content,
        Self::Ids,
        Self::UnknownFields,
        Self::Failure,
        Self::Expiry,
        Self::Headers,
        Self::Malformed,
        Self::Nesting,
        Self::Reconnects,
    ];

    /// Its name, which is an anchor of docs/workers.md too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Consumes => "consumes",
            Self::Prefetch => "prefetch",
            Self::Result => "result",
            Self::Confirms => "confirms",
            Self::AckAfterConfirm => "ack-after-confirm",
            Self::Redelivery => "redelivery",
            Self::Content => "content",
            Self::Ids => "ids",
            Self::UnknownFields => "unknown-fields",
            Self::Malformed => "malformed",
            Self::Failure => "failure",
            Self::Expiry => "expiry",
            Self::Headers => "headers",
            Self::Nesting => "nesting",
            Self::Reconnects => "reconnects",
        }
    }

    /// What a worker has to do.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Consumes => "consume processing.requests, and ack by hand",
            Self::Prefetch => "have one request in hand at a time",
            Self::Result => {
                "publish each result persistent and mandatory, with the id of its request"
            }
            Self::Confirms => "publish on a channel in confirm mode",
            Self::AckAfterConfirm => {
                "ack a request when the broker has confirmed its result, not before"
            }
            Self::Redelivery => {
                "work again on a request that was in hand when the worker was killed"
            }
            Self::Content => "keep unicode, and numbers with all their digits",
            Self::Ids => "return any id, text or number, as it came",
            Self::UnknownFields => "ignore unknown fields and headers, and need no properties",
            Self::Malformed => "move messages that are no requests to the failed queue, and go on",
            Self::Failure => {
                "publish the request to the key failed, and an error as its result, before the ack"
            }
            Self::Expiry => "fail a request that has expired (expired), and do not begin it",
            Self::Headers => {
                "copy attempt, run, type and trace from a request to what is published for it"
            }
            Self::Nesting => "end requests that are nested deeply, if need be as failed, and go on",
            Self::Reconnects => "consume again after a lost connection, or end",
        }
    }
}
