//! The environment of child processes: cleared but for what cargo and compilers need.

use std::ffi::OsString;

/// Variables that cargo, compilers and tests may need. All others are removed: above all the addresses of real brokers
/// and databases.
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

/// Variables in which `cargo run` describes this program: they would confuse the builds that it starts.
const ABOUT_XTASK: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The environment for cargo and the tests it runs.
pub(crate) fn for_cargo() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(is_kept)).collect()
}

fn is_kept(key: &str) -> bool {
    let for_rust = key.starts_with("CARGO") || key.starts_with("RUSTUP");
    KEPT.contains(&key) || for_rust && !ABOUT_XTASK.iter().any(|start| key.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_real_services_are_removed() {
        for removed in
            ["AMQP_URL", "CLOUDAMQP_URL", "DATABASE_URL", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"]
        {
            assert!(!is_kept(removed), "{removed}");
        }
        assert!(is_kept("CARGO_TARGET_DIR") && is_kept("RUSTUP_HOME") && is_kept("PATH"));
    }
}
