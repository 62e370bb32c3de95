//! The example with real pictures and videos, to its end.

mod stopping;

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Program, media, workspace};

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
        "video-1.mp4.webm",
        "moov atom not found",
        "slowlane: there are no failed requests",
        "slowlane: 5 lines: 5 completed, 0 not",
        "picture-4.jpg.png",
        "video-2.mp4.webm",
        "nothing is left running",
    ] {
        let found = rest.any(|line| line.contains(expected));
        ensure!(found, "no {expected:?} in its place:\n{}", lines.join("\n"));
    }
    Ok(())
}

#[tokio::test]
async fn a_picture_that_moves_has_a_thumbnail_of_its_first_frame() -> Result<()> {
    let (folder, scripts) = (tempfile::tempdir()?, workspace::root().join("examples/thumbnails"));
    let line = r#"convert -size 400x300 xc:red xc:blue moving.gif && echo '"moving.gif"' | sh "$SCRIPTS/thumbnail.sh" &&
        convert thumbnails/moving.gif.png -format '%n %wx%h %[pixel:p{0,0}]' info:"#;
    let shell = Program::at("/bin/sh").arg("-c").arg(line).current_dir(folder.path());
    let path = media::path_with_tools(&|line| println!("media: {line}")).await?;
    let shell = shell.env("PATH", path).env("SCRIPTS", scripts);
    let said = shell.start()?.succeed_within(EXAMPLE_TIMEOUT).await?.join("\n");
    ensure!(said.contains("thumbnails/moving.gif.png") && said.contains("1 200x150 "), "{said}");
    ensure!(said.contains("red") || said.contains("(255,0,0)"), "{said}");
    Ok(())
}

#[tokio::test]
async fn every_command_in_the_readme_of_the_thumbnails_works() -> Result<()> {
    every_command_works("thumbnails").await
}
