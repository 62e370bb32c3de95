//! Pages of a list, followed by their cursor.

use serde::Deserialize;

use super::error::CallError;

/// The most items that the service puts on a page.
pub(crate) const MAX_PAGE_ITEMS: u64 = 500;

/// A page of requests or messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// Passes the items of all pages to `take`, in their order, until it returns `false`. Only one page
/// is in memory at a time. Returns whether items may follow the last one that was taken.
///
/// # Errors
/// The first one of `fetch` or `take`.
pub(crate) async fn for_each_item<T, E: From<CallError>>(
    fetch: impl AsyncFn(Option<String>) -> Result<Page<T>, CallError>,
    mut take: impl FnMut(&T) -> Result<bool, E>,
) -> Result<bool, E> {
    let mut cursor = None;
    loop {
        let Page { items, next_cursor } = fetch(cursor).await?;
        let mut left = items.len();
        for item in &items {
            left -= 1;
            if !take(item)? {
                return Ok(left > 0 || next_cursor.is_some());
            }
        }
        if next_cursor.is_none() {
            return Ok(false);
        }
        cursor = next_cursor;
    }
}
