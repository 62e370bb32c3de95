//! Which of the program's processors is used: `PROCESSOR`, and the settings that belong to it.

use std::time::Duration;

use pipeline::config::{self, ParseError, Reader, Variable, variables};

use crate::processors::command::command_line::CommandLine;

/// The processor that `PROCESSOR` chooses.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// [`Simulate`](super::simulate::Simulate), with `PROCESSING_DELAY`.
    Simulate(Duration),
    /// [`Command`](super::command::Command), with `PROCESSOR_COMMAND`.
    Command(CommandLine),
}

impl Choice {
    /// The variables that [`Choice::read`] reads.
    pub(crate) const VARIABLES: &[&Variable] =
        &[&variables::PROCESSOR, &variables::PROCESSING_DELAY, &variables::PROCESSOR_COMMAND];

    /// Reads the choice. The command is checked only if it is chosen.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let simulated =
            Self::Simulate(reader.read(&variables::PROCESSING_DELAY, config::duration_or_zero));
        match reader.read(&variables::PROCESSOR, is_command) {
            true => command_line(reader).map_or(simulated, Self::Command),
            false => simulated,
        }
    }
}

fn is_command(value: &str) -> Result<bool, ParseError> {
    match value {
        "simulate" => Ok(false),
        "command" => Ok(true),
        _ => Err(ParseError::default()),
    }
}

fn command_line(reader: &mut Reader<'_>) -> Option<CommandLine> {
    let variable = &variables::PROCESSOR_COMMAND;
    if reader.source().get(variable).is_none() {
        let takes = variable.takes;
        reader
            .problem(format!("PROCESSOR_COMMAND= is needed with PROCESSOR=command: takes {takes}"));
    }
    reader.read_optional(variable, |text| {
        CommandLine::parse(text).map_err(|error| ParseError::because(error.to_string()))
    })
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
    fn a_command_is_needed_and_checked_only_where_it_is_chosen() {
        let command = |command| [("PROCESSOR", "command"), ("PROCESSOR_COMMAND", command)];
        for simulated in
            [&[][..], &[("PROCESSOR_COMMAND", "no-such-program")], &[("PROCESSING_DELAY", "0")]]
        {
            assert!(matches!(choice(simulated), Ok(Choice::Simulate(_))));
        }
        assert!(matches!(choice(&command("sh -c true")), Ok(Choice::Command(_))));
        let text = choice(&[("PROCESSOR", "command")]).unwrap_err();
        assert!(text.contains("PROCESSOR_COMMAND= is needed with PROCESSOR=command"), "{text}");
        let text = choice(&command("no-such-program -x")).unwrap_err();
        assert!(text.contains("no program \"no-such-program\""), "{text}");
        let text = choice(&[("PROCESSOR", "http")]).unwrap_err();
        assert!(text.contains("PROCESSOR=http: takes simulate or command"), "{text}");
    }
}
