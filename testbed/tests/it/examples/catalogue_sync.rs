//! The example `catalogue-sync`: two databases that agree in the end, whatever was killed.

use anyhow::{Context, Result, ensure};
use outbox::{inbox::HANDLED, outbox::PUBLISHED};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::{
    foreign::{Foreign, persistent},
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use super::service::{Service, answer, succeeds};

struct Catalogue {
    admin: Service,
    public: Service,
}

impl Catalogue {
    async fn start(broker: &str) -> Result<Self> {
        let public = Service::start("catalogue-public", broker).await?;
        let admin = Service::start("catalogue-admin", broker).await?;
        Ok(Self { admin, public })
    }

    /// Creates a product and gives its id.
    async fn create(&self, title: &str) -> Result<i64> {
        let product = json!({"title": title, "image": format!("{title}.jpg")});
        let created = self.admin.request(Method::POST, "/products").json(&product);
        succeeds(created).await?["id"].as_i64().context("an id")
    }

    async fn update(&self, id: i64, title: &str) -> Result<Value> {
        let details = json!({"title": title, "image": "new.jpg"});
        let update = self.admin.request(Method::PUT, &format!("/products/{id}"));
        succeeds(update.json(&details)).await
    }

    async fn delete(&self, id: i64) -> Result<Value> {
        succeeds(self.admin.request(Method::DELETE, &format!("/products/{id}"))).await
    }

    async fn like(&self, id: i64) -> Result<Value> {
        succeeds(self.public.request(Method::POST, &format!("/products/{id}/like"))).await
    }

    /// Waits until both services show these products.
    async fn agrees(&self, products: &Value) -> Result<()> {
        self.admin.shows("/products", products).await?;
        self.public.shows("/products", products).await
    }
}

/// A node with a TLS listener and, as CloudAMQP makes it, a user and a virtual host of the same name.
async fn hosted() -> Result<(Node, String)> {
    let options = NodeOptions { tls: true, ..NodeOptions::default() };
    let node = Node::start(&shared_node::install().await?, options).await?;
    node.ctl(&["add_vhost", "cqxkzfdh"]).await?;
    node.add_user("cqxkzfdh", "9sVb/Aq@7", "cqxkzfdh", [".*", ".*", ".*"]).await?;
    let port = node.tls_address()?.rsplit_once(':').context("a port")?.1.to_owned();
    let ca = node.ca_file();
    let place = format!("localhost:{port}/cqxkzfdh?cacertfile={}", ca.display());
    let url = format!("amqps://cqxkzfdh:9sVb%2FAq%407@{place}");
    Ok((node, url))
}

#[tokio::test]
async fn catalogues_agree_after_both_services_were_killed_and_the_broker_restarted() -> Result<()> {
    let (mut node, url) = hosted().await?;
    let mut catalogue = Catalogue::start(&url).await?;
    for (title, id) in [("Tea", 1), ("Milk", 2), ("Sugar", 3)] {
        ensure!(catalogue.create(title).await? == id);
    }
    let product = |id: i64, title: &str, image: &str, version: i64, likes: i64| json!({"id": id, "title": title, "image": image, "version": version, "likes": likes});
    let milk = |likes| product(2, "Milk", "Milk.jpg", 1, likes);
    let (tea, sugar) = (product(1, "Tea", "Tea.jpg", 1, 0), product(3, "Sugar", "Sugar.jpg", 1, 0));
    catalogue.agrees(&json!([tea, milk(0), sugar])).await?;

    // Calls are answered while the broker is away, and nothing of them is lost.
    node.stop().await?;
    for number in 1..=20 {
        catalogue.update(1, &format!("Tea {number}")).await?;
        catalogue.like(2).await?;
    }
    catalogue.like(3).await?;
    catalogue.delete(3).await?;
    ensure!(catalogue.create("Honey").await? == 4);

    // Both are killed while they work off what has piled up.
    let (published, handled) =
        (catalogue.admin.process.from_now(), catalogue.public.process.from_now());
    node.start_again().await?;
    published.wait_for_message(PUBLISHED).await?;
    catalogue.admin.kill_and_start_again().await?;
    handled.wait_for_message(HANDLED).await?;
    catalogue.public.kill_and_start_again().await?;

    let honey = product(4, "Honey", "Honey.jpg", 1, 0);
    let tea = product(1, "Tea 20", "new.jpg", 21, 0);
    catalogue.agrees(&json!([tea, milk(20), honey])).await?;
    catalogue.like(4).await?;
    catalogue.agrees(&json!([tea, milk(20), product(4, "Honey", "Honey.jpg", 1, 1)])).await?;
    catalogue.admin.stop().await?;
    catalogue.public.stop().await
}

#[tokio::test]
async fn a_change_that_is_longer_than_the_broker_takes_does_not_hold_up_others() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    node.set_max_message_size(1000).await?;
    let catalogue = Catalogue::start(&node.url()).await?;
    let long = json!({"title": "Long", "image": "x".repeat(1000)});
    succeeds(catalogue.admin.request(Method::POST, "/products").json(&long)).await?;
    let tea = catalogue.create("Tea").await?;
    let shown = json!([{"id": tea, "title": "Tea", "image": "Tea.jpg", "version": 1, "likes": 0}]);
    catalogue.public.shows("/products", &shown).await?;
    let file = rusqlite::Connection::open(catalogue.admin.database())?;
    let refused: String = file.query_row("SELECT refused FROM outbox", [], |row| row.get(0))?;
    ensure!(refused.contains("the broker takes 1000 at most"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn messages_of_the_catalogue_have_a_type_and_come_in_order() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let admin = Service::start("catalogue-admin", &vhost.url).await?;
    for (method, path) in
        [(Method::POST, "/products"), (Method::PUT, "/products/1"), (Method::DELETE, "/products/1")]
    {
        succeeds(admin.request(method, path).json(&json!({"title": "Tea"}))).await?;
    }
    // Then the queue is there.
    admin.process.wait_for_message(PUBLISHED).await?;
    let foreign = Foreign::connect(&vhost.url).await?;
    let mut messages = foreign.consume("main", 1).await?;
    for (kind, body) in [
        ("product_created", json!({"id": 1, "title": "Tea", "image": "", "version": 1})),
        ("product_updated", json!({"id": 1, "title": "Tea", "image": "", "version": 2})),
        ("product_deleted", json!({"id": 1, "version": 3})),
    ] {
        let message = messages.next().await?;
        let properties = &message.properties;
        ensure!(properties.kind().as_ref().is_some_and(|it| it.as_str() == kind), "{message:?}");
        ensure!(properties.delivery_mode() == &Some(2) && properties.message_id().is_some());
        assert_eq!(message.json()?, body);
    }
    let (status, error) = answer(admin.request(Method::GET, "/products/1")).await?;
    ensure!(status == 404 && error["error"] == "there is no product 1", "{status} {error}");
    let nameless = admin.request(Method::POST, "/products").json(&json!({"title": " "}));
    ensure!(answer(nameless).await?.0 == 422);
    Ok(())
}

#[tokio::test]
async fn copies_late_messages_and_nonsense_do_not_change_the_catalogue() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let catalogue = Catalogue::start(&vhost.url).await?;
    let foreign = Foreign::connect(&vhost.url).await?;
    let tea = catalogue.create("Tea").await?;
    catalogue.update(tea, "Green tea").await?;
    let shown = |likes: i64| json!([{"id": tea, "title": "Green tea", "image": "new.jpg", "version": 2, "likes": likes}]);
    catalogue.agrees(&shown(0)).await?;

    let send = async |queue: &str, kind: &str, id: &str, body: Value| {
        let properties = persistent().with_type(kind.into()).with_message_id(id.into());
        foreign.publish("", queue, properties, body.to_string().as_bytes()).await
    };
    let late = json!({"id": tea, "title": "Tea", "image": "", "version": 1});
    send("main", "product_created", "late", late).await?;
    send("main", "product_eaten", "unknown", json!({"id": tea})).await?;
    send("main", "product_updated", "no body", json!(null)).await?;
    for _ in 0..2 {
        send("admin", "product_liked", "like", json!({"id": tea})).await?;
    }
    // What follows shows that everything before it was handled.
    send("admin", "product_liked", "next like", json!({"id": tea})).await?;
    catalogue.admin.shows("/products", &shown(2)).await?;
    let honey = catalogue.create("Honey").await?;
    let path = format!("/products/{honey}");
    catalogue.public.becomes(&path, |status, _| status == 200).await?;
    catalogue.delete(honey).await?;
    catalogue.public.shows("/products", &shown(0)).await?;
    let file = rusqlite::Connection::open(catalogue.public.database())?;
    let aside = "SELECT group_concat(message_id, ', ') FROM set_aside";
    let aside: String = file.query_row(aside, [], |row| row.get(0))?;
    assert_eq!(aside, "unknown, no body");
    Ok(())
}
