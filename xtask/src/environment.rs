//! The environment of child processes: cleared but for what cargo and compilers need.

use std::ffi::OsString;

use testbed::process::is_proxy;

/// Variables that cargo, compilers and tests may need. All others are removed: above all the addresses of real brokers
/// and databases.
const KEPT: [&str; 16] = [
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
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// What the variables of tools begin with that tests install packages by: where from, and how to reach that.
const OF_INSTALLERS: [&str; 3] = ["PIP_", "npm_config_", "NPM_CONFIG_"];

/// Variables in which `cargo run` describes this program: they would confuse the builds that it starts.
const ABOUT_XTASK: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The environment for cargo and the tests it runs.
pub(crate) fn for_cargo() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(is_kept)).collect()
}

fn is_kept(key: &str) -> bool {
    let for_rust = key.starts_with("CARGO") || key.starts_with("RUSTUP");
    let for_installers = is_proxy(key) || OF_INSTALLERS.iter().any(|start| key.starts_with(start));
    KEPT.contains(&key)
        || for_installers
        || for_rust && !ABOUT_XTASK.iter().any(|start| key.starts_with(start))
}

/// What [`for_programs`] leaves out: the programs get a broker and a store of ours.
const REPLACED: [&str; 3] = ["AMQP_URL", "CLOUDAMQP_URL", "DATABASE_URL"];

/// The environment for programs that do the user's own work: nearly the whole one of this process.
pub(crate) fn for_programs() -> Vec<(String, OsString)> {
    let all = std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value)));
    all.filter(|(key, _)| is_for_programs(key)).collect()
}

fn is_for_programs(key: &str) -> bool {
    !REPLACED.contains(&key) && !ABOUT_XTASK.iter().any(|start| key.starts_with(start))
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
        for removed in ["AMQP_URL", "CLOUDAMQP_URL", "DATABASE_URL", "CARGO_MANIFEST_DIR"] {
            assert!(!is_for_programs(removed), "{removed}");
        }
        assert!(is_for_programs("JOB_TIMEOUT") && is_for_programs("MY_OWN_KEY"));
        assert!(is_kept("CARGO_TARGET_DIR") && is_kept("RUSTUP_HOME") && is_kept("PATH"));
        assert!(is_kept("http_proxy") && is_kept("NO_PROXY") && is_kept("PIP_INDEX_URL"));
    }
}
