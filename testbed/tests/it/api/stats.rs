//! Statistics: what happened, counted once, and how many requests there are.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
    wait::settles,
};

const NAMES: [&str; 5] = ["accepted", "completed", "failed", "retried", "cancelled"];

impl Web {
    async fn stats(&self, query: &str) -> Result<Value> {
        Ok(self.get(&format!("/api/v1/stats?{query}")).await?.json().await?)
    }

    /// What happened in a range, by the sums of its series.
    async fn happened(&self, range: &str) -> Result<[u64; 5]> {
        let stats = self.stats(&format!("range={range}")).await?;
        let series = stats["series"].as_array().with_context(|| stats.to_string())?;
        let sum = |name: &str| series.iter().filter_map(|it| it[name].as_u64()).sum::<u64>();
        Ok(NAMES.map(sum))
    }
}

#[tokio::test]
async fn what_happens_is_counted_once_and_kept() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let mut web = database.web(&stack).await?;
        assert_eq!(web.happened("1h").await?, [0; 5]);
        let waits = web.accepted(0.into()).await?;
        let cancelled = web.accepted(1.into()).await?;
        assert_eq!(web.delete(&cancelled).await?.0, 200);
        assert_eq!(web.delete(&waits).await?.0, 200);
        let processor = stack.start_faulty(1, "100ms").await?;
        for (data, end) in [
            (json!({"permanent": "no"}), "failed"),
            (json!({"fail": 2}), "completed"),
            (json!({"fail": 0}), "completed"),
        ] {
            let id = web.accepted(data).await?;
            assert_eq!(web.ended(&id).await?["status"], end);
        }
        drop(processor);
        web.accepted(2.into()).await?;
        let expected = [6, 2, 1, 2, 2];
        settles("the counts", async || Ok(web.happened("1h").await? == expected)).await?;
        web.program.kill();
        web = database.web(&stack).await?;
        for range in ["1h", "24h", "7d"] {
            assert_eq!(web.happened(range).await?, expected, "{range}");
        }
        let stats = web.stats("").await?;
        let totals = json!({"queued": 1, "completed": 2, "failed": 1, "cancelled": 2});
        assert_eq!(stats["requests"], totals);
        assert_eq!(stats["types"][0]["type"], "default");
        let of_another_type = web.stats("type=video").await?;
        assert_eq!(of_another_type["series"][0]["accepted"], 0);
        assert_eq!(web.get("/api/v1/stats?range=1y").await?.status(), 400);
    }
    Ok(())
}
