//! promtool, which checks metrics, rules and queries as a Prometheus server reads them.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    debian::{self, Bundle, Dependencies},
    workspace,
};

const BUNDLE: Bundle = Bundle {
    name: "Prometheus",
    package: "prometheus",
    others: "",
    dependencies: Dependencies::Named,
    programs: Some("usr/bin"),
    size: "about 20 MB",
};

const HOW_TO_GET: &str = "promtool is not on this machine, and it could not be unpacked beside the project. Install it \
    (Debian, Ubuntu: `sudo apt-get install prometheus`; macOS: `brew install prometheus`) and type the same command again";

/// Runs `promtool` with these arguments and this text on its standard input.
///
/// # Errors
/// With what it prints, if it finds a mistake.
pub async fn check(arguments: &[&str], input: &str) -> Result<()> {
    let say = |line: &str| println!("Prometheus: {line}");
    let mut promtool = Command::new(find_or_unpack(&say).await?);
    promtool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = promtool.kill_on_drop(true).spawn()?;
    let mut stdin = running.stdin.take().context("a pipe")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = running.wait_with_output().await?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(output.status.success(), "promtool {}: {text}", arguments.join(" "));
    Ok(())
}

/// The program, found on this machine or unpacked into `.slowlane/`.
async fn find_or_unpack(say: &(dyn Fn(&str) + Sync)) -> Result<PathBuf> {
    if let Some(found) = workspace::on_path("promtool") {
        return Ok(found);
    }
    let unpacked = async {
        let suite = if debian::release()? == "trixie" { "trixie" } else { "bookworm" };
        BUNDLE.unpacked(suite, |_| Ok(()), say).await
    };
    Ok(unpacked.await.context(HOW_TO_GET)?.join("usr/bin/promtool"))
}
