//! Which of the program's processors is used: `PROCESSOR`, and the settings that belong to it.

use std::time::Duration;

use pipeline::config::{self, ParseError, Reader, Variable, variables};

use crate::processors::{command::command_line::CommandLine, http::endpoint::Endpoint};

/// The processor that `PROCESSOR` chooses.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// [`Simulate`](super::simulate::Simulate), with `PROCESSING_DELAY`.
    Simulate(Duration),
    /// [`Http`](super::http::Http), with `PROCESSOR_URL`.
    Http(Endpoint),
    /// [`Command`](super::command::Command), with `PROCESSOR_COMMAND`.
    Command(CommandLine),
    /// [`CommandPool`](super::command::pool::CommandPool), with `COMMAND_POOL` and `COMMAND_POOL_MAX_JOBS`.
    Pool(CommandLine, Option<u64>),
}

impl Choice {
    /// The variables that [`Choice::read`] reads.
    pub(crate) const VARIABLES: &[&Variable] = &[
        &variables::PROCESSOR,
        &variables::PROCESSING_DELAY,
        &variables::PROCESSOR_URL,
        &variables::PROCESSOR_COMMAND,
        &variables::COMMAND_POOL,
        &variables::COMMAND_POOL_MAX_JOBS,
    ];

    /// Reads the choice. The URL and the command are checked only if they are chosen.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let simulated =
            Self::Simulate(reader.read(&variables::PROCESSING_DELAY, config::duration_or_zero));
        let chosen = match reader.read(&variables::PROCESSOR, kind) {
            Kind::Simulate => None,
            Kind::Http => required(reader, &variables::PROCESSOR_URL, "http", |text| {
                Endpoint::parse(text).map_err(|error| ParseError::because(error.to_string()))
            })
            .map(Self::Http),
            Kind::Command => required(reader, &variables::PROCESSOR_COMMAND, "command", |text| {
                CommandLine::parse(text).map_err(|error| ParseError::because(error.to_string()))
            })
            .map(|line| Self::command(reader, line)),
        };
        chosen.unwrap_or(simulated)
    }

    fn command(reader: &mut Reader<'_>, line: CommandLine) -> Self {
        let max_jobs = reader.read_optional(&variables::COMMAND_POOL_MAX_JOBS, max_jobs);
        match reader.read(&variables::COMMAND_POOL, config::flag) {
            true => Self::Pool(line, max_jobs),
            false => Self::Command(line),
        }
    }

    /// The value of `PROCESSOR`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Simulate(_) => "simulate",
            Self::Http(_) => "http",
            Self::Command(_) | Self::Pool(..) => "command",
        }
    }
}

/// A value of `PROCESSOR`.
enum Kind {
    Simulate,
    Http,
    Command,
}

fn kind(value: &str) -> Result<Kind, ParseError> {
    match value {
        "simulate" => Ok(Kind::Simulate),
        "http" => Ok(Kind::Http),
        "command" => Ok(Kind::Command),
        _ => Err(ParseError::default()),
    }
}

fn max_jobs(value: &str) -> Result<u64, ParseError> {
    value.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(ParseError::default)
}

/// Reads the variable that this kind of work needs.
fn required<T>(
    reader: &mut Reader<'_>,
    variable: &'static Variable,
    kind: &str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Option<T> {
    if reader.source().get(variable).is_none() {
        let Variable { name, takes, .. } = variable;
        reader.problem(format!("{name}= is needed with PROCESSOR={kind}: takes {takes}"));
    }
    reader.read_optional(variable, parse)
}

#[cfg(test)]
mod tests {
    use pipeline::config::Source;

    use super::*;

    fn choice(values: &[(&str, &str)]) -> Result<Choice, String> {
        let source = Source::of(values);
        let mut reader = Reader::new(&source);
        let choice = Choice::read(&mut reader);
        reader.finish().map(|()| choice).map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_needed_and_checked_only_where_it_is_chosen() {
        let http = |url| [("PROCESSOR", "http"), ("PROCESSOR_URL", url)];
        assert!(matches!(choice(&[("PROCESSOR_URL", "nonsense")]), Ok(Choice::Simulate(_))));
        assert!(matches!(choice(&http("http://127.0.0.1:8080/work")), Ok(Choice::Http(_))));
        let text = choice(&[("PROCESSOR", "http")]).unwrap_err();
        assert!(text.contains("PROCESSOR_URL= is needed with PROCESSOR=http"), "{text}");
        let text = choice(&http("ftp://me:s3cret@host/")).unwrap_err();
        assert!(text.contains("neither with http:// nor") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_command_is_needed_and_checked_only_where_it_is_chosen() {
        let command = |command| [("PROCESSOR", "command"), ("PROCESSOR_COMMAND", command)];
        for simulated in
            [&[][..], &[("PROCESSOR_COMMAND", "no-such-program")], &[("PROCESSING_DELAY", "0")]]
        {
            assert!(matches!(choice(simulated), Ok(Choice::Simulate(_))));
        }
        assert!(matches!(choice(&command("sh -c true")), Ok(Choice::Command(_))));
        let pool = |jobs| [&command("sh")[..], &[("COMMAND_POOL", "true"), jobs]].concat();
        let jobs = |jobs| ("COMMAND_POOL_MAX_JOBS", jobs);
        assert!(matches!(choice(&pool(jobs(""))), Ok(Choice::Pool(_, None))));
        assert!(matches!(choice(&pool(jobs("50"))), Ok(Choice::Pool(_, Some(50)))));
        let text = choice(&pool(jobs("0"))).unwrap_err();
        assert!(text.contains("COMMAND_POOL_MAX_JOBS=0: takes a number from 1"), "{text}");
        let text = choice(&[("PROCESSOR", "command")]).unwrap_err();
        assert!(text.contains("PROCESSOR_COMMAND= is needed with PROCESSOR=command"), "{text}");
        let text = choice(&command("no-such-program -x")).unwrap_err();
        assert!(text.contains("no program \"no-such-program\""), "{text}");
        let text = choice(&[("PROCESSOR", "shell")]).unwrap_err();
        assert!(text.contains("PROCESSOR=shell: takes simulate, http or command"), "{text}");
    }
}
