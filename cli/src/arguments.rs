//! Command-line arguments: commands, flags, and what their values may be. The doc comments of fields and
//! variants are the texts of `--help`.

pub(crate) mod failed;
mod time;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pipeline::{config::variables::SLOWLANE_URL, topology::RequestType};

use self::{failed::Failed, time::time};

/// Submits requests to Slowlane's web service, waits for them, and shows them
#[derive(Debug, Parser)]
#[command(name = "slowlane", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[arg(long, global = true, help_heading = COMMON_OPTIONS, value_name = "URL", alias = "slowlane-url", help = url_help())]
    pub(crate) url: Option<String>,
    /// The output format: text for people, json for programs
    #[arg(long, global = true, help_heading = COMMON_OPTIONS, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    /// How long to retry while the service can't be reached or accepts no requests [default:
    /// 5m for wait, watch, status --watch, bulk and failed, 30s for submit, retry-now, verify, cancel and replay, else 5s]
    #[arg(long, global = true, help_heading = COMMON_OPTIONS, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) retry_for: Option<Duration>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 completed; 1 another error; 2 wrong usage; 3 failed; 4 cancelled; \
5 not ended (in time); 6 not found or expired; 7 the service can't be reached or accepts no requests.";

/// The heading of the flags that every command has.
const COMMON_OPTIONS: &str = "Options of all commands";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send data and print the id of the request, or with --wait its result
    Submit(Submit),
    /// Show a request as it is now
    Get {
        /// The id of the request, as submit prints it
        id: String,
        /// Print the data that were sent instead
        #[arg(long)]
        data: bool,
        /// Print the attempts instead: who worked on it, when, and how that ended
        #[arg(long, conflicts_with = "data")]
        attempts: bool,
    },
    /// Tell why a request has not ended, and when its work may begin
    Why {
        /// The id of the request, as submit prints it
        id: String,
    },
    /// Wait until a request has ended and print its result
    Wait {
        /// The id of the request, as submit prints it
        id: String,
        /// Stop waiting after this time, as in 90s or 5m [default: wait for its end]
        #[arg(long, value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
    },
    /// List requests, newest first
    List(List),
    /// Show what waits, is worked on and has failed, with workers, queues, broker and store
    Status {
        /// Show it again every two seconds, until Ctrl-C
        #[arg(long, short)]
        watch: bool,
    },
    /// Look for what is configured wrongly or works badly, and say how to mend it
    Doctor,
    /// Name open requests whose message is missing in the broker
    Verify {
        /// Publish them again
        #[arg(long)]
        mend: bool,
    },
    /// Show what happens to a request until it has ended
    Watch {
        /// The id of the request, as submit prints it
        id: String,
    },
    /// Process each line of a file and write the results in the same order; to resume, repeat the
    /// command
    Bulk(Bulk),
    /// Send callbacks again
    Callbacks {
        /// What to do.
        #[command(subcommand)]
        command: Callbacks,
    },
    /// Cancel a request that has not ended
    Cancel {
        /// The id of the request, as submit prints it
        id: String,
    },
    /// Replay a failed request: process it again, under the same id
    #[command(override_usage = "slowlane replay [OPTIONS] <ID>")]
    Replay {
        /// The id of the request, as submit prints it
        id: Option<String>,
        /// Wait for the result and print it; stop waiting after TIMEOUT, if given, as in 90s or 5m
        #[arg(long, value_name = "TIMEOUT", num_args = 0..=1)]
        wait: Option<Option<String>>,
    },
    /// Begin the next attempt at a request at once, instead of at its time
    #[command(override_usage = "slowlane retry-now [OPTIONS] <ID>")]
    RetryNow {
        /// The id of the request, as submit prints it
        id: Option<String>,
        /// Wait for the end and print the result; give up after TIMEOUT, if given, as in 90s or 5m
        #[arg(long, value_name = "TIMEOUT", num_args = 0..=1)]
        wait: Option<Option<String>>,
    },
    /// List, show, replay and discard failed requests
    Failed {
        /// What to do.
        #[command(subcommand)]
        command: Failed,
    },
    /// Check a worker of your own against the contract, in a virtual host that nothing else uses
    Conformance(Conformance),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Callbacks {
    /// Send the callback of a request again; a pending one is sent at once
    Retry {
        /// The id of the request, as submit prints it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The data: any JSON; standard input if neither this nor --file is given
    #[arg(allow_negative_numbers = true)]
    pub(crate) data: Option<String>,
    /// Take the data from a file; - is standard input
    #[arg(long, short, conflicts_with = "data")]
    pub(crate) file: Option<PathBuf>,
    /// The data is text: send it as a JSON string (without the line break at the end of a file)
    #[arg(long)]
    pub(crate) text: bool,
    /// The type of the request: which queue it waits in [default: default]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Wait for the result and print it; stop waiting after TIMEOUT, if given, as in 90s or 5m
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1)]
    pub(crate) wait: Option<Option<String>>,
    /// Let the request fail if no worker has started it within this time, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = checked_duration)]
    pub(crate) expires_in: Option<String>,
    /// POST a callback to this URL when the request has ended
    #[arg(long, value_name = "URL")]
    pub(crate) callback_url: Option<String>,
    /// The idempotency key: submissions with the same key and data are one request [default: a new one
    /// each time]
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only requests with this status
    #[arg(long)]
    pub(crate) status: Option<StatusFilter>,
    /// Only requests of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only requests that have failed with this error code
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Only requests that are failed now with an error of this group, as GET /api/v1/error-groups names it
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Only requests whose ids begin so
    #[arg(long, value_name = "DIGITS")]
    pub(crate) id: Option<String>,
    /// Only requests accepted since then: 2h (ago), or 2026-11-21T09:00:00Z
    #[arg(long, alias = "after", value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<SystemTime>,
    /// Only requests accepted before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) before: Option<SystemTime>,
    /// Only requests of which so many attempts were made, or more
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=i64::from(i32::MAX)))]
    pub(crate) attempts: Option<u32>,
    /// How many to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// List all of them
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// The data: one JSON value per line; empty lines are skipped
    pub(crate) file: PathBuf,
    /// The file for the results, one JSON object per line; FILE.state holds the state of the run
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The type of the requests: which queue they wait in [default: default]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// How many requests to have in flight at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) concurrency: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// Data that the work refuses, as JSON: how the worker fails is checked with it
    #[arg(long, value_name = "JSON")]
    pub(crate) refused: Option<String>,
    /// The type of the requests that the worker takes, for which it also finds TYPES in its environment
    #[arg(long = "type", value_name = "TYPE", default_value = "default")]
    pub(crate) kind: RequestType,
    /// How long to wait for each thing that the worker has to do
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// The worker's command, whose work returns its data: it is started with AMQP_URL, killed, and started again
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// The status to list.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StatusFilter {
    Queued,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

/// The format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
}

fn url_help() -> String {
    let default = SLOWLANE_URL.default.unwrap_or_default();
    format!("Where the web service is [env: {}, default: {default}]", SLOWLANE_URL.name)
}

/// A duration as text, since the service parses it.
fn checked_duration(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

fn idempotency_key(text: &str) -> Result<String, &'static str> {
    let good = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err("1 to 255 visible ASCII characters") }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_of_the_arguments_is_valid() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn data_may_be_a_negative_number() {
        let Command::Submit(submit) = parse("slowlane submit -5").unwrap().command else {
            panic!("another command");
        };
        assert_eq!(submit.data.as_deref(), Some("-5"));
    }

    #[test]
    fn bad_arguments_are_refused_with_2() {
        let long = format!("slowlane submit 1 --idempotency-key {}", "k".repeat(256));
        for bad in [
            "slowlane submit 1 --file f",
            "slowlane submit 1 --expires-in soon",
            "slowlane submit 1 --idempotency-key ä",
            &long,
            "slowlane list --all --limit 3",
            "slowlane list --limit 0",
            "slowlane list --status lost",
            "slowlane conformance --type Video worker",
            "slowlane bulk in.ndjson",
            "slowlane bulk in --out out --concurrency 0",
            "slowlane failed replay x --all",
            "slowlane failed replay x --code y",
            "slowlane failed list --since yesterday",
            "slowlane failed discard --messages --all",
            "slowlane",
        ] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn global_flags_may_stand_behind_the_command() {
        let arguments =
            parse("slowlane get x --output json --url http://a --retry-for 0s").unwrap();
        assert_eq!((arguments.output, arguments.url.as_deref()), (Format::Json, Some("http://a")));
        assert_eq!(arguments.retry_for, Some(Duration::ZERO));
    }
}
