//! PgBouncer between programs and a PostgreSQL server.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{
    access::{Access, USER},
    unprivileged,
};
use crate::{
    debian::{self, Bundle, Dependencies},
    ports,
    process::Process,
    workspace,
};

const BUNDLE: Bundle = Bundle {
    name: "PgBouncer",
    package: "pgbouncer",
    others: "libaudit1 libc-ares2 libcap-ng0 libcares2 libevent-2.1-7 libevent-2.1-7t64 libpam0g",
    dependencies: Dependencies::Named,
    programs: Some("usr/sbin"),
    size: "about 10 MB",
};

const HOW_TO_GET: &str = "PgBouncer is not on this machine, and it could not be unpacked beside the project. Install it \
    (Debian, Ubuntu: `sudo apt-get install pgbouncer`; macOS: `brew install pgbouncer`) and type the same command again";

/// How a pooler shares the connections to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Each client has one for as long as it is connected.
    Session,
    /// Each transaction has one.
    Transaction,
}

/// A running PgBouncer with the defaults of its documentation. Dropping it kills it.
#[derive(Debug)]
pub struct Pooler {
    access: Access,
    _process: Process,
    _dir: TempDir,
}

impl Pooler {
    /// Starts a pooler in front of a server, on a free port of 127.0.0.1, and waits until it takes connections. `say` is
    /// told what is going on.
    pub async fn start(
        server: &Access,
        mode: PoolMode,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Self> {
        let program = find_or_unpack(say).await?;
        let dir = unprivileged::folder("pgbouncer-")?;
        let access = Access { port: ports::free()?, ..server.clone() };
        let (config, users) = (dir.path().join("pgbouncer.ini"), dir.path().join("users.txt"));
        fs::write(&users, format!("\"{USER}\" \"{}\"\n", server.password))?;
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n",
            server.port,
            access.port,
            users.display()
        );
        fs::write(&config, text)?;
        for file in [&config, &users] {
            unprivileged::own(file)?;
        }
        let process = unprivileged::start(&program, dir.path())?.args([config]).spawn()?;
        process.wait_for_text("process up").await?;
        Ok(Self { access, _process: process, _dir: dir })
    }

    /// The URL of a database through the pooler.
    pub fn url(&self, database: &str) -> String {
        self.access.url(database)
    }
}

/// The program, found on this machine or unpacked into `.slowlane/`.
async fn find_or_unpack(say: &(dyn Fn(&str) + Sync)) -> Result<PathBuf> {
    let usual = PathBuf::from("/usr/sbin/pgbouncer");
    if let Some(found) = workspace::on_path("pgbouncer").or(Some(usual).filter(|at| at.is_file())) {
        return Ok(found);
    }
    let unpacked = async {
        let suite = if debian::release()? == "trixie" { "trixie" } else { "bookworm" };
        BUNDLE.unpacked(suite, |_| Ok(()), say).await
    };
    Ok(unpacked.await.context(HOW_TO_GET)?.join("usr/sbin/pgbouncer"))
}
