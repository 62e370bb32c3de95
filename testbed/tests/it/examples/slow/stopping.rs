//! The end of an example that is interrupted while it shows something.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Program, Signal};

/// How long the stop may take: the broker's is the longest part.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn an_interrupted_example_stops_at_once_and_says_so_by_its_exit_code() -> Result<()> {
    for once in [true, false] {
        let example = Program::new("xtask").arg("example").arg("thumbnails");
        let example = if once { example.arg("--once") } else { example };
        let example = example.start()?;
        // The show begins with the programs for pictures, if they are not on this machine, or with the web service.
        let shows = |line: &str| {
            let part = line.split_whitespace().next();
            matches!(part, Some("media" | "web")).then_some(())
        };
        example.wait_for("the first line of the show", shows).await?;
        example.signal(if once { Signal::INT } else { Signal::HUP });
        let status = example.wait_within(STOP_TIMEOUT).await?;
        let (_, text) = example.ended().await?;
        ensure!(status.code() == Some(130), "{status}: {text}");
        ensure!(text.contains("stopped; nothing is left running"), "{text}");
    }
    Ok(())
}
