//! Imports between the folders of a crate run one way: each folder imports only from those that are stated here.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::{
    imports::{Imports, imports},
    sources::crates,
};

/// A folder of a crate, and the other folders and files of the crate that its files may import.
type Arrows<'a> = &'a [(&'a str, &'a [&'a str])];

const CRATES: &[(&str, Arrows)] = &[
    (
        "cli/src",
        &[
            ("api", &["output"]),
            ("arguments", &[]),
            ("commands", &["api", "arguments", "exit", "output", "settings", "text"]),
        ],
    ),
    (
        "pipeline/src",
        &[
            (
                "broker",
                &[
                    "backoff",
                    "contract",
                    "health",
                    "log_messages",
                    "metrics",
                    "threads",
                    "topology",
                ],
            ),
            ("config", &["broker", "stderr", "topology"]),
            ("contract", &["topology"]),
            ("topology", &[]),
        ],
    ),
    (
        "processor-service/src",
        &[
            ("decisions", &["processor"]),
            ("processor", &[]),
            ("processors", &["processor"]),
            ("program", &["app", "config", "processor", "processors"]),
            ("worker", &["decisions", "metrics", "processor"]),
        ],
    ),
    (
        "store/src",
        &[
            ("conformance", &["crate", "model", "postgres", "sql", "sqlite"]),
            ("model", &[]),
            ("operations", &["command", "crate", "error", "model"]),
            (
                "postgres",
                &["backend", "command", "error", "health", "migrations", "model", "options", "sql"],
            ),
            ("sql", &["model"]),
            (
                "sqlite",
                &["backend", "command", "error", "health", "migrations", "model", "options", "sql"],
            ),
        ],
    ),
    (
        "testbed/src",
        &[
            ("debian", &["process", "workspace"]),
            ("foreign", &["process"]),
            ("postgres", &["debian", "ports", "process", "workspace"]),
            ("process", &[]),
            ("proxy", &["ports"]),
            ("rabbitmq", &["debian", "ports", "process", "tls", "workspace"]),
        ],
    ),
    (
        "testbed/tests/it",
        &[
            ("api", &["support"]),
            ("cli", &["support"]),
            ("configuration", &["support"]),
            ("developing", &["support"]),
            ("examples", &["support"]),
            ("failures", &["support"]),
            ("house", &["support"]),
            ("observing", &["support"]),
            ("outages", &["support"]),
            ("page", &["support"]),
            ("processing", &["support"]),
            ("support", &[]),
            ("testbed_itself", &[]),
        ],
    ),
    (
        "web-service/src",
        &[
            (
                "api",
                &[
                    "allowed_hosts",
                    "dispatch",
                    "doctor",
                    "events",
                    "metrics",
                    "verify",
                    "views",
                    "webhooks",
                    "why",
                ],
            ),
            ("bulk_driver", &["api", "dispatch"]),
            ("consumers", &["events", "metrics"]),
            ("dashboard", &["api", "dispatch", "views", "why"]),
            ("dispatch", &["events", "metrics"]),
            ("events", &["metrics"]),
            ("doctor", &["events", "webhooks"]),
            ("verify", &["events"]),
            ("views", &["events::jobs"]),
            ("webhooks", &["metrics", "views"]),
            ("why", &["events", "samples"]),
        ],
    ),
    (
        "xtask/src",
        &[
            ("bench", &["cargo", "console", "interrupt", "system"]),
            ("demo", &["console", "interrupt", "system"]),
            ("dev", &["console", "interrupt", "system"]),
            ("example", &["console", "system"]),
            ("soak", &["cargo", "console", "interrupt"]),
            ("system", &["console"]),
        ],
    ),
];

#[test]
fn folders_import_only_from_those_below_them() -> Result<()> {
    let crates = crates()?;
    let mut found = Vec::new();
    for (name, arrows) in CRATES {
        let files = crates.get(*name).with_context(|| format!("there is no {name}"))?;
        found.extend(
            against(arrows, &imports(files)?).into_iter().map(|it| format!("{name}: {it}")),
        );
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// What is against these arrows: imports, and folders for which none are stated.
fn against(arrows: Arrows, imports: &Imports) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (file, imported) in imports {
        let Some((folder, _)) = file.split_once("::") else { continue };
        let Some((_, allowed)) = arrows.iter().find(|(name, _)| *name == folder) else {
            found.insert(format!("{folder} is a new folder: state what it may import"));
            continue;
        };
        for other in imported {
            if !allowed.iter().chain([&folder]).any(|part| is_in(other, part)) {
                found.insert(format!("{file} imports {other}"));
            }
        }
    }
    found.into_iter().collect()
}

/// Whether a file is a part of the crate, or in it.
fn is_in(file: &str, part: &str) -> bool {
    file.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn an_import_against_the_arrows_is_found() {
    let arrows: Arrows = &[("api", &["views", "events::jobs"]), ("events", &[]), ("views", &[])];
    let files = [
        ("main.rs", "use api::routes;"),
        ("api/routes.rs", "use crate::{events::jobs::Job, views::View, api::state};"),
        ("api/state.rs", "use crate::events::waiters::W; use crate::Config;"),
        ("events/jobs.rs", "use crate::views_of::V;"),
        ("events/waiters.rs", ""),
        ("new/folder.rs", ""),
        ("views.rs", ""),
        ("views/request.rs", "use super::super::api::routes::R;"),
        ("views_of.rs", "use crate::api::state;"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let imports = imports(&files.into()).expect("these are tokens of Rust");
    let expected = [
        "api::state imports crate",
        "api::state imports events::waiters",
        "events::jobs imports views_of",
        "new is a new folder: state what it may import",
        "views::request imports api::routes",
    ];
    assert_eq!(against(arrows, &imports), expected);
}
