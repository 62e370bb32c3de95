//! The same with a real PgBouncer, which may have to be downloaded first.

use anyhow::{Result, bail};
use serde_json::json;
use testbed::{
    Program,
    postgres::{PoolMode, Pooler},
};

use crate::support::{
    database::Database,
    stack::{Stack, Web},
};

/// A pooler in front of a database of its own, and a web service behind it, yet to be started.
async fn behind_pooler(stack: &Stack, mode: PoolMode) -> Result<(Pooler, Program)> {
    let Database::Server { access, name } = Database::postgres().await else { bail!("a file") };
    let pooler = Pooler::start(&access, mode, &|line| eprintln!("testbed: {line}")).await?;
    let program = stack.program("web-service").env("DATABASE_URL", pooler.url(&name));
    Ok((pooler, program))
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_named_and_nothing_is_accepted() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (_pooler, program) = behind_pooler(&stack, PoolMode::Transaction).await?;
    let web = Web::start_without_broker(program).await?;
    for _ in 0..20 {
        web.not_ready("store", "use pool_mode=session").await?;
        let answer = web.post_body(r#"{"data":1}"#).await?;
        assert_eq!(answer.status(), 503, "{}", answer.text().await?);
    }
    Ok(())
}

#[tokio::test]
async fn behind_a_pooler_in_session_mode_everything_works() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (_pooler, program) = behind_pooler(&stack, PoolMode::Session).await?;
    let (web, _processor) = tokio::try_join!(Web::start(program), stack.start_faulty(1, "1s"))?;
    for _ in 0..20 {
        let data = json!({"fail": 1});
        let id = web.accepted(data.clone()).await?;
        assert_eq!(web.ended(&id).await?["processingResults"], data);
    }
    let id = web.accepted(json!({"permanent": "no"})).await?;
    assert_eq!(web.ended(&id).await?["status"], "failed");
    assert_eq!(web.replay(&id).await?.0, 202);
    assert_eq!(web.list("limit=100").await?["items"].as_array().map(Vec::len), Some(21));
    web.ready().await
}
