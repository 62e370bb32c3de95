//! Product: what both services show, and what a caller may set.

use outbox::http::HttpError;
use rusqlite::{Row, Transaction};
use serde::{Deserialize, Serialize};

/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// A product as both services show it. They agree when all fields are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Given by the admin service, and never to two products.
    pub id: i64,
    /// Its name.
    pub title: String,
    /// The address of a picture.
    pub image: String,
    /// 1, and one more for each change.
    pub version: i64,
    /// How often it was liked.
    pub likes: i64,
}

/// What a caller sets of a product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    /// The title.
    pub title: String,
    /// The address of a picture.
    #[serde(default)]
    pub image: String,
}

impl Details {
    /// These details, if a product can have them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn checked(self) -> Result<Self, HttpError> {
        if (1..=MAX_TITLE_CHARS).contains(&self.title.trim().chars().count()) {
            return Ok(self);
        }
        Err(HttpError::Invalid(format!("title: takes 1 to {MAX_TITLE_CHARS} characters")))
    }
}

/// Reads the products of a query with the columns `id, title, image, version, likes`.
///
/// # Errors
/// If the database can't be read.
pub fn select(
    transaction: &Transaction<'_>,
    query: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Product>> {
    transaction.prepare(query)?.query_map(parameters, product)?.collect()
}

fn product(row: &Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product {
        id: row.get("id")?,
        title: row.get("title")?,
        image: row.get("image")?,
        version: row.get("version")?,
        likes: row.get("likes")?,
    })
}
