//! A PostgreSQL server whose table is locked.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    rows::new,
    world::{World, in_the_end},
};
use crate::Health;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_does_not_wait_long_for_a_table_that_is_locked() {
    let world = World::postgres().await;
    world.store.ping().await.unwrap();
    world.sql("DROP INDEX callbacks_by_host; DELETE FROM migrations WHERE number = 16").await;
    let mut other = PgConnection::connect(world.url()).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let lock = sqlx::query("LOCK TABLE callbacks IN ROW EXCLUSIVE MODE");
    lock.execute(&mut *transaction).await.unwrap();
    let store = world.second();
    let mut health = store.health();
    let is_told =
        |health: &Health| matches!(health, Health::Away(why) if why.contains("migration 16"));
    let away = timeout(LONG, health.wait_for(is_told)).await.expect("it is told in time").unwrap();
    let reason = format!("{:?}", *away);
    assert!(reason.contains("waits for a lock on a table; another session holds it"), "{reason}");
    drop(away);
    transaction.rollback().await.unwrap();
    timeout(LONG, store.until_up()).await.expect("it is tried again");
    in_the_end(&store, || store.accept(new(Uuid::now_v7()))).await;
    let migrated = "SELECT max(number)::text FROM migrations";
    assert_eq!(world.lines(migrated).await, "16");
}
