//! `slowlane verify`: names open requests whose message is missing, and with `--mend` publishes them again.

use futures_util::{StreamExt, stream};

use crate::{
    api::{
        client::Client,
        error::CallError,
        verification::{MissingRequest, Verification, VerificationDetails},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output,
    text::{escape_controls, one_line},
};

/// How many requests are published at the same time.
const CONCURRENCY: usize = 16;

/// Prints what is missing, once; with `mend` as often as more is missing than fits into an answer.
pub(super) async fn run(client: &Client, mend: bool, format: Format) -> Result<Exit, Failure> {
    loop {
        let found = client.verify().await?;
        show(&found, format)?;
        let VerificationDetails { missing, is_cut, .. } = found.details;
        if missing.is_empty() {
            return Ok(Exit::Completed);
        }
        if !mend {
            if format == Format::Text {
                output::note("slowlane verify --mend publishes them again");
            }
            return Ok(Exit::Other);
        }
        let count = missing.len();
        let published = publish(client, missing).await?;
        output::note(format!("{published} of {count} published again"));
        match (published == count, is_cut) {
            (true, false) => return Ok(Exit::Completed),
            (true, true) => {}
            (false, _) => return Ok(Exit::Other),
        }
    }
}

/// Publishes requests again, and returns how many. What has ended or moved on meanwhile is reported.
async fn publish(client: &Client, missing: Vec<MissingRequest>) -> Result<usize, Failure> {
    let calls = stream::iter(missing)
        .map(async |it| (it.request_id, client.republish(it.request_id, it.run).await))
        .buffer_unordered(CONCURRENCY);
    let (mut calls, mut published) = (std::pin::pin!(calls), 0);
    while let Some((id, answer)) = calls.next().await {
        match answer {
            Ok(()) => published += 1,
            // It has ended, or a worker has it: nothing is missing any more.
            Err(CallError::Rejected { ref problem_type, .. }) if problem_type == "not-waiting" => {
                published += 1;
            }
            Err(error @ (CallError::Rejected { .. } | CallError::NotFound(_))) => {
                output::note(format!("{id} is not published: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(published)
}

fn show(found: &Verification, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::answer(one_line(found.json()))?,
        Format::Text => {
            for line in lines(&found.details) {
                output::answer(line)?;
            }
            output::note(summary(&found.details));
        }
    }
    Ok(())
}

fn lines(found: &VerificationDetails) -> Vec<String> {
    let missing = found.missing.iter().map(|it| {
        let accepted = it.accepted_at.as_deref().unwrap_or("not known");
        let waits = it.next_attempt_at.as_deref();
        let waits = waits.map(|at| format!(", again at {at}")).unwrap_or_default();
        let line = format!("{}  accepted {accepted}{waits}; {}", it.request_id, why(&it.reason));
        escape_controls(&line, &[]).into_owned()
    });
    let unseen = found.unseen.iter();
    let unseen = unseen.map(|it| format!("can't see: {}", escape_controls(&it.detail, &[])));
    missing.chain(unseen).collect()
}

fn why(reason: &str) -> &str {
    match reason {
        "overtaken" => "requests that came later were worked on",
        "too-few-messages" => "more requests wait than the queues hold messages",
        other => other,
    }
}

fn summary(found: &VerificationDetails) -> String {
    let VerificationDetails { open, in_work, waiting, retrying, missing_count, .. } = found;
    let missing = match missing_count {
        0 => "nothing is missing".to_owned(),
        1 => "1 message is missing".to_owned(),
        count => format!("{count} messages are missing"),
    };
    format!(
        "{missing}: {open} requests are open, {in_work} in work, {waiting} wait ({} messages), {retrying} wait for their \
         next attempt ({} messages)",
        found.messages_waiting, found.messages_retrying
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_request_is_a_line_and_what_can_not_be_seen_follows() {
        let found: VerificationDetails = serde_json::from_str(
            r#"{"open":5,"inWork":1,"waiting":3,"retrying":1,"messagesWaiting":2,"messagesRetrying":1,
            "missing":[{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","run":0,"attempts":1,
            "acceptedAt":"2026-11-21T09:56:30.000Z","reason":"overtaken"}],"missingCount":1,
            "unseen":[{"code":"x","detail":"Something."}]}"#,
        )
        .unwrap();
        let expected = [
            "01a1fd87-448c-755a-a380-a6f598ec5ae1  accepted 2026-11-21T09:56:30.000Z; requests that came later were worked on",
            "can't see: Something.",
        ];
        assert_eq!(lines(&found), expected);
        let expected = "1 message is missing: 5 requests are open, 1 in work, 3 wait (2 messages), \
            1 wait for their next attempt (1 messages)";
        assert_eq!(summary(&found), expected);
        assert!(summary(&VerificationDetails::default()).starts_with("nothing is missing"));
    }
}
