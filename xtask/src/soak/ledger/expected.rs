//! How a request has to end, and what is different about how it did.

use super::view::View;
use crate::soak::plan::{MAX_ATTEMPTS, Request, Work};

/// What is wrong with the end of a request.
#[derive(Debug)]
pub(super) struct Difference {
    /// What was expected, and what is.
    pub(super) text: String,
    /// Whether it was parked for killing its workers.
    pub(super) poison: bool,
}

/// What is wrong with the end of this request; none if it is as ordered.
pub(super) fn difference(request: &Request, view: &View) -> Option<Difference> {
    let poison = view.error.as_ref().is_some_and(|error| error.code == "poison");
    Some(Difference { text: text(request, view)?, poison })
}

fn text(request: &Request, view: &View) -> Option<String> {
    let expected = Expected::of(request);
    let same = view.status == expected.status
        && view.error.as_ref().map(|error| error.code.as_str()) == expected.code;
    if !same {
        return Some(format!("expected {}, is {view}", expected.text()));
    }
    if view.run != 0 {
        return Some(format!("nobody replayed it, but it is in run {}: {view}", view.run));
    }
    if view.attempts != expected.attempts {
        return Some(format!("expected {} attempts, is {view}", expected.attempts));
    }
    let as_ordered = match &view.error {
        None => view.processing_results == Some(request.data()),
        Some(error) => error.message.contains(&request.complaint()),
    };
    (!as_ordered).then(|| {
        let result = view.processing_results.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("expected what belongs to {}, is {view} {result}", request.data())
    })
}

struct Expected {
    status: &'static str,
    code: Option<&'static str>,
    /// Deaths and stops are no attempts, so the number is exact.
    attempts: i64,
}

impl Expected {
    fn of(request: &Request) -> Self {
        let (status, code, attempts) = match request.work {
            Work::Succeed { failures, .. } => ("completed", None, failures + 1),
            Work::Reject => ("failed", Some("permanent"), 1),
            Work::Fail => ("failed", Some("attempts_exhausted"), MAX_ATTEMPTS),
        };
        Self { status, code, attempts }
    }

    fn text(&self) -> String {
        let code = self.code.map(|code| format!(" ({code})")).unwrap_or_default();
        format!("{}{code}", self.status)
    }
}
