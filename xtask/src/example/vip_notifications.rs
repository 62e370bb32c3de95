//! The example `vip-notifications`: two VIP services share the notifications of a VIP's account, and a refresh
//! changes who is a VIP in all running services.

use std::fs;

use anyhow::Result;
use pipeline::log_messages::{CONSUMING, LISTENING};
use reqwest::Method;
use testbed::Program;

use super::stage::{Stage, base_url};
use crate::console;

const VIP_SERVICES: [&str; 2] = ["vip-1", "vip-2"];

/// Starts the three services, one of them twice, and shows them at work.
pub(super) async fn show(stage: &mut Stage) -> Result<()> {
    write_settings(stage, "10000")?;
    let program = Program::new("config-service")
        .env("AMQP_URL", stage.node().url())
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("CONFIG_FOLDER", stage.folder());
    let config = base_url(&stage.start("config", program, LISTENING).await?)?;
    let program = |name| Program::new(name).env("CONFIG_URL", &config);
    for label in VIP_SERVICES {
        stage.start(label, program("vip-service"), CONSUMING).await?;
    }
    let accounts = base_url(&stage.start("account", program("account-service"), LISTENING).await?)?;

    let text = "account 10000 is a VIP's: of four notifications each VIP service gets two";
    console::step("example", text);
    for _ in 0..4 {
        read(stage, &accounts, "10000").await?;
    }
    read(stage, &accounts, "10001").await?;
    for label in VIP_SERVICES {
        stage.logs(label, 2, r#""accountId":"10000","readAt""#).await?;
    }

    console::step("example", "now 10001 is a VIP's, and all services are told");
    write_settings(stage, "10001")?;
    for app in ["account-service", "vip-service"] {
        stage.call(Method::POST, &format!("{config}/refresh/{app}"), None).await?;
    }
    for label in VIP_SERVICES.into_iter().chain(["account"]) {
        stage.logs(label, 1, r#""vips":"10001""#).await?;
    }
    read(stage, &accounts, "10001").await?;
    read(stage, &accounts, "10000").await
}

/// Reads an account, as a user would.
async fn read(stage: &Stage, accounts: &str, id: &str) -> Result<()> {
    stage.call(Method::GET, &format!("{accounts}/accounts/{id}"), None).await.map(drop)
}

/// Writes the settings of both apps into the folder of the config service.
fn write_settings(stage: &Stage, vip: &str) -> Result<()> {
    let settings =
        format!("brokerUrl: {}\nport: 0\nlogLevel: info\nvips: [\"{vip}\"]\n", stage.node().url());
    for app in ["account-service", "vip-service"] {
        let folder = stage.folder().join(app);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("dev.yaml"), &settings)?;
    }
    Ok(())
}
