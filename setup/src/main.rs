//! `setup`: declares the exchanges, queues and bindings of Slowlane in a virtual host, or checks them.

mod advice;
mod config;
mod declare;
mod failure;
mod management;
mod output;
mod report;

use std::{process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use pipeline::{
    broker::{Address, Declarer},
    config::EXIT_CONFIGURATION,
    program, stderr,
};
use tokio::time::sleep;
use tracing::warn;
use url::Url;

use crate::{
    config::Config, declare::Mode, failure::Failure, management::Bindings, report::Report,
};

fn main() -> ExitCode {
    program::run(command(), |config, arguments| match Task::of(&arguments.matches) {
        Ok(task) => run(&config, &task).unwrap_or_else(|failure| failure.exit()),
        Err(reason) => {
            stderr::print(&format!("setup: {reason}"));
            ExitCode::from(EXIT_CONFIGURATION)
        }
    })
}

/// What the command line asks for.
enum Task {
    Declare,
    /// The management API may be named.
    Check {
        management: Option<Url>,
    },
}

impl Task {
    /// What these arguments ask for, or what is wrong with them, without the value: clap would show it with its password.
    fn of(arguments: &ArgMatches) -> Result<Self, String> {
        if !arguments.get_flag("check") {
            return Ok(Self::Declare);
        }
        let named = arguments.get_one::<String>("management-url");
        let management = named.map(|text| management_url(text)).transpose();
        let management = management.map_err(|reason| format!("--management-url: {reason}"))?;
        Ok(Self::Check { management })
    }
}

/// How long a broker that was lost or has failed gets each time to come to itself.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(5)];
const EXIT_CODES: &str = "Exit codes: 0 everything is declared; 1 --check found something missing or different; \
2 bad settings; 3 no broker answers, or it was lost and 3 more tries failed; 4 the broker refuses the user, the password or the virtual host; 5 the user lacks the permission; \
6 something exists with other arguments, or the broker refuses this kind of queue.";

fn command() -> Command {
    Command::new("setup")
        .about("Declares the exchanges and the queues of Slowlane in the broker's virtual host. Running it again changes nothing.")
        .after_long_help(EXIT_CODES)
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Change nothing; compare, and end with 1 if anything is missing or different"),
        )
        .arg(
            Arg::new("management-url")
                .long("management-url")
                .value_name("URL")
                .requires("check")
                .help("The broker's management API, which tells the bindings [default: where it usually is]"),
        )
}

/// Parses the URL of a management API. It gets the user and the password of the broker's URL.
fn management_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            Err("the URL must begin with http:// or https://".to_owned())
        }
        // A password with a bare slash is in the path.
        Ok(url)
            if !url.username().is_empty()
                || url.password().is_some()
                || url.path().contains('@') =>
        {
            Err("user and password are those of the broker's URL".to_owned())
        }
        // Behind either of them the host may have been meant, and another one would get the broker's password.
        Ok(url) if url.query().is_some() || url.fragment().is_some_and(|it| !is_page(it)) => {
            Err("the URL must have no ? and no #".to_owned())
        }
        Ok(url) => Ok(url),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether this is what browsers show behind the `#` on the pages of the management plugin.
fn is_page(fragment: &str) -> bool {
    fragment.is_empty() || fragment.starts_with('/')
}

#[tokio::main]
async fn run(config: &Config, task: &Task) -> Result<ExitCode, Failure> {
    let (mut declarer, mut address) = declare::connect(&config.broker.addresses).await?;
    let bindings = match task {
        Task::Declare => None,
        Task::Check { management } => {
            Some(bindings(management.as_ref(), &declarer, &address).await?)
        }
    };
    let mode = match &bindings {
        None => Mode::Declare,
        Some(bindings) => Mode::Check(bindings.as_ref().ok()),
    };
    let report = carry_out(mode, &mut declarer, &mut address, config).await?;
    if let Some(Err(reason)) = &bindings {
        output::print(format!(
            "\nThe bindings are not checked, since AMQP can't tell them: {reason}."
        ));
    }
    if let Some(advice) = advice::ack_timeout(declarer.version(), config.kind, config.ack_timeout) {
        output::print(format!("\n{advice}"));
    }
    declarer.close().await;
    Ok(report.exit())
}

/// Declares or checks everything. If the broker is lost or fails meanwhile, all is declared from the beginning.
async fn carry_out(
    mode: Mode<'_>,
    declarer: &mut Declarer,
    address: &mut Address,
    config: &Config,
) -> Result<Report, Failure> {
    // A check compares with the bindings that the broker had, which another one may not have.
    let declares = matches!(mode, Mode::Declare);
    let mut pauses = PAUSES.into_iter().filter(|_| declares);
    loop {
        let mut report = Report::default();
        let ended = declare::run(mode, declarer, address, &config.topology, &mut report).await;
        if let Err(Failure::Interrupted(reason)) = &ended
            && let Some(found) = connect_again(reason, &mut pauses, config).await?
        {
            (*declarer, *address) = found;
            continue;
        }
        report.print();
        return ended.map(|()| report);
    }
}

/// Connects again after a pause, for as many pauses as there are. None if no broker answers.
async fn connect_again(
    reason: &str,
    pauses: &mut impl Iterator<Item = Duration>,
    config: &Config,
) -> Result<Option<(Declarer, Address)>, Failure> {
    for pause in pauses {
        warn!("{reason}; trying again in {pause:?}");
        sleep(pause).await;
        match declare::connect(&config.broker.addresses).await {
            Ok(found) => return Ok(Some(found)),
            Err(Failure::Unreachable(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// The bindings that there are, or why they are not known. A management API that was named has to tell.
async fn bindings(
    management: Option<&Url>,
    declarer: &Declarer,
    address: &Address,
) -> Result<Result<Bindings, String>, Failure> {
    let cluster = declarer.tuning().cluster_name;
    let read = management::read(address, management, cluster.as_deref()).await;
    match read {
        Err(reason) if management.is_some() => Err(Failure::Unreachable(reason)),
        read => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_api_is_named_by_its_host_and_path_alone() {
        for good in ["https://h:15671/rabbit/", "http://h:15672/#/", "http://h:15672/#/queues"] {
            assert!(management_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://u:p@h",
            "http://u:1/p@h",
            "ftp://h",
            "h:15672",
            "http://u:#p@h",
            "http://h/?p",
            "http://h/#p",
        ] {
            assert!(management_url(bad).is_err(), "{bad}");
        }
    }
}
