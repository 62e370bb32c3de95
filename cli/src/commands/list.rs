//! `slowlane list`: lists requests, newest first.

use std::time::SystemTime;

use clap::ValueEnum;

use super::{
    request_text,
    table::{self, Table},
};
use crate::{
    api::{
        client::Client,
        page::{MAX_PAGE_ITEMS, for_each_item},
        request::Request,
    },
    arguments::{Format, List},
    exit::{Exit, Failure},
    output, text,
};

/// The columns have fixed widths, since the first page is printed before the later ones are known.
const HEADER: &str =
    "ID                                    STATUS      TYPE        ACCEPTED                  ERROR";

/// Prints requests page by page.
pub(super) async fn run(client: &Client, list: List, format: Format) -> Result<Exit, Failure> {
    let limit = if list.all { u64::MAX } else { list.limit };
    let mut table = Table::new(format, HEADER, limit);
    let fetch = async |cursor| client.list(&query(&list, limit, cursor)).await;
    let has_more = for_each_item(fetch, |request: &Request| {
        Ok::<_, Failure>(table.print(|| row(request), request.json())?)
    })
    .await?;
    match table.end()? {
        0 if format == Format::Text => output::note("there are no such requests"),
        listed if has_more => output::note(table::more(listed)),
        _ => {}
    }
    Ok(Exit::Completed)
}

fn query(list: &List, limit: u64, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", limit.min(MAX_PAGE_ITEMS).to_string())];
    let status = list.status.and_then(|status| status.to_possible_value());
    query.extend(status.map(|status| ("status", status.get_name().to_owned())));
    query.extend(list.kind.clone().map(|kind| ("type", kind)));
    query.extend(list.code.clone().map(|code| ("code", code)));
    query.extend(list.group.clone().map(|group| ("group", group)));
    query.extend(list.id.clone().map(|id| ("id", id)));
    let time = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    query.extend(list.since.map(|since| ("acceptedAfter", time(since))));
    query.extend(list.before.map(|before| ("acceptedBefore", time(before))));
    query.extend(list.attempts.map(|attempts| ("attempts", attempts.to_string())));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    query
}

fn row(request: &Request) -> String {
    let status = request_text::status(request.status, 10);
    let kind = text::escape_controls(&request.details.kind, &[]);
    let accepted = request.details.accepted_at.as_deref().unwrap_or_default();
    let error = request.error.as_ref().map(|_| request_text::short_error(request));
    let error = error.unwrap_or_default();
    let row = format!("{}  {status}  {kind:<10}  {accepted:<24}  {error}", request.id);
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arguments::StatusFilter;

    #[test]
    fn a_query_has_the_filters_and_asks_for_one_page_at_most() {
        let list = List {
            status: Some(StatusFilter::Failed),
            kind: Some("a b".to_owned()),
            code: Some("timeout".to_owned()),
            group: Some("00c0ffee".to_owned()),
            id: Some("01a1".to_owned()),
            since: Some(SystemTime::UNIX_EPOCH),
            before: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)),
            attempts: Some(2),
            limit: 1,
            all: false,
        };
        let query = query(&list, 1200, Some("c".to_owned()));
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "limit=500",
            "status=failed",
            "type=a b",
            "code=timeout",
            "group=00c0ffee",
            "id=01a1",
            "acceptedAfter=1970-01-01T00:00:00.000Z",
            "acceptedBefore=1970-01-01T00:00:01.500Z",
            "attempts=2",
            "cursor=c",
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn columns_are_aligned_with_the_header() {
        let json = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"completed","type":"default",
            "acceptedAt":"2026-11-21T09:54:22.988Z"}"#;
        let row = row(&serde_json::from_str(json).unwrap());
        let column = |name| HEADER.find(name).unwrap();
        assert_eq!(&row[column("STATUS")..][..9], "completed");
        assert_eq!(&row[column("TYPE")..][..7], "default");
        assert_eq!(&row[column("ACCEPTED")..], "2026-11-21T09:54:22.988Z");
    }
}
