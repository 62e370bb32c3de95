//! Messages: what the services tell each other. The property `type` says which one it is, the body is JSON.

use outbox::inbox::Incoming;
use pipeline::{contract::Message, topology::DEFAULT_EXCHANGE};
use serde::{Deserialize, Serialize};
use serde_json::Error;

use crate::topology::{ADMIN, MAIN};

/// `product_created` and `product_updated`: the whole product, so that each can be applied without those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The product's id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// The address of its picture.
    pub image: String,
    /// Counts the changes of the product: of two messages the one with the higher version is right, whichever comes last.
    pub version: i64,
}

/// `product_deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The product's id.
    pub id: i64,
    /// As in [`Changed`]; the deletion is a change.
    pub version: i64,
}

/// `product_liked`: one like more. That it is counted once is up to its `message_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liked {
    /// The product's id.
    pub id: i64,
}

/// A message of this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogueMessage {
    /// `product_created`, from the admin service.
    Created(Changed),
    /// `product_updated`, from the admin service.
    Updated(Changed),
    /// `product_deleted`, from the admin service.
    Deleted(Deleted),
    /// `product_liked`, from the public service.
    Liked(Liked),
}

/// Why a message is none of these.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The property `type` is another one, or is missing.
    #[error("the type {0:?} is not known")]
    Type(String),
    /// The body doesn't fit the type.
    #[error("the body can't be read: {0}")]
    Body(#[from] Error),
}

impl CatalogueMessage {
    /// Reads a message. Fields that are not known are ignored: a later release may add some.
    ///
    /// # Errors
    /// If its type or its body can't be read.
    pub fn read(incoming: &Incoming) -> Result<Self, Unreadable> {
        let body = incoming.body.as_slice();
        Ok(match incoming.kind.as_str() {
            "product_created" => Self::Created(serde_json::from_slice(body)?),
            "product_updated" => Self::Updated(serde_json::from_slice(body)?),
            "product_deleted" => Self::Deleted(serde_json::from_slice(body)?),
            "product_liked" => Self::Liked(serde_json::from_slice(body)?),
            other => return Err(Unreadable::Type(other.to_owned())),
        })
    }

    /// The message for the queue of the other service.
    pub fn outgoing(&self) -> Message {
        match self {
            Self::Created(product) => message(MAIN, "product_created", product),
            Self::Updated(product) => message(MAIN, "product_updated", product),
            Self::Deleted(product) => message(MAIN, "product_deleted", product),
            Self::Liked(product) => message(ADMIN, "product_liked", product),
        }
    }
}

fn message(queue: &str, kind: &str, body: &impl Serialize) -> Message {
    Message::json(DEFAULT_EXCHANGE, queue, body).with_type(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(kind: &str, body: &[u8]) -> Incoming {
        Incoming {
            message_id: Some("1".to_owned()),
            routing_key: String::new(),
            kind: kind.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn what_one_service_writes_the_other_reads() {
        let product = Changed { id: 7, title: "Tea".into(), image: "tea.jpg".into(), version: 2 };
        for (message, queue, kind) in [
            (CatalogueMessage::Created(product.clone()), "main", "product_created"),
            (CatalogueMessage::Updated(product), "main", "product_updated"),
            (CatalogueMessage::Deleted(Deleted { id: 7, version: 3 }), "main", "product_deleted"),
            (CatalogueMessage::Liked(Liked { id: 7 }), "admin", "product_liked"),
        ] {
            let sent = message.outgoing();
            assert_eq!((sent.exchange.as_ref(), sent.routing_key.as_str()), ("", queue));
            assert_eq!(sent.properties.kind.as_deref(), Some(kind));
            assert_eq!(CatalogueMessage::read(&incoming(kind, &sent.body)).unwrap(), message);
        }
    }

    #[test]
    fn what_is_no_message_of_the_system_is_refused_with_the_reason() {
        let refused = |kind, body| CatalogueMessage::read(&incoming(kind, body)).unwrap_err();
        let reason = refused("product_eaten", br#"{"id":1}"#).to_string();
        assert_eq!(reason, "the type \"product_eaten\" is not known");
        assert!(refused("product_liked", b"{}").to_string().contains("missing field `id`"));
    }
}
