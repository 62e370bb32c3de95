//! Follows the server-sent events of one request.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::stack::Web;

/// The stream of a request's events.
pub(crate) struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    pub(crate) async fn of(web: &Web, id: &str) -> Result<Self> {
        let answer = web.get(&format!("/api/v1/requests/{id}/events")).await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        Ok(Self { answer, text: String::new() })
    }

    /// The next event with its name; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let told = field("event: ").zip(field("data: "));
                let told = told.map(|(name, data)| (name.to_owned(), serde_json::from_str(data)));
                self.text = rest.to_owned();
                if let Some((name, data)) = told {
                    return Ok(Some((name, data?)));
                }
                continue;
            }
            let Some(chunk) = self.answer.chunk().await? else { return Ok(None) };
            self.text.push_str(std::str::from_utf8(&chunk)?);
        }
    }

    /// Waits for an event of this name that is as wanted.
    pub(crate) async fn until(
        &mut self,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut seen = Vec::new();
        while let Some((event, data)) = self.next().await.with_context(|| format!("{seen:?}"))? {
            if event == name && wanted(&data) {
                return Ok(data);
            }
            seen.push(data);
        }
        anyhow::bail!("it ended: {seen:?}")
    }

    pub(crate) async fn status(&mut self, status: &str) -> Result<Value> {
        self.until("status", |request| request["status"] == status).await
    }
}
