//! The sources and documents keep to the rules of this project.

mod docs;
mod guarantees;
mod tidy;
