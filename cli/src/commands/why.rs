//! `slowlane why`: tells why a request has not ended, and when its work may begin.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::{
    api::{
        client::Client,
        why::{Begins, WhyDetails},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::{escape_controls, one_line, short_duration},
};

/// Prints the reasons that the service gives.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let why = client.why(id).await?;
    match format {
        Format::Json => output::line(one_line(why.json()))?,
        Format::Text => output::line(text(&why.details, SystemTime::now()))?,
    }
    Ok(Exit::Completed)
}

fn text(why: &WhyDetails, now: SystemTime) -> String {
    let reasons = why.reasons.iter().map(|reason| escape_controls(&reason.text, &[]).into_owned());
    let begins = why.begins.as_ref().map(|begins| self::begins(begins, now));
    reasons.chain(begins).collect::<Vec<_>>().join("\n")
}

fn begins(Begins { at, is_estimate }: &Begins, now: SystemTime) -> String {
    let left = humantime::parse_rfc3339_weak(at).ok();
    let left = left.map(|at| at.duration_since(now).unwrap_or(Duration::ZERO));
    let left = left.map_or(String::new(), |left| format!(" in {}", short_duration(left)));
    let at = escape_controls(at, &[]);
    match is_estimate {
        true => format!("It may begin{left}, at {at}, if work goes on at this rate."),
        false => format!("It may begin{left}, at {at}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_are_printed_as_they_come_and_the_estimate_follows() {
        let now = humantime::parse_rfc3339_weak("2026-11-21T10:00:00Z").unwrap();
        let told = |json| text(&serde_json::from_str(json).unwrap(), now);
        let estimated = told(
            r#"{"reasons":[{"code":"a","text":"One."},{"code":"b","text":"Two."}],
            "begins":{"at":"2026-11-21T10:01:30.000Z","isEstimate":true}}"#,
        );
        let expected = "One.\nTwo.\n\
            It may begin in 1m 30s, at 2026-11-21T10:01:30.000Z, if work goes on at this rate.";
        assert_eq!(estimated, expected);
        assert_eq!(told(r#"{"reasons":[{"code":"a","text":"One."}]}"#), "One.");
    }
}
