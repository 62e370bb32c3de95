//! The arrows of the house: who may name what. See ARCHITECTURE.md.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    process::{self, Start, WAIT_TIMEOUT},
    workspace,
};

/// A word, the places that may name it, and why nobody else does.
const RULES: &[(&str, &[&str], &str)] = &[
    (
        "amqprs",
        &["pipeline/src/broker", "pipeline/examples/bare"],
        "the AMQP client has flaws that only the broker layer works round",
    ),
    ("lapin", &["testbed/src/foreign"], "the foreign client is for tests"),
    ("actix_web", &["web-service/src/api", "web-service/src/app.rs"], "HTTP stays at the edge"),
    (
        "reqwest::Client::",
        &["cli/src/api", "testbed/src/http.rs", "web-service/src/webhooks"],
        "a client without a TLS provider panics, so few make one",
    ),
    (
        "reqwest::",
        &["cli/src/api", "web-service/src/webhooks", "testbed", "xtask"],
        "programs talk over AMQP; only callbacks go elsewhere, and the command line is a client of the API",
    ),
    ("indicatif", &["cli"], "services have no terminal"),
    ("sqlx::", &["store/src"], "one place knows SQL"),
    ("rusqlite::", &["store/src", "testbed/tests"], "one place knows SQL"),
    (
        "std::env::var",
        &["pipeline/src/config", "testbed", "xtask", "store/src/conformance"],
        "one place reads the environment",
    ),
    (
        "testbed::",
        &["testbed", "xtask", "processor-service/tests", "pipeline/tests", "store/src/conformance"],
        "production code never runs on the testbed",
    ),
    (
        "processor_service::",
        &["processor-service"],
        "the services know each other only by messages",
    ),
    ("web_service::", &["web-service"], "the services know each other only by messages"),
];

#[test]
fn every_file_keeps_to_the_arrows_of_the_house() {
    let root = workspace::root();
    let mut broken = Vec::new();
    for file in sources(&root) {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        for (word, places, why) in RULES {
            let allowed =
                places.iter().any(|place| name.starts_with(place)) || name.ends_with("tidy.rs");
            let named = code(&text).any(|line| line.contains(word));
            if named && !allowed {
                broken.push(format!("{name} names {word}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

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

/// All crates of this project, as cargo sees them.
async fn parts() -> Result<Vec<Value>> {
    let metadata = Start::new(env!("CARGO"), workspace::root())
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .envs(process::minimal_env());
    let lines = process::run(metadata, WAIT_TIMEOUT).await?;
    // Warnings may stand before it.
    let json = lines.iter().find(|line| line.starts_with('{')).context("metadata")?;
    let metadata: Value = serde_json::from_str(json)?;
    metadata["packages"].as_array().cloned().context("packages")
}

#[test]
fn every_file_says_what_it_is_and_no_test_is_ignored() {
    for file in sources(&workspace::root()) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with what it is", file.display());
        let ignored = code(&text).any(|line| line.trim_start().starts_with("#[ignore"));
        assert!(!ignored, "{} ignores a test", file.display());
    }
}

/// The lines that are no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the workspace can be read");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "vendor"].contains(&name.as_str()) && !name.starts_with('.')
        {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}
