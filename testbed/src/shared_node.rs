//! One RabbitMQ node for all tests of a run, with a virtual host for each test.
//!
//! `xtask` starts the node before the tests and names it in `SLOWLANE_TEST_NODE`. A test that runs without it, as
//! under a plain `cargo test`, starts the node when the first test of its process asks for it.

use std::{cell::RefCell, ops::Deref, sync::OnceLock};

use anyhow::{Context, Result};

use crate::rabbitmq::{Access, Install, Node, NodeOptions, Version};

/// Names the file that describes a node which runs already.
pub const NODE_VARIABLE: &str = "SLOWLANE_TEST_NODE";
/// Selects the version of RabbitMQ for tests: `any`, `3.10` or `4.0`.
pub const VERSION_VARIABLE: &str = "SLOWLANE_TEST_RABBITMQ";

/// A vhost of its own on the shared node. Addresses and administration are those of the node.
#[derive(Debug, Clone)]
pub struct Vhost {
    /// The URL to connect with.
    pub url: String,
    /// Its name, never used before on this node.
    pub name: String,
    node: Access,
}

impl Deref for Vhost {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.node
    }
}

/// A new, empty vhost on the shared node, there until the thread that asked for it ends: the test's own. Panics when there can be no node: no test could go on without one.
pub async fn vhost() -> Vhost {
    new_vhost().await.expect("a test needs the shared RabbitMQ node")
}

/// What the shared node is reached by.
pub async fn node() -> Result<Access> {
    static SHARED: OnceLock<Result<(Access, Option<Node>), String>> = OnceLock::new();
    // The first test starts the node for all. Every test has a runtime of its own, so the others wait in threads.
    let shared = tokio::task::spawn_blocking(|| {
        SHARED.get_or_init(|| first_use().map_err(|error| format!("{error:#}")))
    });
    let (access, _) = shared.await?.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(access.clone())
}

/// The RabbitMQ that tests are to run on, found or unpacked. For tests that start nodes of their own.
pub async fn install() -> Result<Install> {
    let wanted: Version = std::env::var(VERSION_VARIABLE).unwrap_or_default().parse()?;
    Install::find_or_unpack(wanted, &|line| eprintln!("testbed: {line}")).await
}

/// A node as tests share it: with the management API, which makes a vhost in milliseconds.
pub async fn start(install: &Install) -> Result<Node> {
    Node::start(install, NodeOptions { management: true, ..NodeOptions::default() }).await
}

fn first_use() -> Result<(Access, Option<Node>)> {
    if let Some(file) = std::env::var_os(NODE_VARIABLE) {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        return Ok((serde_json::from_str(&text)?, None));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = runtime.block_on(async { start(&install().await?).await })?;
    // A static is never dropped: the node ends by its leash when this process does.
    Ok((node.access().clone(), Some(node)))
}

async fn new_vhost() -> Result<Vhost> {
    let node = node().await?;
    let name = format!("test-{}", uuid::Uuid::now_v7());
    let management = node.management_url().context("the shared node has no management API")?;
    let path = format!("{management}/api/vhosts/{name}");
    put(&path, &serde_json::json!({})).await?;
    LEFT_BEHIND.with_borrow_mut(|left| left.0.push(path));
    let everything = serde_json::json!({"configure": ".*", "write": ".*", "read": ".*"});
    put(&format!("{management}/api/permissions/{name}/guest"), &everything).await?;
    Ok(Vhost { url: node.url_for(&name), name, node })
}

/// The vhosts of a thread. They go when it ends: hundreds of idle quorum queues are work for a node.
#[derive(Default)]
struct LeftBehind(Vec<String>);

thread_local!(static LEFT_BEHIND: RefCell<LeftBehind> = RefCell::default());

impl Drop for LeftBehind {
    fn drop(&mut self) {
        let paths = std::mem::take(&mut self.0);
        // The runtime of the test has ended, and this thread is ending too.
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                for path in &paths {
                    delete(path).await?;
                }
                anyhow::Ok(())
            })
        });
        // Who runs without the node of a run may have lost it by now, and what is left behind harms no test.
        if let Ok(Err(error)) = deleting.join() {
            eprintln!("testbed: a virtual host stays behind: {error:#}");
        }
    }
}

async fn delete(url: &str) -> Result<()> {
    let answer = crate::http::builder().build()?.delete(url);
    answer.basic_auth("guest", Some("guest")).send().await?.error_for_status()?;
    Ok(())
}

async fn put(url: &str, body: &serde_json::Value) -> Result<()> {
    // A client keeps connections in the runtime that made it, and every test has its own: so there is one per call.
    let client = crate::http::builder().build()?;
    let answer = client.put(url).basic_auth("guest", Some("guest")).json(body).send().await?;
    answer.error_for_status().with_context(|| format!("the management API refused {url}")).map(drop)
}
