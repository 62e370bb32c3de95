//! `setup` while the broker is lost.

use anyhow::{Result, ensure};
use testbed::{Proxy, process::WAIT_TIMEOUT, shared_node};

use crate::support::stack::Stack;

/// More than the login takes, in the middle of the declaration of a queue. A cut between two of them is mended without a word.
const IN_THE_MIDDLE: u64 = 900;

#[tokio::test]
async fn a_setup_that_loses_the_broker_begins_again() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    proxy.cut_after(IN_THE_MIDDLE);
    let setup = Stack { url: proxy.url(&vhost.url) }.setup().start()?;
    let lines = setup.succeed_within(WAIT_TIMEOUT).await?;
    ensure!(lines.iter().any(|line| line.contains("trying again in 1s")), "{lines:?}");
    ensure!(lines.iter().any(|line| line.contains("processing.failed")), "{lines:?}");
    let check = Stack { url: vhost.url.clone() }.setup().arg("--check").start()?;
    check.succeed_within(WAIT_TIMEOUT).await?;
    Ok(())
}
