//! Unpacks Debian's RabbitMQ and Erlang into `.slowlane/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::version::Version;
use crate::debian::{self, Bundle, Dependencies, files_under};

const ERLANG: &str = "usr/lib/erlang";

const BUNDLE: Bundle = Bundle {
    name: "RabbitMQ",
    package: "rabbitmq-server",
    others: "erlang-base erlang-asn1 erlang-crypto erlang-eldap erlang-ftp erlang-tftp erlang-inets \
        erlang-mnesia erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools \
        erlang-snmp erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl erlang-eunit libsctp1",
    dependencies: Dependencies::Named,
    programs: Some(ERLANG),
    size: "about 45 MB",
};

/// Where an unpacked RabbitMQ lies.
pub(super) struct Unpacked {
    /// The folder of `rabbitmq-server` and `rabbitmqctl`.
    pub(super) bin: PathBuf,
    /// The folder of `erl` and `epmd`.
    pub(super) erlang: PathBuf,
}

/// Unpacks RabbitMQ of the wanted version, unless it was unpacked before.
pub(super) async fn unpack(wanted: Version, say: &(dyn Fn(&str) + Sync)) -> Result<Unpacked> {
    let suite = match (wanted, debian::release()?.as_str()) {
        (Version::V4_0, _) | (Version::Any, "trixie") => "trixie",
        _ => "bookworm",
    };
    let root = BUNDLE.unpacked(suite, replace_erlang_paths, say).await?;
    Ok(Unpacked { bin: root.join("usr/lib/rabbitmq/bin"), erlang: root.join(ERLANG).join("bin") })
}

/// Replaces the installation folder that Debian wrote into Erlang's start scripts.
fn replace_erlang_paths(root: &Path) -> Result<()> {
    let erlang = root.join(ERLANG);
    for file in files_under(&erlang)? {
        if ["erl", "start", "start_erl"].iter().any(|name| file.ends_with(name)) {
            replace_erlang_path(&file, &erlang)?;
        }
    }
    Ok(())
}

fn replace_erlang_path(script: &Path, erlang: &Path) -> Result<()> {
    let text =
        fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    let mut here = text;
    for before in ['=', '"', '\'', ' '] {
        here = here
            .replace(&format!("{before}/usr/lib/erlang"), &format!("{before}{}", erlang.display()));
    }
    fs::write(script, here)?;
    Ok(())
}
