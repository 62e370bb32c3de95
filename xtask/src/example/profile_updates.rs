//! The example `profile-updates`: a name that the follower takes, and one that it refuses, which is undone.

use anyhow::Result;
use pipeline::log_messages::{CONSUMING, LISTENING};
use reqwest::Method;
use testbed::Program;

use super::stage::{Stage, base_url};
use crate::console;

/// How the log shows that a message was handled.
const HANDLED: &str = r#""message":"handled""#;

/// Starts both services and shows them at work.
pub(super) async fn show(stage: &mut Stage) -> Result<()> {
    let broker = stage.node().url();
    let program = |name: &str, database| {
        Program::new(name).env("AMQP_URL", &broker).env("DATABASE", database)
    };
    let profile = program("profile-service", "profile.db");
    let profile = base_url(&stage.start("profile", profile, LISTENING).await?)?;
    let follower = program("profile-follower", "follower.db");
    let follower = base_url(&stage.start("follower", follower, LISTENING).await?)?;
    stage.logs("follower", 1, CONSUMING).await?;

    console::step("example", "a user gets a name, and the follower keeps a copy");
    rename(stage, &profile, "Ada+Lovelace").await?;
    stage.logs("follower", 1, HANDLED).await?;
    stage.call(Method::GET, &format!("{follower}/users/7"), None).await?;

    console::step(
        "example",
        "the follower refuses a name of more than 40 characters, and it is undone",
    );
    rename(stage, &profile, "Augusta+Ada+King,+Countess+of+Lovelace,+born+Byron").await?;
    stage.logs("profile", 1, HANDLED).await?;
    stage.call(Method::GET, &format!("{profile}/users/7"), None).await?;
    stage.call(Method::GET, &format!("{follower}/users/7"), None).await?;

    console::step("example", "an announcement goes to every queue");
    let text = Some((FORM, "text=closed+on+Monday".to_owned()));
    stage.call(Method::POST, &format!("{profile}/announcements"), text).await?;
    // The update, the refused update, its rollback and the announcement.
    stage.logs("follower", 4, HANDLED).await?;
    stage.call(Method::GET, &format!("{follower}/announcements"), None).await.map(drop)
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn rename(stage: &Stage, profile: &str, full_name: &str) -> Result<String> {
    let form = Some((FORM, format!("full_name={full_name}")));
    stage.call(Method::POST, &format!("{profile}/users/7"), form).await
}
