//! `slowlane wait`, and the flag `--wait` of other commands: waits for the end of a request.

use std::time::{Duration, SystemTime};

use serde_json::json;
use uuid::Uuid;

use super::{follow, request_text};
use crate::{
    api::{
        client::Client,
        request::{Request, Status},
    },
    arguments::Format,
    exit::{Exit, Failure},
    output, text,
};

/// The flag `--wait [TIMEOUT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitFlag {
    /// The flag is missing.
    Absent,
    /// Wait for the end; without a timeout however long that takes.
    Wait { timeout: Option<Duration> },
}

impl WaitFlag {
    /// Reads the flag. In `submit --wait DATA` clap takes the command's argument for the timeout: then it
    /// is moved to `argument`, if that is empty and `needs_argument`.
    ///
    /// # Errors
    /// If the timeout is no duration and can't be the argument either. A bare number is taken for a duration that lacks its
    /// unit: as data it would replace what comes through a pipe.
    pub(super) fn read(
        flag: Option<Option<String>>,
        argument: &mut Option<String>,
        needs_argument: bool,
    ) -> Result<Self, Failure> {
        let Some(timeout) = flag else { return Ok(Self::Absent) };
        let Some(timeout) = timeout else { return Ok(Self::Wait { timeout: None }) };
        match humantime::parse_duration(&timeout) {
            Ok(timeout) => Ok(Self::Wait { timeout: Some(timeout) }),
            Err(_) if is_number(&timeout) => Err(Failure::Usage(format!(
                "--wait takes a duration: write {timeout}s for seconds. If {timeout} is no duration, write it before --wait"
            ))),
            Err(_) if argument.is_none() && needs_argument => {
                *argument = Some(timeout);
                Ok(Self::Wait { timeout: None })
            }
            Err(error) => Err(Failure::Usage(format!(
                "--wait takes a duration like 90s or 5m, not {timeout:?}: {error}"
            ))),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Ends a command that has queued a request: says what it has `done`, and waits for the request's end if the flag says so.
pub(super) async fn after(
    client: &Client,
    id: Uuid,
    flag: WaitFlag,
    format: Format,
    done: &str,
) -> Result<Exit, Failure> {
    match (flag, format) {
        (WaitFlag::Wait { timeout }, _) => {
            output::note(done);
            return run(client, id, timeout, format).await;
        }
        (WaitFlag::Absent, Format::Text) => {
            output::note(format!("{done}; slowlane wait {id} waits for its end"));
        }
        (WaitFlag::Absent, Format::Json) => output::line(json!({ "requestId": id }))?,
    }
    Ok(Exit::Completed)
}

/// Waits until a request has ended, and prints its result or error.
pub(super) async fn run(
    client: &Client,
    id: Uuid,
    timeout: Option<Duration>,
    format: Format,
) -> Result<Exit, Failure> {
    let request = follow::beside(client, id, client.wait(id, timeout)).await?;
    match format {
        Format::Text if request.status == Status::Completed => {
            output::answer(request_text::result(&request))?;
        }
        Format::Text => output::note(no_result(&request)),
        Format::Json => output::answer(text::one_line(request.json()))?,
    }
    Ok(Exit::of(request.status))
}

/// Why there is no result.
fn no_result(request: &Request) -> String {
    let id = request.id;
    match request.status {
        Status::Failed => format!("{id} failed: {}", request_text::error(request)),
        Status::Cancelled => format!("{id} was cancelled"),
        status => {
            let why = request_text::failed_attempt(request, SystemTime::now());
            let (status, why) = (status.as_str(), why.map(|why| format!(" ({why})")));
            let why = why.unwrap_or_default();
            format!("{id} has not ended yet, it is {status}{why}; slowlane wait {id} waits for it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_after_wait_is_not_a_timeout() {
        let flag = |text: &str| Some(Some(text.to_owned()));
        let wait = WaitFlag::Wait { timeout: None };
        let minute = WaitFlag::Wait { timeout: Some(Duration::from_secs(60)) };
        let mut data = None;
        assert_eq!(WaitFlag::read(flag("1m"), &mut data, true).unwrap(), minute);
        assert_eq!(WaitFlag::read(flag("{\"a\":1}"), &mut data, true).unwrap(), wait);
        assert_eq!(data.as_deref(), Some("{\"a\":1}"));
        assert!(WaitFlag::read(flag("soon"), &mut data, true).is_err());
        assert_eq!(WaitFlag::read(Some(None), &mut data, true).unwrap(), wait);
        assert_eq!(WaitFlag::read(None, &mut data, true).unwrap(), WaitFlag::Absent);
    }

    #[test]
    fn a_timeout_without_its_unit_is_not_taken_for_data() {
        for (timeout, needs_argument) in
            [("30", true), ("1.5", true), ("30", false), ("soon", false)]
        {
            let mut data = None;
            let read = WaitFlag::read(Some(Some(timeout.to_owned())), &mut data, needs_argument);
            let Err(Failure::Usage(text)) = read else { panic!("{timeout}: {read:?}") };
            assert!(text.contains("--wait takes a duration"), "{text}");
            assert_eq!(text.contains(&format!("{timeout}s")), timeout != "soon", "{text}");
            assert_eq!(data, None);
        }
    }
}
