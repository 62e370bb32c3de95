//! What children get to see of the environment.

use std::{collections::HashMap, ffi::OsString};

use testbed::workspace;

/// Variables that cargo, compilers and tests may need. Everything else is kept from them: above all the addresses of
/// real brokers and databases.
const KEPT: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TERM",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    "RUSTFLAGS",
    "RUST_BACKTRACE",
    "RUST_TEST_THREADS",
    "CC",
    "HTTPS_PROXY",
    "https_proxy",
];

/// What `cargo run` tells of the program it runs says nothing about what that program builds.
const ABOUT_XTASK: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The environment for cargo and the tests it runs.
pub(crate) fn for_cargo() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(is_kept)).collect()
}

fn is_kept(key: &str) -> bool {
    let for_rust = key.starts_with("CARGO") || key.starts_with("RUSTUP");
    KEPT.contains(&key) || for_rust && !ABOUT_XTASK.iter().any(|start| key.starts_with(start))
}

/// The broker that the developer has set up, as the programs would find it: the environment comes before the workspace's
/// `.env`, and `AMQP_URL` before `CLOUDAMQP_URL` in the same place. Gives the variable's name and value.
pub(crate) fn broker() -> Option<(&'static str, String)> {
    let file: HashMap<String, String> = dotenvy::from_path_iter(workspace::root().join(".env"))
        .map(|lines| lines.flatten().collect())
        .unwrap_or_default();
    named(|name| std::env::var(name).ok()).or_else(|| named(|name| file.get(name).cloned()))
}

/// The broker that one place names.
fn named(place: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    ["AMQP_URL", "CLOUDAMQP_URL"].into_iter().find_map(|name| {
        let value = place(name)?;
        (!value.trim().is_empty()).then_some((name, value))
    })
}

/// The addresses in a list of broker URLs, without users and passwords.
pub(crate) fn without_secrets(urls: &str) -> String {
    let shown = urls.split(',').map(|url| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.rsplit_once('@').map_or(rest, |(_, address)| address).trim()
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_real_services_are_kept_from_children() {
        for secret in
            ["AMQP_URL", "CLOUDAMQP_URL", "DATABASE_URL", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"]
        {
            assert!(!is_kept(secret), "{secret}");
        }
        assert!(is_kept("CARGO_TARGET_DIR") && is_kept("RUSTUP_HOME") && is_kept("PATH"));
    }

    #[test]
    fn a_place_names_one_broker_and_an_empty_value_none() {
        let place = |name: &str| Some(if name == "AMQP_URL" { " " } else { "amqp://b" }.to_owned());
        assert_eq!(named(place), Some(("CLOUDAMQP_URL", "amqp://b".to_owned())));
        assert_eq!(named(|name| Some(name.to_owned())).map(|(name, _)| name), Some("AMQP_URL"));
        assert_eq!(named(|_| None), None);
    }

    #[test]
    fn no_password_is_shown() {
        let shown = without_secrets("amqps://me:p@ss@a.example/vh, amqp://b.example:5672");
        assert_eq!(shown, "a.example/vh, b.example:5672");
    }
}
