//! The lines of a bulk run whose work reports its progress.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    api::{
        progress::Progress,
        request::{Request, Status},
    },
    commands::request_text::progress_with_bar,
};

/// How many lines are shown, the first ones.
const MAX_SHOWN: usize = 3;
/// How much of a message is shown, to fit into the line of a terminal.
const MAX_MESSAGE_CHARS: usize = 40;

/// The latest progress of each line, by the numbers of the lines.
#[derive(Debug, Default)]
pub(super) struct Working(RefCell<BTreeMap<u64, Progress>>);

impl Working {
    /// Notes what is known of the request of a line.
    pub(super) fn note(&self, line: u64, request: &Request) {
        let progress = Progress::of(request).filter(|_| request.status == Status::Processing);
        match progress {
            Some(progress) => drop(self.0.borrow_mut().insert(line, progress)),
            None => self.remove(line),
        }
    }

    /// The line has ended.
    pub(super) fn remove(&self, line: u64) {
        self.0.borrow_mut().remove(&line);
    }

    /// The first of them with their bars, a text for each, and how many more there are.
    pub(super) fn texts(&self) -> Vec<String> {
        let working = self.0.borrow();
        let first = working.iter().take(MAX_SHOWN);
        let text = |(line, progress)| format!("line {line}  {}", short(progress));
        let mut texts: Vec<_> = first.map(text).collect();
        match working.len().saturating_sub(MAX_SHOWN) {
            0 => {}
            more => texts.push(format!("and {more} more")),
        }
        texts
    }
}

/// The progress with its bar and the beginning of its message.
fn short(progress: &Progress) -> String {
    let mut progress = progress.clone();
    if let Some(message) = &mut progress.message
        && let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS)
    {
        message.truncate(end);
        message.push_str("...");
    }
    progress_with_bar(&progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(rest: &str) -> Request {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        serde_json::from_str(&format!(r#"{{"requestId":"{id}",{rest}}}"#)).unwrap()
    }

    fn at_work(progress: f64, message: &str) -> Request {
        let message = format!(r#""progressMessage":"{message}""#);
        request(&format!(r#""status":"processing","progress":{progress},{message}"#))
    }

    #[test]
    fn the_first_lines_that_report_progress_have_a_bar_and_their_message() {
        let working = Working::default();
        working.note(7, &at_work(0.5, "page 5"));
        working.note(8, &request(r#""status":"processing""#));
        assert_eq!(working.texts(), ["line 7  [##########----------]  50%  page 5"]);
        for line in [2, 3, 4, 5] {
            working.note(line, &at_work(0.0, &"ü".repeat(100)));
        }
        let texts = working.texts();
        assert_eq!((texts.len(), texts[3].as_str()), (4, "and 2 more"));
        assert!(texts[0].starts_with("line 2  [") && texts[0].chars().count() < 84, "{texts:?}");
        working.note(7, &request(r#""status":"queued","progress":0.5"#));
        working.remove(2);
        assert_eq!(working.texts().len(), 3, "no others than 3, 4 and 5");
    }
}
