//! The systemd units: they run the programs that docs/operating.md installs, and leave them the time to stop.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use pipeline::config::variables;
use testbed::workspace;

/// The unit files and the programs that they run.
const UNITS: [(&str, &str); 3] = [
    ("slowlane-setup", "setup"),
    ("slowlane-web", "web-service"),
    ("slowlane-processor", "processor-service"),
];

/// How long a service needs at most after `DRAIN_TIMEOUT`.
const STOP_RESERVE: Duration = Duration::from_secs(5);

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
        let unit = fs::read_to_string(folder.join(format!("{name}.service"))).context(name)?;
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
        let path = workspace::root().join(format!("deploy/systemd/{name}.service"));
        let unit = fs::read_to_string(path)?;
        let stop: Vec<u64> = values(&unit, "TimeoutStopSec")
            .into_iter()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        ensure!(stop.len() == 1 && Duration::from_secs(stop[0]) >= needed, "{name}: {stop:?}");
    }
    Ok(())
}
