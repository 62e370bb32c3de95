//! The example `catalogue-sync`: products that the admin service creates and deletes, and likes that the public service
//! takes, over TLS.

use anyhow::Result;
use pipeline::log_messages::LISTENING;
use reqwest::Method;
use testbed::Program;

use super::stage::{Stage, base_url};
use crate::console;

/// How the log shows that a message was handled.
const HANDLED: &str = r#""message":"handled""#;

/// Starts both services and shows them at work.
pub(super) async fn show(stage: &mut Stage) -> Result<()> {
    let ca = stage.node().ca_file();
    let broker = format!("{}?cacertfile={}", stage.node().tls_url()?, ca.display());
    let program = |name: &str, database| {
        Program::new(name).env("AMQP_URL", &broker).env("DATABASE", database)
    };
    let admin = program("catalogue-admin", "admin.db");
    let admin = base_url(&stage.start("admin", admin, LISTENING).await?)?;
    let public = program("catalogue-public", "public.db");
    let public = base_url(&stage.start("public", public, LISTENING).await?)?;

    console::step(
        "example",
        "the admin service creates products, and the public service shows them",
    );
    for title in ["Tea", "Milk"] {
        let product = format!(r#"{{"title": "{title}", "image": "{title}.jpg"}}"#);
        let body = Some(("application/json", product));
        stage.call(Method::POST, &format!("{admin}/products"), body).await?;
    }
    stage.logs("public", 2, HANDLED).await?;
    stage.call(Method::GET, &format!("{public}/products"), None).await?;

    console::step("example", "the public service takes likes, and the admin service counts them");
    for _ in 0..3 {
        stage.call(Method::POST, &format!("{public}/products/1/like"), None).await?;
    }
    stage.logs("admin", 3, HANDLED).await?;
    stage.call(Method::GET, &format!("{admin}/products/1"), None).await?;

    console::step("example", "the admin service deletes a product");
    stage.call(Method::DELETE, &format!("{admin}/products/2"), None).await?;
    stage.logs("public", 3, HANDLED).await?;
    stage.call(Method::GET, &format!("{public}/products"), None).await.map(drop)
}
