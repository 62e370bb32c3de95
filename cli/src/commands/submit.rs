//! `slowlane submit`.

use std::io::{self, IsTerminal};

use anyhow::Context;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::wait;
use crate::{
    api::Client,
    arguments::{Format, Submit},
    exit::{Exit, Failure},
    input::{self, Origin},
    output,
};

/// What `processData` takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
}

/// Sends data, and with `--wait` waits for its end.
pub(super) async fn run(
    client: &Client,
    mut submit: Submit,
    format: Format,
) -> Result<Exit, Failure> {
    let waiting = input::waiting(submit.wait, &mut submit.data)?;
    let origin = Origin::choose(submit.data, submit.file, io::stdin().is_terminal())?;
    let data = input::json(origin.read()?, submit.text)?;
    let (expires_in, callback_url) = (submit.expires_in.as_deref(), submit.callback_url.as_deref());
    let body = body(&data, expires_in, callback_url)?;
    let key = submit.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    let id = client.submit(&body, &key).await?;
    match (waiting, format) {
        (Some(timeout), _) => {
            // Whoever is interrupted from now on still knows which request it was.
            output::note(format!("accepted as {id}"));
            return wait::run(client, id, timeout, format).await;
        }
        (None, Format::Text) => output::line(id)?,
        (None, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}

/// The body of a request with this data.
pub(super) fn body(
    data: &RawValue,
    expires_in: Option<&str>,
    callback_url: Option<&str>,
) -> Result<String, Failure> {
    let body = Body { data, expires_in, callback_url };
    Ok(serde_json::to_string(&body).context("checked JSON is JSON")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_the_data_as_it_is_and_names_only_what_was_said() {
        let data = input::json(b"{\"b\":1e400, \"a\":1}".to_vec(), false).unwrap();
        assert_eq!(body(&data, None, None).unwrap(), r#"{"data":{"b":1e400, "a":1}}"#);
        let expiring = body(&data, Some("10m"), None).unwrap();
        assert!(expiring.ends_with(r#","expiresIn":"10m"}"#), "{expiring}");
        let calling = body(&data, None, Some("https://a/")).unwrap();
        assert!(calling.ends_with(r#","callbackUrl":"https://a/"}"#), "{calling}");
    }
}
