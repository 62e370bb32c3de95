//! Selects failed requests and parked messages: by name, or by filters page by page.

use std::time::SystemTime;

use super::target::{Name, Target, parse_name};
use crate::{
    api::{
        client::Client,
        error::CallError,
        page::{MAX_PAGE_ITEMS, for_each_item},
        parked_message::ParkedMessage,
        request::{Request, Status},
    },
    arguments::failed::{Filters, Selector},
    exit::Failure,
    output,
};

/// What an action is applied to.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) targets: Vec<Target>,
    /// How many requests or messages were named that do not exist.
    pub(super) missing: u64,
}

/// The requests and messages that are named, or all failed requests that match the filters.
pub(super) async fn select(client: &Client, selector: &Selector) -> Result<Selection, Failure> {
    let mut selection = Selection::default();
    if selector.ids.is_empty() {
        let add = |request: &Request| {
            selection.targets.push(target(request));
            Ok(true)
        };
        for_each_request(client, &selector.filters, add).await?;
        return Ok(selection);
    }
    for id in &selector.ids {
        match named(client, id, selector.dry_run).await {
            Ok(target) => selection.targets.extend(target),
            // An interrupted run of the same command may have discarded it.
            Err(CallError::NotFound(detail)) if selector.ids.len() > 1 => {
                output::note(detail);
                selection.missing += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(selection)
}

/// All messages that belong to no request and match the filters.
pub(super) async fn select_messages(
    client: &Client,
    filters: &Filters,
) -> Result<Selection, Failure> {
    let mut selection = Selection::default();
    let add = |message: &ParkedMessage| {
        selection.targets.push(Target::Message(message.details.number));
        Ok(true)
    };
    for_each_message(client, filters, add).await?;
    Ok(selection)
}

/// Passes failed requests that match the filters to `take`, the newest first, until it returns `false`. Returns whether
/// others may follow, which need not match.
pub(super) async fn for_each_request(
    client: &Client,
    filters: &Filters,
    mut take: impl FnMut(&Request) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let fetch = async |cursor: Option<String>| {
        let limit = MAX_PAGE_ITEMS.to_string();
        let mut query = vec![("status", "failed".to_owned()), ("limit", limit)];
        query.extend(filters.kind.clone().map(|kind| ("type", kind)));
        query.extend(filters.group.clone().map(|group| ("group", group)));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        client.list(&query).await
    };
    for_each_item(fetch, |request| Ok(!filters.match_request(request) || take(request)?)).await
}

/// The same for parked messages that belong to no request.
pub(super) async fn for_each_message(
    client: &Client,
    filters: &Filters,
    mut take: impl FnMut(&ParkedMessage) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let fetch = async |cursor: Option<String>| {
        let mut query = vec![("limit", MAX_PAGE_ITEMS.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        client.parked_messages(&query).await
    };
    for_each_item(fetch, |message| Ok(!filters.match_message(message) || take(message)?)).await
}

/// What a name stands for, if that exists. Only a dry run checks that a request has failed: otherwise
/// the service refuses the action.
async fn named(client: &Client, name: &str, dry_run: bool) -> Result<Option<Target>, CallError> {
    match parse_name(name)? {
        Name::Request(id) => {
            let request = client.get(id).await?;
            if dry_run && request.status != Status::Failed {
                output::note(format!("{id} has not failed: it is {}", request.status.as_str()));
                return Ok(None);
            }
            Ok(Some(target(&request)))
        }
        Name::Message(number) => {
            client.parked_message(number).await?;
            Ok(Some(Target::Message(number)))
        }
    }
}

fn target(request: &Request) -> Target {
    Target::Request { id: request.id, run: request.details.run }
}

impl Filters {
    /// Whether any filter is set.
    pub(super) fn any(&self) -> bool {
        let texts = [&self.kind, &self.code, &self.group];
        texts.iter().any(|text| text.is_some()) || self.since.is_some() || self.before.is_some()
    }

    fn match_request(&self, request: &Request) -> bool {
        let code = request.error.as_ref().map_or("", |error| &error.code);
        request.status == Status::Failed
            && self.kind.as_deref().is_none_or(|kind| kind == request.details.kind)
            && self.match_code(code)
            && self.match_time(request.details.finished_at.as_deref().unwrap_or_default())
    }

    /// A message that belongs to no request has no type and no group.
    fn match_message(&self, message: &ParkedMessage) -> bool {
        let details = &message.details;
        self.kind.is_none()
            && self.group.is_none()
            && self.match_code(&details.reason)
            && self.match_time(&details.received_at)
    }

    fn match_code(&self, code: &str) -> bool {
        self.code.as_deref().is_none_or(|wanted| wanted == code)
    }

    /// A text that is no time matches only if no time is asked for.
    fn match_time(&self, text: &str) -> bool {
        let time = humantime::parse_rfc3339_weak(text).ok();
        let matches = |bound: Option<SystemTime>, compare: fn(SystemTime, SystemTime) -> bool| {
            bound.is_none_or(|bound| time.is_some_and(|time| compare(time, bound)))
        };
        matches(self.since, |time, since| time >= since)
            && matches(self.before, |time, before| time < before)
    }
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
    fn a_request_has_to_match_all_filters() {
        let request = failed("video", "timeout", "2026-11-21T09:00:00.500Z");
        let at = |text: &str| Some(humantime::parse_rfc3339_weak(text).unwrap());
        let text = |text: &str| Some(text.to_owned());
        let all = Filters::default;
        for (filters, matches) in [
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
            assert_eq!(filters.match_request(&request), matches, "{filters:?}");
        }
        let timeless = failed("video", "timeout", "");
        assert!(all().match_request(&timeless));
        assert!(!Filters { before: at("2099-01-01T00:00:00Z"), ..all() }.match_request(&timeless));
    }
}
