//! Debian's own RabbitMQ and Erlang, unpacked into `.slowlane/`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::install::{Install, Version};
use crate::debian::{self, Bundle, files_under};

const ERLANG: &str = "usr/lib/erlang";

const BUNDLE: Bundle = Bundle {
    name: "RabbitMQ",
    package: "rabbitmq-server",
    others: "erlang-base erlang-asn1 erlang-crypto erlang-eldap erlang-ftp erlang-tftp erlang-inets \
        erlang-mnesia erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools \
        erlang-snmp erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl erlang-eunit libsctp1",
    programs: ERLANG,
    size: "about 45 MB",
};

/// The unpacked RabbitMQ of the wanted version, unpacked now if it was not before.
pub(super) async fn unpacked(wanted: Version, say: &(dyn Fn(&str) + Sync)) -> Result<Install> {
    let suite = match (wanted, debian::release()?.as_str()) {
        (Version::V4_0, _) | (Version::Any, "trixie") => "trixie",
        _ => "bookworm",
    };
    let root = BUNDLE.unpacked(suite, point_scripts_here, say).await?;
    Install::at(root.join("usr/lib/rabbitmq/bin"), root.join(ERLANG).join("bin"))
}

/// Replaces the installation folder that Debian wrote into Erlang's start scripts.
fn point_scripts_here(root: &Path) -> Result<()> {
    let erlang = root.join(ERLANG);
    for file in files_under(&erlang)? {
        if ["erl", "start", "start_erl"].iter().any(|name| file.ends_with(name)) {
            point_here(&file, &erlang)?;
        }
    }
    Ok(())
}

fn point_here(script: &Path, erlang: &Path) -> Result<()> {
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
