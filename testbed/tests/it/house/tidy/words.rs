//! Who may name what: libraries and crates that only some places use.

use std::fs;

use anyhow::{Result, ensure};
use testbed::workspace;

use super::sources::{code, sources};

/// A word, the places that may name it, and why nobody else does.
const RULES: &[(&str, &[&str], &str)] = &[
    (
        "lapin",
        &["testbed/src/foreign", "examples/workers"],
        "the foreign client is for tests and for workers that are not ours",
    ),
    (
        "actix_web",
        &[
            "web-service/src/api",
            "web-service/src/app.rs",
            "web-service/src/dashboard",
            "web-service/src/http_server.rs",
            "processor-service/src/health_listener.rs",
            "examples",
        ],
        "HTTP stays at the edge",
    ),
    (
        "reqwest::Client::",
        &[
            "cli/src/api",
            "processor-service/src/processors/http",
            "setup/src/management.rs",
            "testbed/src/http.rs",
            "web-service/src/webhooks",
            "examples",
        ],
        "a client without a TLS provider panics, so few make one",
    ),
    (
        "reqwest::",
        &[
            "cli/src/api",
            "processor-service/src/processors/http",
            "setup/src/management.rs",
            "web-service/src/webhooks",
            "testbed",
            "xtask",
            "examples",
        ],
        "programs talk over AMQP; only callbacks, PROCESSOR=http and `setup --check` go elsewhere, and the command line is a client of the API",
    ),
    ("indicatif", &["cli"], "services have no terminal"),
    ("sqlx::", &["store/src"], "one place knows SQL"),
    ("rusqlite::", &["store/src", "testbed/tests", "examples"], "one place knows SQL"),
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
        &["processor-service", "examples/own-worker"],
        "the services know each other only by messages",
    ),
    ("web_service::", &["web-service"], "the services know each other only by messages"),
];

#[test]
fn every_library_is_named_only_where_it_belongs() -> Result<()> {
    let root = workspace::root();
    let mut broken = Vec::new();
    for file in sources(&root)? {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        for (word, places, why) in RULES {
            let allowed = places.iter().any(|place| name.starts_with(place))
                || name.ends_with("tidy/words.rs");
            if !allowed && code(&text).any(|line| line.contains(word)) {
                broken.push(format!("{name} names {word}: {why}"));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}
