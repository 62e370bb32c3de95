//! `cargo xtask demo` on a broker of the user's own.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Program, process::WAIT_TIMEOUT, shared_node};

/// How long a demo may take.
const DEMO_TIMEOUT: Duration = Duration::from_secs(240);

#[tokio::test]
async fn the_demo_runs_on_the_queues_that_the_settings_of_their_broker_describe() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let settings = |program: &str| {
        let program = Program::new(program).env("AMQP_URL", &vhost.url);
        program.env("QUEUE_TYPE", "classic").env("ACK_TIMEOUT", "1h")
    };
    settings("setup").start()?.succeed_within(WAIT_TIMEOUT).await?;
    let demo = settings("xtask").arg("demo").arg("--once").start()?;
    let lines = demo.succeed_within(DEMO_TIMEOUT).await?.join("\n");
    ensure!(lines.contains("using AMQP_URL") && lines.contains("6 results"), "{lines}");
    Ok(())
}
