//! `slowlane get`.

use uuid::Uuid;

use crate::{
    api::{Callback, Client, Request},
    arguments::Format,
    exit::{Exit, Failure},
    output,
};

/// Prints a request as it is now.
pub(super) async fn run(client: &Client, id: Uuid, format: Format) -> Result<Exit, Failure> {
    let request = client.get(id).await?;
    match format {
        Format::Text => output::line(text(&request))?,
        Format::Json => output::line(output::one_line(request.json()))?,
    }
    Ok(Exit::of(request.status))
}

pub(super) fn text(request: &Request) -> String {
    let details = &request.details;
    let some = |name, text: &Option<String>| text.clone().map(|text| (name, text));
    let counted = |name, count: u64, usual| (count > usual).then(|| (name, count.to_string()));
    let lines = [
        Some(("request", request.id.to_string())),
        Some(("status", output::status(request.status, 0))),
        Some(("type", details.kind.clone())),
        some("accepted", &details.accepted_at),
        some("started", &details.started_at),
        some("finished", &details.finished_at),
        some("worker", &details.worker),
        details.progress.as_ref().map(|progress| ("progress", progress.get().to_owned())),
        counted("attempts", details.attempts, 1),
        counted("deliveries", details.deliveries, 1),
        counted("run", details.run, 0),
        some("last error", &details.last_error),
        some("next try", &details.next_attempt_at),
        details.callback.as_ref().map(|callback| ("callback", told(callback))),
        request.error.as_ref().map(|_| ("error", output::why(request))),
        request.result().map(|json| ("result", output::plain(json, &['\n', '\t']).into_owned())),
    ];
    let line = |(name, text): (&str, String)| match name {
        "status" => format!("{name:<10}  {text}"),
        "result" => format!("{name:<10}  {text}"),
        _ => output::field(name, &output::plain(&text, &['\n', '\t'])),
    };
    lines.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// How far a callback has come.
fn told(callback: &Callback) -> String {
    let mut text = callback.status.clone();
    if callback.attempts > 1 {
        text += &format!(" after {} attempts", callback.attempts);
    }
    let error = callback.last_error.iter().filter(|_| callback.status != "delivered");
    error.for_each(|error| text += &format!("; {error}"));
    callback.next_attempt_at.iter().for_each(|at| text += &format!("; again at {at}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_worth_a_line_has_one() {
        let json = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"failed","type":"default",
            "attempts":1,"deliveries":2,"run":0,"worker":"\u001b[2Jhost:1/1",
            "callback":{"status":"pending","attempts":2,"lastError":"closed","nextAttemptAt":"2026-11-21T09:54:23.001Z"},"error":{"code":"timeout","message":"too slow"}}"#;
        let text = text(&serde_json::from_str(json).unwrap());
        for line in [
            "status      failed",
            "deliveries  2",
            "callback    pending after 2 attempts; closed; again at 2026-11-21T09:54:23.001Z",
            "error       too slow (timeout)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        let counted = text.lines().any(|line| line.starts_with("attempts"));
        assert!(!counted && !text.contains('\u{1b}'), "{text}");
    }
}
