//! The systems that the bench measures beside Slowlane: they accept requests, and their workers answer them.

/// npm installs what they need.
mod slow {
    use std::time::Duration;

    use anyhow::{Context, Result, ensure};
    use serde_json::{Value, json};
    use testbed::{Program, http, npm, process::WAIT_TIMEOUT, redis, shared_node, workspace};
    use tokio::time::{sleep, timeout};

    const POLL_INTERVAL: Duration = Duration::from_millis(20);

    /// Sends a request to the peer in this folder, and waits for its result.
    async fn answers(folder: &str, variable: &str, url: &str) -> Result<()> {
        let project = workspace::root().join("bench/peers");
        let scripts = npm::installed("peers", &project, &|line| println!("{line}")).await?;
        let start = |script: &str| {
            let program = Program::at(npm::tool("node")?).arg(scripts.join(folder).join(script));
            program.env(variable, url).env("HTTP_ADDR", "127.0.0.1:0").start()
        };
        let web = start("web.js")?;
        let line = web.wait_for_message("listening").await?;
        let base = format!("http://{}", line["address"].as_str().context("no address")?);
        let _worker = start("worker.js")?;
        let client = http::builder().build()?;
        let get = async |path: String| {
            let response = client.get(format!("{base}{path}")).send().await?;
            anyhow::Ok(response.json::<Value>().await?)
        };
        let post = client.post(format!("{base}/api/v1/processData")).json(&json!({"data": "x"}));
        let response = post.send().await?;
        ensure!(response.status() == 202, "{response:?}");
        let accepted: Value = response.json().await?;
        let id = accepted["requestId"].as_str().context("no id")?;
        let answered = async {
            while get("/count".to_owned()).await?["count"] != 1 {
                sleep(POLL_INTERVAL).await;
            }
            get(format!("/api/v1/requests/{id}")).await
        };
        let view = timeout(WAIT_TIMEOUT, answered).await.context("there is no result")??;
        ensure!(view == json!({"status": "completed", "result": "x"}), "{view}");
        Ok(())
    }

    #[tokio::test]
    async fn node_with_one_connection_to_rabbitmq_answers() -> Result<()> {
        answers("amqplib", "AMQP_URL", &shared_node::vhost().await.url).await
    }

    #[tokio::test]
    async fn bullmq_with_a_private_redis_that_syncs_every_write_answers() -> Result<()> {
        let install = redis::Install::find_or_unpack(&|line| println!("{line}")).await?;
        let redis = redis::Server::start(&install).await?;
        answers("bullmq", "REDIS_URL", &redis.url()).await
    }
}
