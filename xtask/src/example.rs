//! `cargo xtask example NAME`: runs an example on a private node of RabbitMQ, and shows it at work.

mod catalogue_sync;
mod profile_updates;
mod stage;
mod thumbnails;
mod vip_notifications;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use testbed::rabbitmq::NodeOptions;

use self::stage::Stage;
use crate::{
    cargo, console,
    interrupt::{self, Interrupt},
};

/// Options of an example.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The example
    name: Example,

    /// End when everything was shown, instead of running on until Ctrl-C
    #[arg(long)]
    once: bool,
}

/// The examples. Each is a folder of this name, and a crate unless it consists of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Example {
    /// Accounts that are read, notifications of it, and one configuration for all
    VipNotifications,
    /// Two services with a database each that keep a catalogue in step, over TLS
    CatalogueSync,
    /// A follower with a copy of user profiles, which refuses an update that is then undone
    ProfileUpdates,
    /// Thumbnails of pictures and transcoded videos, with ImageMagick and ffmpeg; broken files are repaired and replayed
    Thumbnails,
}

impl Example {
    /// What its node of RabbitMQ needs.
    fn node(self) -> NodeOptions {
        match self {
            Self::CatalogueSync => NodeOptions { tls: true, ..NodeOptions::default() },
            Self::ProfileUpdates | Self::Thumbnails | Self::VipNotifications => {
                NodeOptions::default()
            }
        }
    }

    /// Starts its programs and shows them at work.
    async fn show(self, stage: &mut Stage) -> Result<()> {
        match self {
            Self::CatalogueSync => catalogue_sync::show(stage).await,
            Self::ProfileUpdates => profile_updates::show(stage).await,
            Self::Thumbnails => thumbnails::show(stage).await,
            Self::VipNotifications => vip_notifications::show(stage).await,
        }
    }

    /// The name of its folder.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Builds its programs. Those of Slowlane itself are there already.
    async fn build(self) -> Result<()> {
        if self == Self::Thumbnails {
            return Ok(());
        }
        let package = self.name();
        console::step("build", format!("the programs of {package}"));
        cargo::build(&["build", "-p", &package, "--bins"]).await
    }
}

/// Runs an example until it has shown everything or, without `--once`, until it is interrupted.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let Some(stage) = interrupt.or(prepare(options.name)).await else {
        return Ok(interrupt::stopped("example"));
    };
    let mut stage = stage?;
    let shown = interrupt.or(options.name.show(&mut stage)).await;
    if matches!(shown, Some(Ok(()))) && !options.once {
        console::blank_line();
        console::step("example", "runs on; Ctrl-C stops it");
        interrupt.received().await;
    }
    // Also after an error the programs close their connections.
    let stopped = interrupt.or(stage.stop()).await.unwrap_or(Ok(()));
    let Some(shown) = shown else { return stopped.map(|()| interrupt::stopped("example")) };
    shown.and(stopped)?;
    console::step("example", "nothing is left running");
    Ok(ExitCode::SUCCESS)
}

async fn prepare(example: Example) -> Result<Stage> {
    example.build().await?;
    Stage::new(&example.name(), example.node()).await
}
