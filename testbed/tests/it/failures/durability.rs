//! Programs are killed while thousands of requests come in: every accepted one gets its own result.

use anyhow::{Result, ensure};
use testbed::{ports, program::Running};

use crate::support::{
    database::Database,
    posting::{Posted, Posting},
    stack::{FAILED, Stack, Web},
    wait::drained,
};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 32;

/// Web services that are found where they were before, and workers.
struct Scene {
    stack: Stack,
    database: Database,
    addresses: Vec<String>,
    webs: Vec<Web>,
    processors: Vec<Running>,
}

impl Scene {
    async fn start(database: Database, webs: usize) -> Result<Self> {
        let stack = Stack::fresh().await?;
        let mut scene = Self {
            stack,
            database,
            addresses: Vec::new(),
            webs: Vec::new(),
            processors: Vec::new(),
        };
        for _ in 0..webs {
            let address = format!("127.0.0.1:{}", ports::free()?);
            scene.webs.push(scene.web_at(&address).await?);
            scene.addresses.push(address);
        }
        for _ in 0..2 {
            scene.processors.push(scene.stack.processor(8, "1ms").await?);
        }
        Ok(scene)
    }

    async fn web_at(&self, address: &str) -> Result<Web> {
        Web::start_at(self.database.program(&self.stack), address).await
    }

    fn post(&self) -> Posting {
        let bases: Vec<_> = self.webs.iter().map(|web| web.base.clone()).collect();
        Posting::start(&bases, CLIENTS, REQUESTS)
    }

    /// Kills a web service and starts it again at its address.
    async fn restart_web(&mut self, number: usize) -> Result<()> {
        let web = &self.webs[number];
        web.program.kill();
        web.program.wait().await?;
        self.webs[number] = self.web_at(&self.addresses[number]).await?;
        Ok(())
    }

    /// Kills a processor and starts another.
    async fn restart_processor(&mut self, number: usize) -> Result<()> {
        self.processors[number].kill();
        self.processors[number].wait().await?;
        self.processors[number] = self.stack.processor(8, "1ms").await?;
        Ok(())
    }

    /// All that was accepted has its own result, wherever one asks; what nobody knew of is not
    /// there, or has its own result too; and nothing is left over.
    async fn ends_well(self, posted: Posted) -> Result<()> {
        ensure!(posted.accepted.len() >= REQUESTS, "{} were accepted", posted.accepted.len());
        let foreign = self.stack.foreign().await?;
        drained(&foreign).await?;
        for web in &self.webs {
            web.has_nothing_queued().await?;
            web.has_completed(&posted.accepted).await?;
            for unknown in &posted.unknown {
                if web.ask(&unknown.0, 0).await?.status() != 404 {
                    web.has_completed(std::slice::from_ref(unknown)).await?;
                }
            }
            let failed = web.get("/api/v1/requests?status=failed").await?.text().await?;
            ensure!(failed.contains(r#""items":[]"#), "some failed: {failed}");
        }
        ensure!(foreign.depth(FAILED).await?.messages == 0, "something is on the failed queue");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_survive_two_web_services_on_postgresql_being_killed() -> Result<()> {
    let mut scene = Scene::start(Database::postgres().await, 2).await?;
    let posting = scene.post();
    posting.reaches(1_000).await?;
    scene.restart_web(0).await?;
    posting.reaches(2_500).await?;
    scene.restart_processor(0).await?;
    posting.reaches(4_000).await?;
    scene.restart_web(1).await?;
    posting.reaches(5_500).await?;
    scene.restart_processor(1).await?;
    posting.reaches(7_000).await?;
    // Both at once: for a moment nobody is there.
    scene.webs[1].program.kill();
    scene.restart_web(0).await?;
    scene.restart_web(1).await?;
    scene.ends_well(posting.finish().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_survive_the_web_service_on_sqlite_being_killed() -> Result<()> {
    let mut scene = Scene::start(Database::sqlite()?, 1).await?;
    let posting = scene.post();
    posting.reaches(2_000).await?;
    scene.restart_web(0).await?;
    posting.reaches(4_000).await?;
    scene.restart_processor(0).await?;
    posting.reaches(6_000).await?;
    scene.restart_processor(1).await?;
    scene.restart_web(0).await?;
    scene.ends_well(posting.finish().await?).await
}
