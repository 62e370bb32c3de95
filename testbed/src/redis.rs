//! A private Redis that syncs every write to disk, found on the machine or unpacked beside the project.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    debian::{self, Bundle, Dependencies},
    ports,
    process::{Process, Start, minimal_env},
    workspace,
};

const BUNDLE: Bundle = Bundle {
    name: "Redis",
    package: "redis-server",
    others: "redis-tools libatomic1 libjemalloc2 liblzf1",
    dependencies: Dependencies::Named,
    programs: Some("usr/bin"),
    size: "about 5 MB",
};

const HOW_TO_GET: &str = "Redis is not on this machine, and it could not be unpacked beside the project. Install it \
    (Debian, Ubuntu: `sudo apt-get install redis-server`; macOS: `brew install redis`) and type the same command again";

/// A Redis that can be run from where it is.
#[derive(Debug, Clone)]
pub struct Install {
    server: PathBuf,
}

impl Install {
    /// Finds Redis on this machine, or unpacks it into `.slowlane/`. `say` gets each step as a line for people.
    ///
    /// # Errors
    /// If there is none, and none can be unpacked.
    pub async fn find_or_unpack(say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        if let Some(server) = workspace::on_path("redis-server") {
            return Ok(Self { server });
        }
        let unpacked = async {
            let suite = if debian::release()? == "trixie" { "trixie" } else { "bookworm" };
            BUNDLE.unpacked(suite, |_| Ok(()), say).await
        };
        Ok(Self { server: unpacked.await.context(HOW_TO_GET)?.join("usr/bin/redis-server") })
    }
}

/// A running private server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: u16,
    _dir: TempDir,
}

impl Server {
    /// Starts an empty server on a free port of 127.0.0.1 and waits until it takes connections. It answers a write when the
    /// write is on the disk.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn start(install: &Install) -> Result<Self> {
        let port = ports::free()?;
        let dir = workspace::temp_dir("redis-")?;
        let number = port.to_string();
        let args = ["--bind", "127.0.0.1", "--port", &number, "--save", ""];
        let mut start = Start::new(&install.server, dir.path()).envs(minimal_env());
        start = start.args(args).args(["--appendonly", "yes", "--appendfsync", "always"]);
        start.remove_if_orphaned = Some(dir.path().to_owned());
        let process = start.spawn()?;
        process.wait_for_text("Ready to accept connections").await?;
        Ok(Self { process, port, _dir: dir })
    }

    /// The URL to connect with.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
