//! `slowlane list`.

use super::table::Table;
use crate::{
    api::{Client, Request},
    arguments::{Filter, Format, List},
    exit::{Exit, Failure},
    output,
};

/// The most that a page has.
const PAGE: u64 = 500;

/// Prints requests, page by page, as they come: however many there are, only a page is in memory.
pub(super) async fn run(client: &Client, list: List, format: Format) -> Result<Exit, Failure> {
    let mut left = if list.all { u64::MAX } else { list.limit };
    let mut table = Table::new(format);
    let mut cursor = None;
    while left > 0 {
        let mut page = client.list(&query(&list, left, cursor)).await?;
        page.items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.items.len() as u64;
        for request in &page.items {
            table.print(HEADER, || row(request), request.json())?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if table.end()? == 0 && format == Format::Text {
        output::note("there are no such requests");
    }
    Ok(Exit::Completed)
}

fn query(list: &List, left: u64, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", left.min(PAGE).to_string())];
    query.extend(list.status.map(|status| ("status", word(status).to_owned())));
    query.extend(list.kind.clone().map(|kind| ("type", kind)));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    query
}

fn word(filter: Filter) -> &'static str {
    match filter {
        Filter::Queued => "queued",
        Filter::Processing => "processing",
        Filter::Completed => "completed",
        Filter::Failed => "failed",
        Filter::Cancelled => "cancelled",
    }
}

const HEADER: &str =
    "ID                                    STATUS      TYPE        ACCEPTED                  ERROR";

/// The columns have fixed widths, since later pages aren't known yet.
fn row(request: &Request) -> String {
    let status = output::status(request.status, 10);
    let (kind, accepted) = (&request.details.kind, request.details.accepted_at.as_deref());
    let accepted = accepted.unwrap_or_default();
    let why = request.error.as_ref().map(|_| output::why_in_short(request)).unwrap_or_default();
    let kind = output::plain(kind, &[]);
    let row = format!("{}  {status}  {kind:<10}  {accepted:<24}  {why}", request.id);
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_what_was_asked_and_no_more_than_a_page() {
        let list = List {
            status: Some(Filter::Failed),
            kind: Some("a b".to_owned()),
            limit: 1,
            all: false,
        };
        let query = query(&list, 1200, Some("c".to_owned()));
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["limit=500", "status=failed", "type=a b", "cursor=c"]);
    }

    #[test]
    fn rows_stand_under_the_header() {
        let json = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"completed","type":"default",
            "acceptedAt":"2026-11-21T09:54:22.988Z"}"#;
        let row = row(&serde_json::from_str(json).unwrap());
        let column = |name| HEADER.find(name).unwrap();
        assert_eq!(&row[column("STATUS")..][..9], "completed");
        assert_eq!(&row[column("TYPE")..][..7], "default");
        assert_eq!(&row[column("ACCEPTED")..], "2026-11-21T09:54:22.988Z");
    }
}
