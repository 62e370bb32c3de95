//! Error groups: failures by code and pattern, their requests, and how they change.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

impl Web {
    /// The error groups that a query finds.
    async fn groups(&self, query: &str) -> Result<Vec<Value>> {
        let found: Value = self.get(&format!("/api/v1/error-groups?{query}")).await?.json().await?;
        Ok(found["items"].as_array().with_context(|| found.to_string())?.clone())
    }
}

fn counts(groups: &[Value]) -> Vec<(&Value, &Value)> {
    groups.iter().map(|group| (&group["count"], &group["failed"])).collect()
}

#[tokio::test]
async fn failures_are_grouped_found_by_group_and_leave_it_when_they_are_mended() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let mut web = database.web(&stack).await?;
        let _processor = stack.start_faulty(1, "100ms").await?;
        let mut ids = Vec::new();
        for message in ["no such file 7", "a mistake", "no such file 8"] {
            let id = web.accepted(json!({"permanent": message})).await?;
            assert_eq!(web.ended(&id).await?["status"], "failed");
            ids.push(id);
        }
        // It fails twice, and is completed with its third attempt.
        let retried = web.accepted(json!({"fail": 2})).await?;
        assert_eq!(web.ended(&retried).await?["status"], "completed");

        let failed = web.groups("failed=true").await?;
        assert_eq!(counts(&failed), [(&json!(2), &json!(2)), (&json!(1), &json!(1))], "{failed:?}");
        let all = web.groups("").await?;
        assert_eq!(counts(&all)[0], (&json!(2), &json!(0)), "of the attempts: {all:?}");
        assert_eq!((all.len(), web.groups("limit=1").await?.len()), (3, 1));
        let group = &failed[0];
        assert_eq!(
            (&group["code"], &group["example"]),
            (&json!("permanent"), &json!("no such file 7"))
        );
        assert_eq!(group["exampleRequestId"], ids[0]);
        let id = group["group"].as_str().context("an id")?;
        let listed = web.list(&format!("status=failed&group={id}&count=true")).await?;
        let listed_ids: Vec<_> = listed["items"]
            .as_array()
            .context("items")?
            .iter()
            .map(|it| &it["requestId"])
            .collect();
        assert_eq!(
            (listed_ids, &listed["count"]),
            (vec![&json!(ids[2]), &json!(ids[0])], &json!(2))
        );

        // It is kept, and a request leaves it when somebody decides about it.
        web.program.kill();
        web = database.web(&stack).await?;
        let path = format!("/api/v1/error-groups/{id}");
        let kept: Value = web.get(&path).await?.json().await?;
        assert_eq!(kept, *group);
        let url = format!("{}/api/v1/requests/{}/discard", web.base, ids[0]);
        assert_eq!(web.client.post(url).send().await?.status(), 204);
        let left: Value = web.get(&path).await?.json().await?;
        assert_eq!((&left["count"], &left["failed"]), (&json!(2), &json!(1)));
        assert_eq!(web.get("/api/v1/error-groups/0123456789abcdef").await?.status(), 404);
        assert_eq!(web.get("/api/v1/error-groups/no-id").await?.status(), 404);
        assert_eq!(web.get("/api/v1/error-groups?failed=perhaps").await?.status(), 400);
    }
    Ok(())
}
