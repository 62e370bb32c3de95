//! Crates depend on those below them, and the workspace contains no code of others.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    process::{self, Start, WAIT_TIMEOUT},
    workspace,
};

use super::sources::sources;

#[tokio::test]
async fn no_part_depends_on_one_above_it() -> Result<()> {
    let parts = parts().await?;
    let own: Vec<_> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    for part in &parts {
        let name = part["name"].as_str().context("a name")?;
        let allowed: &[&str] = match name {
            "xtask" => &own,
            "pipeline" => &[],
            "web-service" => &["pipeline", "store"],
            "catalogue-sync" | "profile-updates" => &["outbox", "pipeline"],
            _ => &["pipeline"],
        };
        for dependency in part["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().context("a name")?;
            let for_tests = dependency["kind"] == "dev";
            let above = own.contains(&other) && !allowed.contains(&other);
            ensure!(!above || for_tests, "{name} depends on {other}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_library_of_one_folder_is_named_only_there() -> Result<()> {
    let root = workspace::root();
    let metadata = metadata().await?;
    let rules = metadata["metadata"]["named-only-in"].as_object().context("no rules")?;
    let mut broken = Vec::new();
    for file in sources(&root)? {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        for (library, folder) in rules {
            let folder = folder.as_str().context("a folder")?;
            if text.contains(library) && !name.starts_with(folder) {
                broken.push(format!("{name} names {library}, which is for {folder}"));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// All crates of this project, as cargo sees them.
async fn parts() -> Result<Vec<Value>> {
    metadata().await?["packages"].as_array().cloned().context("packages")
}

/// The workspace, as cargo sees it.
async fn metadata() -> Result<Value> {
    let metadata = Start::new(env!("CARGO"), workspace::root())
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .envs(process::minimal_env());
    let lines = process::run(metadata, WAIT_TIMEOUT).await?;
    // Warnings may stand before it.
    let json = lines.iter().find(|line| line.starts_with('{')).context("metadata")?;
    Ok(serde_json::from_str(json)?)
}

#[test]
fn every_dependency_is_used_as_published() -> Result<()> {
    let root = workspace::root();
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let patched = manifest.lines().any(|line| line.trim_start().starts_with("[patch"));
    ensure!(!patched, "Cargo.toml replaces a dependency");
    ensure!(!root.join("vendor").exists(), "vendor/ has code of others");
    Ok(())
}
