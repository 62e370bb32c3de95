//! Finds RabbitMQ on the machine, or unpacks it beside the project.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{
    unpack::{self, Unpacked},
    version::Version,
};
use crate::workspace;

/// A RabbitMQ that can be run from where it is.
#[derive(Debug, Clone)]
pub struct Install {
    /// The folder of `rabbitmq-server` and `rabbitmqctl`.
    pub(super) bin: PathBuf,
    /// The folder of `erl` and `epmd`.
    pub(super) erlang: PathBuf,
    version: String,
}

impl Install {
    /// Finds the wanted release on this machine, or unpacks it into `.slowlane/`. `say` gets each step as a line for people.
    pub async fn find_or_unpack(wanted: Version, say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        for bin in usual_places() {
            if let Some(found) = Self::own(&bin).filter(|found| wanted.accepts(&found.version)) {
                say(&format!("found RabbitMQ {} in {}", found.version, bin.display()));
                return Ok(found);
            }
        }
        Self::unpack(wanted, say).await
    }

    /// Unpacks the wanted release into `.slowlane/`, unless that was done before, and looks for none on this machine.
    pub async fn unpack(wanted: Version, say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        let unpacked = unpack::unpack(wanted, say).await;
        unpacked
            .and_then(|Unpacked { bin, erlang }| Self::at(bin, erlang))
            .with_context(|| how_to_get(wanted))
    }

    /// The version, as `3.10.8`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The RabbitMQ whose programs are in `bin` and whose Erlang is in `erlang`.
    fn at(bin: PathBuf, erlang: PathBuf) -> Result<Self> {
        let version =
            version(&bin).with_context(|| format!("no RabbitMQ around {}", bin.display()))?;
        Ok(Self { bin, erlang, version })
    }

    fn own(bin: &Path) -> Option<Self> {
        if !bin.join("rabbitmq-server").is_file() {
            return None;
        }
        let erl = workspace::on_path("erl").or_else(|| beside(bin, "erl"))?;
        Self::at(bin.to_owned(), erl.parent()?.to_owned()).ok()
    }
}

/// The folders with RabbitMQ's own scripts. Debian's `/usr/sbin/rabbitmqctl` is not among them on purpose: it is a
/// wrapper that becomes the user `rabbitmq` and forgets where the private node is.
fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = [
        "/usr/lib/rabbitmq/bin",
        "/opt/homebrew/opt/rabbitmq/sbin",
        "/usr/local/opt/rabbitmq/sbin",
        "/opt/rabbitmq/sbin",
    ]
    .map(PathBuf::from)
    .to_vec();
    let on_path =
        workspace::on_path("rabbitmq-server").and_then(|file| Some(file.parent()?.to_owned()));
    places.extend(on_path.filter(|dir| !dir.starts_with("/usr/sbin") && !dir.starts_with("/sbin")));
    places
}

/// The version, read from the name of RabbitMQ's central plugin. Asking `rabbitmqctl version` would take half a
/// second and leave a port mapper behind.
fn version(bin: &Path) -> Option<String> {
    let home = bin.canonicalize().ok()?.parent()?.to_owned();
    let nested =
        names(&home.join("lib")).into_iter().filter(|name| name.starts_with("rabbitmq_server-"));
    let mut homes: Vec<_> = nested.map(|name| home.join("lib").join(name)).collect();
    homes.push(home.clone());
    homes.iter().flat_map(|home| names(&home.join("plugins"))).find_map(|name| {
        let version = name.strip_prefix("rabbit-")?.trim_end_matches(".ez");
        version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
    })
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn beside(bin: &Path, program: &str) -> Option<PathBuf> {
    let places =
        [bin.to_owned(), "/usr/bin".into(), "/opt/homebrew/bin".into(), "/usr/local/bin".into()];
    places.into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn how_to_get(wanted: Version) -> String {
    let what = match wanted {
        Version::Any => "RabbitMQ 3.10 or later is",
        Version::V3_10 => "RabbitMQ 3.10 is",
        Version::V4_0 => "RabbitMQ 4.0 is",
    };
    format!(
        "{what} not on this machine, and it could not be unpacked beside the project. Install it (Debian, Ubuntu: \
         `sudo apt-get install rabbitmq-server`; macOS: `brew install rabbitmq`) and type the same command again"
    )
}
