//! Which of all that have failed are meant.

use std::time::SystemTime;

use super::{Target, target};
use crate::{
    api::{CallError, Client, Letter, Page, Request, Status},
    arguments::{Choice, Filters},
    exit::Failure,
    output,
};

/// The most that a page has.
const PAGE: &str = "500";

impl Filters {
    /// Whether they leave anything out.
    pub(super) fn any(&self) -> bool {
        self.kind.is_some() || self.code.is_some() || self.since.is_some() || self.before.is_some()
    }

    fn take(&self, request: &Request) -> bool {
        let code = request.error.as_ref().map_or("", |error| &error.code);
        request.status == Status::Failed
            && self.kind.as_deref().is_none_or(|kind| kind == request.details.kind)
            && self.takes_code(code)
            && self.takes_time(request.details.finished_at.as_deref().unwrap_or_default())
    }

    /// A message that belongs to no request has no type.
    fn take_message(&self, letter: &Letter) -> bool {
        let details = &letter.details;
        self.kind.is_none()
            && self.takes_code(&details.reason)
            && self.takes_time(&details.received_at)
    }

    fn takes_code(&self, code: &str) -> bool {
        self.code.as_deref().is_none_or(|wanted| wanted == code)
    }

    /// What has no time is left out wherever time matters.
    fn takes_time(&self, text: &str) -> bool {
        let at = humantime::parse_rfc3339_weak(text).ok();
        let takes = |bound: Option<SystemTime>, takes: fn(SystemTime, SystemTime) -> bool| {
            bound.is_none_or(|bound| at.is_some_and(|at| takes(at, bound)))
        };
        takes(self.since, |at, since| at >= since) && takes(self.before, |at, before| at < before)
    }
}

/// Hands over all failed requests that are meant, page by page, the newest first, until it is enough.
pub(super) async fn each_request(
    client: &Client,
    filters: &Filters,
    mut take: impl FnMut(&Request) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let page = async |cursor: Option<String>| {
        let mut query = vec![("status", "failed".to_owned()), ("limit", PAGE.to_owned())];
        query.extend(filters.kind.clone().map(|kind| ("type", kind)));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        client.list(&query).await
    };
    each(page, |request| Ok(!filters.take(request) || take(request)?)).await
}

/// The same for messages that belong to no request.
pub(super) async fn each_message(
    client: &Client,
    filters: &Filters,
    mut take: impl FnMut(&Letter) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let page = async |cursor: Option<String>| {
        let mut query = vec![("limit", PAGE.to_owned())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        client.parked(&query).await
    };
    each(page, |letter| Ok(!filters.take_message(letter) || take(letter)?)).await
}

/// Hands over what is on each page, until that is enough or was the last one.
async fn each<T>(
    page: impl AsyncFn(Option<String>) -> Result<Page<T>, CallError>,
    mut take: impl FnMut(&T) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let Page { items, next_cursor } = page(cursor).await?;
        for item in &items {
            if !take(item)? {
                return Ok(());
            }
        }
        if next_cursor.is_none() {
            return Ok(());
        }
        cursor = next_cursor;
    }
}

/// What is meant.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Those that are there.
    pub(super) targets: Vec<Target>,
    /// How many others were named.
    pub(super) missing: u64,
}

/// Those that were named, or else all that the filters take.
pub(super) async fn chosen(client: &Client, choice: &Choice) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    if choice.ids.is_empty() {
        let add = |request: &Request| {
            chosen.targets.push(Target::Request(request.id, request.details.run));
            Ok(true)
        };
        each_request(client, &choice.filters, add).await?;
        return Ok(chosen);
    }
    for id in &choice.ids {
        match named(client, id, choice.dry_run).await {
            Ok(target) => chosen.targets.extend(target),
            // The same command may have discarded it, before it was stopped and given again.
            Err(CallError::Missing(said)) if choice.ids.len() > 1 => {
                output::note(said);
                chosen.missing += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(chosen)
}

/// What is meant by a name, which is there. The service refuses what has not failed; if nothing is to be
/// done, that is said here.
async fn named(client: &Client, name: &str, dry_run: bool) -> Result<Option<Target>, CallError> {
    match target(name)? {
        Ok(id) => {
            let request = client.get(id).await?;
            if dry_run && request.status != Status::Failed {
                output::note(format!("{id} has not failed: it is {}", request.status.word()));
                return Ok(None);
            }
            Ok(Some(Target::Request(id, request.details.run)))
        }
        Err(number) => {
            client.message(number).await?;
            Ok(Some(Target::Message(number)))
        }
    }
}

/// All messages that belong to no request and that the filters take.
pub(super) async fn messages(client: &Client, filters: &Filters) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    let add = |letter: &Letter| {
        chosen.targets.push(Target::Message(letter.details.number));
        Ok(true)
    };
    each_message(client, filters, add).await?;
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &str, code: &str, at: &str) -> Request {
        let json = format!(
            r#"{{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"failed","type":"{kind}",
                "finishedAt":"{at}","error":{{"code":"{code}","message":""}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn filters_leave_out_what_was_not_asked_for() {
        let request = failed("video", "timeout", "2026-11-21T09:00:00.500Z");
        let at = |text: &str| Some(humantime::parse_rfc3339_weak(text).unwrap());
        let text = |text: &str| Some(text.to_owned());
        let all = Filters::default;
        for (filters, takes) in [
            (all(), true),
            (Filters { kind: text("video"), ..all() }, true),
            (Filters { kind: text("audio"), ..all() }, false),
            (Filters { code: text("timeout"), ..all() }, true),
            (Filters { code: text("time"), ..all() }, false),
            (Filters { since: at("2026-11-21T09:00:00.500Z"), ..all() }, true),
            (Filters { since: at("2026-11-21T09:00:01Z"), ..all() }, false),
            (Filters { before: at("2026-11-21T09:00:00.501Z"), ..all() }, true),
            (Filters { before: at("2026-11-21T09:00:00.500Z"), ..all() }, false),
        ] {
            assert_eq!(filters.take(&request), takes, "{filters:?}");
        }
        let timeless = failed("video", "timeout", "");
        assert!(all().take(&timeless));
        assert!(!Filters { before: at("2099-01-01T00:00:00Z"), ..all() }.take(&timeless));
    }
}
