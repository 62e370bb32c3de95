//! Admin service: creates, changes and deletes products, and counts the likes that the public service reports.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, ServiceConfig, resource},
};
use outbox::{
    database::Database,
    http::HttpError,
    inbox::{Handled, Incoming},
    outbox::put,
    service::Service,
};
use rusqlite::{OptionalExtension, Transaction};

use crate::{
    messages::{CatalogueMessage, Changed, Deleted, Liked},
    product::{self, Details, Product},
    topology::{self, ADMIN},
};

/// `AUTOINCREMENT` never gives the id of a deleted product to another one.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS products (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        image TEXT NOT NULL,
        version INTEGER NOT NULL,
        likes INTEGER NOT NULL
    );";

const ALL: &str = "SELECT id, title, image, version, likes FROM products ORDER BY id";
const ONE: &str = "SELECT id, title, image, version, likes FROM products WHERE id = ?1";

/// The service.
pub fn service() -> Service {
    Service {
        name: "catalogue-admin",
        about: "Creates, changes and deletes products, and counts their likes.",
        tables: TABLES,
        topology: topology::catalogue,
        queue: ADMIN,
        handler,
        routes,
    }
}

fn routes(config: &mut ServiceConfig) {
    let products = resource("/products").get(list).post(create);
    config
        .service(products)
        .service(resource("/products/{id}").get(get).put(update).delete(delete));
}

async fn list(database: Data<Database>) -> Result<Json<Vec<Product>>, HttpError> {
    Ok(Json(database.read(|transaction| product::select(transaction, ALL, [])).await?))
}

async fn get(database: Data<Database>, id: Path<i64>) -> Result<Json<Product>, HttpError> {
    database.read(move |transaction| find(transaction, *id)).await.map(Json)
}

async fn create(
    database: Data<Database>,
    details: Json<Details>,
) -> Result<HttpResponse, HttpError> {
    let product = database
        .write(move |transaction| insert(transaction, details.into_inner().checked()?))
        .await?;
    let location = format!("/products/{}", product.id);
    Ok(HttpResponse::Created().insert_header(("Location", location)).json(product))
}

async fn update(
    database: Data<Database>,
    id: Path<i64>,
    details: Json<Details>,
) -> Result<Json<Product>, HttpError> {
    let change = move |transaction: &Transaction<'_>| {
        replace(transaction, *id, details.into_inner().checked()?)
    };
    database.write(change).await.map(Json)
}

async fn delete(database: Data<Database>, id: Path<i64>) -> Result<HttpResponse, HttpError> {
    database.write(move |transaction| remove(transaction, *id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn insert(transaction: &Transaction<'_>, details: Details) -> Result<Product, HttpError> {
    let insert = "INSERT INTO products (title, image, version, likes) VALUES (?1, ?2, 1, 0)";
    transaction.execute(insert, (&details.title, &details.image))?;
    let product = find(transaction, transaction.last_insert_rowid())?;
    put(transaction, &CatalogueMessage::Created(changed(&product)).outgoing())?;
    Ok(product)
}

fn replace(transaction: &Transaction<'_>, id: i64, details: Details) -> Result<Product, HttpError> {
    let update = "UPDATE products SET title = ?2, image = ?3, version = version + 1 WHERE id = ?1";
    transaction.execute(update, (id, &details.title, &details.image))?;
    let product = find(transaction, id)?;
    put(transaction, &CatalogueMessage::Updated(changed(&product)).outgoing())?;
    Ok(product)
}

fn remove(transaction: &Transaction<'_>, id: i64) -> Result<(), HttpError> {
    let delete = "DELETE FROM products WHERE id = ?1 RETURNING version + 1";
    let version = transaction.query_row(delete, [id], |row| row.get(0)).optional()?;
    let version = version.ok_or_else(|| not_found(id))?;
    put(transaction, &CatalogueMessage::Deleted(Deleted { id, version }).outgoing())?;
    Ok(())
}

fn find(transaction: &Transaction<'_>, id: i64) -> Result<Product, HttpError> {
    product::select(transaction, ONE, [id])?.pop().ok_or_else(|| not_found(id))
}

fn not_found(id: i64) -> HttpError {
    HttpError::NotFound(format!("product {id}"))
}

fn changed(product: &Product) -> Changed {
    let Product { id, title, image, version, .. } = product.clone();
    Changed { id, title, image, version }
}

/// Counts a like. One of a product that was deleted meanwhile changes nothing.
fn handler(transaction: &Transaction<'_>, incoming: &Incoming) -> rusqlite::Result<Handled> {
    match CatalogueMessage::read(incoming) {
        Ok(CatalogueMessage::Liked(Liked { id })) => {
            let like = "UPDATE products SET likes = likes + 1 WHERE id = ?1";
            transaction.execute(like, [id])?;
            Ok(Handled::Done)
        }
        Ok(_) => Ok(Handled::SetAside("it is meant for the public service".to_owned())),
        Err(unreadable) => Ok(Handled::SetAside(unreadable.to_string())),
    }
}
