//! Disturbs the programs as the schedule says, each target by itself, so that one outage overlaps another.

use std::path::PathBuf;

use anyhow::{Context, Result};
use futures_util::future::{LocalBoxFuture, try_join_all};
use owo_colors::AnsiColors;
use testbed::{Signal, postgres::Server, rabbitmq::Node};
use tokio::{
    fs::OpenOptions,
    io::AsyncWriteExt,
    time::{Instant, sleep, sleep_until},
};

use super::{
    schedule::{Action, Disturbance, Target},
    stage::{Service, Stage},
};
use crate::console;

/// The times of a run; notes each disturbance, on the screen and in a file.
pub(super) struct Timeline {
    pub(super) start: Instant,
    /// The end of the load.
    pub(super) end: Instant,
    pub(super) file: PathBuf,
}

/// Carries the whole schedule out, and watches all programs until the end of the load. Then everything runs.
pub(super) async fn run(
    stage: &mut Stage,
    schedule: &[Disturbance],
    timeline: &Timeline,
) -> Result<()> {
    let of = |target| schedule.iter().filter(move |one| one.target == target);
    let Stage { webs, processors, broker, postgres, database } = stage;
    let mut postgres = Database { server: postgres, name: database };
    let mut all: Vec<LocalBoxFuture<'_, Result<()>>> = Vec::new();
    for (index, web) in webs.iter_mut().enumerate() {
        all.push(Box::pin(disturb(web, of(Target::Web(index)), timeline)));
    }
    for (index, processor) in processors.iter_mut().enumerate() {
        all.push(Box::pin(disturb(processor, of(Target::Processor(index)), timeline)));
    }
    all.push(Box::pin(disturb(broker, of(Target::Broker), timeline)));
    all.push(Box::pin(disturb(&mut postgres, of(Target::Postgres), timeline)));
    try_join_all(all).await.map(drop)
}

/// Disturbs one program, one disturbance after the other. One that comes while the last still goes on waits for its end.
async fn disturb<V: Victim>(
    victim: &mut V,
    schedule: impl Iterator<Item = &Disturbance>,
    timeline: &Timeline,
) -> Result<()> {
    for disturbance in schedule {
        watch_until(victim, timeline.start + disturbance.at).await?;
        timeline.note(disturbance).await;
        let done = carry_out(victim, disturbance).await;
        done.with_context(|| format!("after this could not go on: {disturbance}"))?;
    }
    watch_until(victim, timeline.end).await
}

/// Waits, and notices if the program ends meanwhile.
async fn watch_until<V: Victim>(victim: &mut V, time: Instant) -> Result<()> {
    while Instant::now() < time {
        tokio::select! {
            () = sleep_until(time) => {}
            ended = victim.ended() => ended?,
        }
    }
    Ok(())
}

async fn carry_out<V: Victim>(victim: &mut V, disturbance: &Disturbance) -> Result<()> {
    match disturbance.action {
        Action::Kill => victim.kill().await?,
        Action::Stop => victim.stop().await?,
        Action::Disconnect => return victim.disconnect().await,
        Action::Freeze => {
            victim.freeze();
            sleep(disturbance.pause).await;
            victim.thaw();
            return Ok(());
        }
    }
    sleep(disturbance.pause).await;
    victim.start_again().await
}

impl Timeline {
    async fn note(&self, disturbance: &Disturbance) {
        console::line(&self.elapsed(), AnsiColors::Yellow, disturbance);
        let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
        let line = format!("{now} {} {disturbance}\n", self.elapsed());
        let file = OpenOptions::new().create(true).append(true).open(&self.file).await;
        // It is only for people who look for reasons.
        if let Ok(mut file) = file {
            let _ = file.write_all(line.as_bytes()).await;
            let _ = file.flush().await;
        }
    }

    /// The time since the start of the load.
    fn elapsed(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        format!("{:02}:{:04.1}", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// What can be disturbed, each in its own way.
trait Victim {
    async fn kill(&mut self) -> Result<()>;
    async fn stop(&mut self) -> Result<()>;
    async fn start_again(&mut self) -> Result<()>;
    fn freeze(&self);
    fn thaw(&self);
    async fn disconnect(&self) -> Result<()>;

    /// Waits until it ends by itself, and has been started again.
    async fn ended(&mut self) -> Result<()> {
        std::future::pending().await
    }
}

impl Victim for Service {
    async fn kill(&mut self) -> Result<()> {
        Self::kill(self).await
    }

    async fn stop(&mut self) -> Result<()> {
        Self::stop(self).await
    }

    async fn start_again(&mut self) -> Result<()> {
        Self::start_again(self)
    }

    fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    async fn disconnect(&self) -> Result<()> {
        self.cut_off();
        Ok(())
    }

    async fn ended(&mut self) -> Result<()> {
        Self::ended(self).await
    }
}

impl Victim for Node {
    async fn kill(&mut self) -> Result<()> {
        Self::kill(self).await
    }

    async fn stop(&mut self) -> Result<()> {
        Self::stop(self).await
    }

    async fn start_again(&mut self) -> Result<()> {
        Self::start_again(self).await
    }

    fn freeze(&self) {
        Self::freeze(self);
    }

    fn thaw(&self) {
        Self::thaw(self);
    }

    async fn disconnect(&self) -> Result<()> {
        self.close_all_connections().await
    }
}

/// PostgreSQL, with the database that the web services use.
struct Database<'a> {
    server: &'a mut Server,
    name: &'a str,
}

impl Victim for Database<'_> {
    async fn kill(&mut self) -> Result<()> {
        self.server.kill().await
    }

    async fn stop(&mut self) -> Result<()> {
        self.server.stop().await
    }

    async fn start_again(&mut self) -> Result<()> {
        self.server.start_again().await
    }

    fn freeze(&self) {
        self.server.freeze();
    }

    fn thaw(&self) {
        self.server.thaw();
    }

    async fn disconnect(&self) -> Result<()> {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        self.server.sql("postgres", &sql).await.map(drop)
    }
}
