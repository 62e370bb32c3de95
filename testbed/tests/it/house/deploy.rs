//! The systemd units: they run the programs that docs/operating.md installs, let them open files, and leave them the time
//! to stop.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use pipeline::config::variables;
use testbed::workspace;

/// The unit files and the programs that they run.
const UNITS: [(&str, &str); 3] = [
    ("slowlane-setup", "setup"),
    ("slowlane-web", "web-service"),
    ("slowlane-processor", "processor-service"),
];

/// How many files a service may have open at least: one for each waiting client, some for each command.
const OPEN_FILES: u64 = 65_536;

/// How long a service needs at most after `DRAIN_TIMEOUT`.
const STOP_RESERVE: Duration = Duration::from_secs(5);

fn unit(name: &str) -> Result<String> {
    let path = workspace::root().join(format!("deploy/systemd/{name}.service"));
    fs::read_to_string(path).context(name.to_owned())
}

/// The values of a setting in a unit.
fn values<'a>(unit: &'a str, setting: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == setting).map(|(_, value)| value).collect()
}

#[test]
fn the_units_run_the_programs_that_the_documents_install() -> Result<()> {
    let folder = workspace::root().join("deploy/systemd");
    let document = fs::read_to_string(workspace::root().join("docs/operating.md"))?;
    ensure!(fs::read_dir(&folder)?.count() == UNITS.len(), "another unit is in {folder:?}");
    for (name, program) in UNITS {
        let unit = unit(name)?;
        workspace::binary(program)?;
        assert_eq!(values(&unit, "ExecStart"), [format!("/opt/slowlane/{program}")], "{name}");
        assert_eq!(values(&unit, "EnvironmentFile"), ["/etc/slowlane.env"], "{name}");
        assert_eq!(values(&unit, "User"), ["slowlane"], "{name}");
        for step in
            [format!("--bin {program}"), format!("target/release/{program}"), name.to_owned()]
        {
            ensure!(document.contains(&step), "docs/operating.md does not have `{step}`");
        }
    }
    Ok(())
}

#[test]
fn the_units_leave_the_services_the_time_to_drain() -> Result<()> {
    let drain = variables::DRAIN_TIMEOUT.default.context("a default")?;
    let needed = humantime::parse_duration(drain)? + STOP_RESERVE;
    for (name, _) in &UNITS[1..] {
        let unit = unit(name)?;
        let stop: Vec<u64> = values(&unit, "TimeoutStopSec")
            .into_iter()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        ensure!(stop.len() == 1 && Duration::from_secs(stop[0]) >= needed, "{name}: {stop:?}");
    }
    Ok(())
}

#[test]
fn a_command_that_is_killed_for_want_of_memory_does_not_stop_its_processor() -> Result<()> {
    let unit = unit("slowlane-processor")?;
    assert_eq!(values(&unit, "OOMPolicy"), ["continue"]);
    assert_eq!(values(&unit, "KillMode"), ["mixed"], "what a killed processor leaves is killed");
    Ok(())
}

#[test]
fn the_services_may_open_many_files() -> Result<()> {
    for (name, _) in &UNITS[1..] {
        let unit = unit(name)?;
        let [limit] = values(&unit, "LimitNOFILE")[..] else { bail!("{name} has no limit") };
        let (_soft, hard) = limit.split_once(':').unwrap_or((limit, limit));
        ensure!(hard.parse::<u64>()? >= OPEN_FILES, "{name}: {limit}");
    }
    Ok(())
}
