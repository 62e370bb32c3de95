//! One PostgreSQL server for all tests of a run, with a database for each test.
//!
//! `xtask` may start the server before the tests and name it in [`SERVER_VARIABLE`]. A test that
//! runs without it, as under a plain `cargo test`, starts the server when the first test of its
//! process asks for it.

use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use super::{access::Access, install::Install, server::Server};

/// Names the file that describes, as the JSON of an [`Access`], a server which runs already.
pub const SERVER_VARIABLE: &str = "SLOWLANE_TEST_POSTGRES";

/// The name of a new, empty database on the shared server, with the access to it. Panics when there
/// can be no server: no test could go on without one.
pub async fn database() -> (Access, String) {
    new_database().await.expect("a test needs the shared PostgreSQL server")
}

async fn new_database() -> Result<(Access, String)> {
    static SHARED: OnceLock<Result<(Access, Option<Server>), String>> = OnceLock::new();
    // The first test starts the server for all. Every test has a runtime of its own, so the others
    // wait in threads.
    let first = || first_use().map_err(|error| format!("{error:#}"));
    let shared = tokio::task::spawn_blocking(move || SHARED.get_or_init(first)).await?;
    let (access, _) = shared.as_ref().map_err(|error| anyhow!("{error}"))?;
    let name = access.create_database().await?;
    Ok((access.clone(), name))
}

fn first_use() -> Result<(Access, Option<Server>)> {
    if let Some(file) = std::env::var_os(SERVER_VARIABLE) {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        return Ok((serde_json::from_str(&text)?, None));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = runtime.block_on(async {
        let install = Install::find_or_unpack(&|line| eprintln!("testbed: {line}")).await?;
        Server::start(&install).await
    })?;
    // A static is never dropped: the server ends by its leash when this process does.
    Ok((server.access().clone(), Some(server)))
}
