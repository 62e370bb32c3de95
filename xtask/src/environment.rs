//! What children get to see of the environment.

use std::ffi::OsString;

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

/// The broker that the developer has set up: the first of these variables that is not empty, in the environment or
/// else in the workspace's `.env`. Gives the variable's name and value.
pub(crate) fn broker() -> Option<(&'static str, String)> {
    let file: Vec<(String, String)> = dotenvy::from_path_iter(workspace::root().join(".env"))
        .map(|lines| lines.flatten().collect())
        .unwrap_or_default();
    ["AMQP_URL", "CLOUDAMQP_URL"].into_iter().find_map(|name| {
        let in_file = || file.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let value = std::env::var(name).ok().filter(|value| !value.is_empty()).or_else(in_file)?;
        (!value.is_empty()).then_some((name, value))
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
    fn no_password_is_shown() {
        let shown = without_secrets("amqps://me:p@ss@a.example/vh, amqp://b.example:5672");
        assert_eq!(shown, "a.example/vh, b.example:5672");
    }
}
