//! Public service: shows the products that the admin service reports, and takes likes.

use actix_web::web::{Data, Json, Path, ServiceConfig, resource};
use outbox::{
    database::Database,
    http::HttpError,
    inbox::{Handled, Incoming},
    outbox::put,
    service::Service,
};
use rusqlite::Transaction;

use crate::{
    messages::{CatalogueMessage, Changed, Deleted, Liked},
    product::{self, Product},
    topology::{self, MAIN},
};

/// A deleted product leaves its row, whose version shows that an earlier message comes too late.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS products (
        id INTEGER PRIMARY KEY,
        title TEXT NOT NULL,
        image TEXT NOT NULL,
        version INTEGER NOT NULL,
        likes INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL
    );";

const ALL: &str =
    "SELECT id, title, image, version, likes FROM products WHERE NOT deleted ORDER BY id";
const ONE: &str =
    "SELECT id, title, image, version, likes FROM products WHERE id = ?1 AND NOT deleted";
const LIKE: &str = "UPDATE products SET likes = likes + 1 WHERE id = ?1 AND NOT deleted";
const APPLY: &str = "INSERT INTO products (id, title, image, version, deleted) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET (title, image, version, deleted) = (?2, ?3, ?4, ?5) WHERE version < ?4";

/// The service.
pub fn service() -> Service {
    Service {
        name: "catalogue-public",
        about: "Shows the products of the catalogue, and takes likes.",
        tables: TABLES,
        topology: topology::catalogue,
        queue: MAIN,
        handler,
        routes,
    }
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/products").get(list))
        .service(resource("/products/{id}").get(get))
        .service(resource("/products/{id}/like").post(like));
}

async fn list(database: Data<Database>) -> Result<Json<Vec<Product>>, HttpError> {
    Ok(Json(database.read(|transaction| product::select(transaction, ALL, [])).await?))
}

async fn get(database: Data<Database>, id: Path<i64>) -> Result<Json<Product>, HttpError> {
    database.read(move |transaction| find(transaction, *id)).await.map(Json)
}

async fn like(database: Data<Database>, id: Path<i64>) -> Result<Json<Product>, HttpError> {
    let like = move |transaction: &Transaction<'_>| {
        transaction.execute(LIKE, [*id])?;
        let product = find(transaction, *id)?;
        put(transaction, &CatalogueMessage::Liked(Liked { id: *id }).outgoing())?;
        Ok(product)
    };
    database.write(like).await.map(Json)
}

fn find(transaction: &Transaction<'_>, id: i64) -> Result<Product, HttpError> {
    let product = product::select(transaction, ONE, [id])?.pop();
    product.ok_or_else(|| HttpError::NotFound(format!("product {id}")))
}

/// Applies a change, unless a later one was applied already.
fn handler(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
    let (product, deleted) = match CatalogueMessage::read(incoming) {
        Ok(CatalogueMessage::Created(product) | CatalogueMessage::Updated(product)) => {
            (product, false)
        }
        Ok(CatalogueMessage::Deleted(Deleted { id, version })) => {
            (Changed { id, version, title: String::new(), image: String::new() }, true)
        }
        Ok(CatalogueMessage::Liked(_)) => {
            return Ok(Handled::SetAside("it is meant for the admin service".to_owned()));
        }
        Err(unreadable) => return Ok(Handled::SetAside(unreadable.to_string())),
    };
    let Changed { id, title, image, version } = product;
    transaction.execute(APPLY, (id, title, image, version, deleted))?;
    Ok(Handled::Done)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn changed(title: &str, version: i64) -> Changed {
        Changed { id: 1, title: title.to_owned(), image: String::new(), version }
    }

    /// The titles that are shown after these messages came in this order.
    fn shown(messages: &[&CatalogueMessage]) -> Vec<String> {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let transaction = connection.transaction().unwrap();
        for message in messages {
            let sent = message.outgoing();
            let incoming = Incoming {
                message_id: None,
                routing_key: MAIN.to_owned(),
                kind: sent.properties.kind.unwrap().into_owned(),
                body: sent.body,
            };
            assert_eq!(handler(&transaction, &incoming), Ok(Handled::Done));
        }
        let products = product::select(&transaction, ALL, []).unwrap();
        products.into_iter().map(|product| product.title).collect()
    }

    #[test]
    fn the_last_change_counts_in_whatever_order_the_messages_come() {
        let created = &CatalogueMessage::Created(changed("Tea", 1));
        let updated = &CatalogueMessage::Updated(changed("Green tea", 2));
        let deleted = &CatalogueMessage::Deleted(Deleted { id: 1, version: 3 });
        assert_eq!(shown(&[created, updated]), ["Green tea"]);
        assert_eq!(shown(&[updated, created, updated]), ["Green tea"]);
        assert_eq!(shown(&[created, updated, deleted]), [""; 0]);
        assert_eq!(shown(&[deleted, created, updated]), [""; 0]);
        assert_eq!(shown(&[updated, deleted, created]), [""; 0]);
    }
}
