//! Finds PostgreSQL on the machine, or unpacks it beside the project.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{
    debian::{self, Bundle, Dependencies},
    workspace,
};

const BUNDLE: Bundle = Bundle {
    name: "PostgreSQL",
    package: "libpq5",
    others: "postgresql-15 postgresql-client-15 postgresql-17 postgresql-client-17 libaudit1 \
        libcap-ng0 libcom-err2 libffi8 libgmp10 libgnutls30 libgnutls30t64 libgssapi-krb5-2 \
        libhogweed6 libhogweed6t64 libicu72 libicu76 libidn2-0 libk5crypto3 libkeyutils1 libkrb5-3 \
        libkrb5support0 libldap-2.5-0 libldap2 libnettle8 libnettle8t64 libnuma1 libp11-kit0 \
        libpam0g libreadline8 libreadline8t64 libsasl2-2 libtasn1-6 libunistring2 libunistring5 \
        libxml2 liburing2",
    dependencies: Dependencies::Named,
    programs: Some("usr/lib/postgresql"),
    size: "about 50 MB",
};

const HOW_TO_GET: &str = "PostgreSQL is not on this machine, and it could not be unpacked beside \
    the project. Install it (Debian, Ubuntu: `sudo apt-get install postgresql`; macOS: \
    `brew install postgresql`) and type the same command again";

/// A PostgreSQL that can be run from where it is.
#[derive(Debug, Clone)]
pub struct Install {
    /// The folder of `postgres` and `initdb`.
    pub(super) bin: PathBuf,
    /// The folder of `psql`, which some distributions keep apart.
    pub(super) psql: PathBuf,
}

impl Install {
    /// Finds PostgreSQL on this machine, or unpacks it into `.slowlane/`. `say` is told what is
    /// going on.
    pub async fn find_or_unpack(say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        if let Some(found) = usual_places().into_iter().find_map(Self::at) {
            say(&format!("found PostgreSQL in {}", found.bin.display()));
            return Ok(found);
        }
        Self::unpack(say).await.context(HOW_TO_GET)
    }

    /// Unpacks PostgreSQL into `.slowlane/`, whatever the machine has.
    pub async fn unpack(say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        let suite = if debian::release()? == "trixie" { "trixie" } else { "bookworm" };
        let root = BUNDLE.unpacked(suite, |_| Ok(()), say).await?;
        let found = versions(&root.join("usr/lib/postgresql")).into_iter().find_map(Self::at);
        found.context("the packages have no PostgreSQL server")
    }

    fn at(bin: PathBuf) -> Option<Self> {
        let has = |dir: &Path, program: &str| dir.join(program).is_file();
        if !has(&bin, "postgres") || !has(&bin, "initdb") {
            return None;
        }
        let beside = has(&bin, "psql").then(|| bin.clone());
        let psql = beside.or_else(|| Some(workspace::on_path("psql")?.parent()?.to_owned()))?;
        Some(Self { bin, psql })
    }
}

/// The folders that may have a server's programs. Debian keeps them off the `PATH`.
fn usual_places() -> Vec<PathBuf> {
    let mut places = versions(Path::new("/usr/lib/postgresql"));
    let on_path = workspace::on_path("postgres").and_then(|file| file.canonicalize().ok());
    places.extend(on_path.and_then(|file| Some(file.parent()?.to_owned())));
    let others = ["/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql/bin", "/usr/bin"];
    places.extend(others.map(PathBuf::from));
    places
}

/// The folders `15/bin`, `17/bin` and so on in `dir`, the newest version first.
fn versions(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}
