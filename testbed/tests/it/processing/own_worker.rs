//! The worker of one's own that the documentation shows: built outside the workspace, offline, and run against a broker.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    Program,
    process::{self, Start, WAIT_TIMEOUT},
    workspace,
};

use crate::support::stack::{Stack, Web, consuming};

/// How long the build may take: most of it was built with the workspace.
const BUILD_TIMEOUT: Duration = Duration::from_secs(600);
/// What cargo needs of this process's environment, where it is set.
const CARGO_VARIABLES: [&str; 5] =
    ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"];
/// The checkout, as the documentation has it.
const CHECKOUT: &str = "path = \"../slowlane/";

/// The first block of this kind in the part of the documentation that is about Rust.
fn documented(kind: &str) -> Result<String> {
    let text = fs::read_to_string(workspace::root().join("docs/processors.md"))?;
    let (_, rust) = text.split_once("\n## Rust\n").context("a part about Rust")?;
    let (_, block) = rust.split_once(&format!("\n```{kind}\n")).context("a block")?;
    Ok(block.split_once("```").context("the end of the block")?.0.to_owned())
}

/// The documented worker as a user would have it: in a folder of its own, with this checkout as a dependency.
fn written() -> Result<TempDir> {
    let (root, folder) = (workspace::root(), TempDir::with_prefix("slowlane-own-worker-")?);
    let manifest = documented("toml")?;
    ensure!(manifest.contains(CHECKOUT), "the documented worker depends on a checkout: {manifest}");
    let checkout = format!("path = \"{}/", root.display());
    fs::write(folder.path().join("Cargo.toml"), manifest.replace(CHECKOUT, &checkout))?;
    fs::create_dir(folder.path().join("src"))?;
    fs::write(folder.path().join("src/main.rs"), documented("rust,no_run")?)?;
    // The versions that are already downloaded.
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    Ok(folder)
}

/// Builds the program into the workspace's own target folder and with its settings, so that crates are shared.
async fn built(folder: &Path) -> Result<()> {
    let web = workspace::binary("web-service")?;
    let profile_dir = web.parent().context("the programs are in a folder")?;
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = profile_dir.parent().context("the folder is in the target folder")?;
    let line_tables = format!("profile.{profile}.debug=\"line-tables-only\"");
    let no_tables = format!("profile.{profile}.package.\"*\".debug=false");
    let set = |name| Some((name, std::env::var(name).ok()?));
    let build = Start::new(env!("CARGO"), folder)
        .args(["build", "--offline", "--profile", profile, "--config", &line_tables])
        .args(["--config", &no_tables])
        .envs(process::minimal_env())
        .envs(CARGO_VARIABLES.into_iter().filter_map(set))
        .envs([("CARGO_TARGET_DIR", target)]);
    process::run(build, BUILD_TIMEOUT).await?;
    Ok(())
}

async fn end_of(web: &Web, data: Value) -> Result<Value> {
    let id = web.accepted(data).await?;
    web.ended(&id).await
}

#[test]
fn the_example_is_the_worker_that_the_documentation_shows() -> Result<()> {
    let example = workspace::root().join("examples/own-worker");
    assert_eq!(fs::read_to_string(example.join("src/main.rs"))?, documented("rust,no_run")?);
    let manifest = fs::read_to_string(example.join("Cargo.toml"))?;
    let dependencies = |manifest: &str| {
        let (_, after) = manifest.split_once("[dependencies]\n")?;
        Some(after.split("\n\n").next().unwrap_or_default().trim().to_owned())
    };
    let own = dependencies(&manifest).map(|own| own.replace("path = \"../../", CHECKOUT));
    assert_eq!(own, dependencies(&documented("toml")?));
    Ok(())
}

#[tokio::test]
async fn a_worker_outside_the_workspace_is_built_and_sends_its_results() -> Result<()> {
    let (stack, folder) = (Stack::fresh().await?, written()?);
    let (web, ()) = tokio::try_join!(stack.web(), built(folder.path()))?;
    let settings = format!("AMQP_URL={}\nLOG_FORMAT=json\nRETRY_DELAYS=1s\n", stack.url);
    fs::write(folder.path().join(".env"), settings)?;
    let worker = Program::new("own-worker").current_dir(folder.path()).start()?;
    consuming(&worker, 1).await?;

    let ended = end_of(&web, json!({"lines": ["12.50", "7"]})).await?;
    assert_eq!(ended["processingResults"], json!({"total": 19.5}), "{ended}");
    for (data, code, message) in [
        (json!({"lines": 3}), "permanent", "lines: invalid type: integer `3`, expected a sequence"),
        (json!({"lines": ["1", 2]}), "permanent", "lines[1]: invalid type: integer `2`"),
        (json!({"lines": ["much"]}), "permanent", "line \\\"much\\\": invalid float literal"),
        (json!({"lines": []}), "empty", "the invoice has no lines"),
    ] {
        let error = &end_of(&web, data).await?["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].to_string().contains(message), "{error}");
    }

    worker.terminate();
    let status = worker.wait_within(WAIT_TIMEOUT).await?;
    ensure!(status.success(), "{}", worker.error("did not stop cleanly"));
    has_the_settings_of_the_program().await
}

/// Its flags, errors and exit codes are those of the program; only `PROCESSOR` is not there.
async fn has_the_settings_of_the_program() -> Result<()> {
    let (status, help) = Program::new("own-worker").arg("--help").start()?.ended().await?;
    ensure!(status.success() && help.contains("own-worker [OPTIONS]"), "{status}: {help}");
    let choice = ["--processor <", "--processor-command", "--processing-delay"];
    let has_choice = choice.iter().any(|flag| help.contains(flag));
    ensure!(help.contains("--job-timeout") && !has_choice, "{help}");
    let wrong = Program::new("own-worker").arg("--workers").arg("many").env("JOB_TIMEOUT", "soon");
    let (status, text) = wrong.start()?.ended().await?;
    ensure!(status.code() == Some(2), "{status}: {text}");
    ensure!(text.contains("WORKERS=many") && text.contains("JOB_TIMEOUT=soon"), "{text}");
    Ok(())
}
