//! The example with real pictures and videos, to its end.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::Program;

use super::readmes::every_command_works;

/// How long the example may take, with the download of ImageMagick and ffmpeg.
const EXAMPLE_TIMEOUT: Duration = Duration::from_secs(600);

#[tokio::test]
async fn broken_pictures_and_videos_are_found_repaired_and_processed_again() -> Result<()> {
    let example = Program::new("xtask").arg("example").arg("thumbnails").arg("--once").start()?;
    let lines = example.succeed_within(EXAMPLE_TIMEOUT).await?;
    let mut rest = lines.iter();
    for expected in [
        "slowlane: 5 lines: 3 completed, 2 not",
        // The progress of the first video.
        " of 8 s",
        "video-1.webm",
        "moov atom not found",
        "slowlane: there are no failed requests",
        "slowlane: 5 lines: 5 completed, 0 not",
        "picture-4.png",
        "video-2.webm",
        "nothing is left running",
    ] {
        let found = rest.any(|line| line.contains(expected));
        ensure!(found, "no {expected:?} in its place:\n{}", lines.join("\n"));
    }
    Ok(())
}

#[tokio::test]
async fn every_command_in_the_readme_of_the_thumbnails_works() -> Result<()> {
    every_command_works("thumbnails").await
}
