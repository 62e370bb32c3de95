//! The private PostgreSQL: a database for each test, kills and freezes.

use anyhow::Result;
use testbed::postgres::{Install, Server, database};

async fn server() -> Result<Server> {
    Server::start(&Install::find_or_unpack(&|line| println!("{line}")).await?).await
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own_on_one_server() -> Result<()> {
    let ((mine, my_name), (yours, your_name)) = tokio::join!(database(), database());
    assert_eq!(mine.port, yours.port);
    mine.sql(&my_name, "CREATE TABLE mine (n int)").await?;
    assert!(yours.sql(&your_name, "SELECT n FROM mine").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_what_it_had() -> Result<()> {
    let mut server = server().await?;
    let name = server.create_database().await?;
    server.sql(&name, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").await?;
    server.kill().await?;
    assert!(server.sql(&name, "SELECT n FROM kept").await.is_err());
    server.start_again().await?;
    assert_eq!(server.sql(&name, "SELECT n FROM kept").await?, ["7"]);
    server.stop().await?;
    server.start_again().await?;
    assert_eq!(server.sql(&name, "SELECT n FROM kept").await?, ["7"]);
    assert_eq!(server.sql(&name, "SHOW fsync").await?, ["on"]);
    Ok(())
}

#[tokio::test]
async fn a_frozen_server_answers_when_it_is_thawed() -> Result<()> {
    let server = server().await?;
    server.freeze();
    let question = server.sql("postgres", "SELECT 1");
    tokio::pin!(question);
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), &mut question).await;
    assert!(silence.is_err(), "a frozen server says nothing");
    server.thaw();
    assert_eq!(question.await?, ["1"]);
    Ok(())
}
