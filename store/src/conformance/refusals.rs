//! A PostgreSQL server that takes no more connections, or has locked a table.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    rows::new,
    world::{World, in_the_end, open},
};
use crate::{Cancel, Health, StoreError};

const LONG: Duration = Duration::from_secs(60);

/// The URL for a new role that may do what the store does, and whose connections can be limited.
async fn url_of(world: &World, role: &str) -> String {
    world.store.ping().await.unwrap();
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT ALL ON SCHEMA public TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    world.sql(&create).await;
    let (_, place) = world.url().split_once('@').unwrap();
    format!("postgres://{role}:secret@{place}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_a_connection_is_available_to_the_others() {
    let world = World::postgres().await;
    let role = format!("limited_{}", Uuid::now_v7().simple());
    let store = open(&url_of(&world, &role).await);
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    let mut health = store.health();
    health.mark_unchanged();
    world.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await;
    let refused = store.cancel(id).await;
    let is_told = |why: &str| why.contains("too many connections");
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if is_told(why)), "{refused:?}");
    store.accept(new(Uuid::now_v7())).await.unwrap();
    assert!(!health.has_changed().unwrap(), "it was away for a while");
    world.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await;
    assert_eq!(store.cancel(id).await.unwrap(), Cancel::Done(0));
    store.close().await;
    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_the_connection_that_records_requests_is_unavailable() {
    let world = World::postgres().await;
    let role = format!("limited_{}", Uuid::now_v7().simple());
    let store = open(&url_of(&world, &role).await);
    timeout(LONG, store.until_up()).await.expect("it is opened");
    world.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await;
    let refused = store.accept(new(Uuid::now_v7())).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let health = format!("{:?}", *store.health().borrow());
    assert!(health.starts_with("Away") && health.contains("too many connections"), "{health}");
    world.sql(&format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await;
    timeout(LONG, store.until_up()).await.expect("it is opened again");
    store.accept(new(Uuid::now_v7())).await.unwrap();
    store.close().await;
    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

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
