//! A request as JSON, for the API and for webhooks.

pub mod request;
