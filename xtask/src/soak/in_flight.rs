//! The requests that a processor has in flight, as its log tells: a death of its process is one of theirs.

use std::collections::HashSet;

use pipeline::log_messages::{STARTED, WAITING_FOR_ISOLATION};
use serde_json::Value;
use uuid::Uuid;

/// Follows the log of one process.
#[derive(Debug, Default)]
pub(super) struct InFlight(HashSet<Uuid>);

impl InFlight {
    /// Reads the next line. A worker logs when it begins with a request, or waits to; whatever it logs of it afterwards
    /// is about the end.
    pub(super) fn read(&mut self, line: &str) {
        let Some((id, message)) = parse(line) else { return };
        if [STARTED, WAITING_FOR_ISOLATION].contains(&message.as_str()) {
            self.0.insert(id);
        } else {
            self.0.remove(&id);
        }
    }

    /// What was in flight when the log ended.
    pub(super) fn at_the_end(self) -> impl Iterator<Item = Uuid> {
        self.0.into_iter()
    }
}

fn parse(line: &str) -> Option<(Uuid, String)> {
    // Most lines of a web service are left out by this, before they are parsed.
    if !line.contains("\"worker\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let id = line["requestId"].as_str()?.parse().ok()?;
    Some((id, line["message"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use pipeline::log_messages::FINISHED;
    use serde_json::json;

    use super::*;

    fn line(message: &str, id: Uuid) -> String {
        json!({"message": message, "requestId": id, "worker": "host:1/1"}).to_string()
    }

    #[test]
    fn what_was_begun_and_has_not_ended_is_in_flight() {
        let mut in_flight = InFlight::default();
        in_flight.read(&line(STARTED, Uuid::nil()));
        in_flight.read(&line(WAITING_FOR_ISOLATION, Uuid::max()));
        in_flight.read(&line(STARTED, Uuid::max()));
        in_flight.read("no JSON of a \"worker\"");
        in_flight.read(&line(FINISHED, Uuid::nil()));
        assert_eq!(in_flight.at_the_end().collect::<Vec<_>>(), [Uuid::max()]);
    }
}
