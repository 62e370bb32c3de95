//! The sources and documents keep to the rules of this project.

mod deploy;
mod docs;
mod guarantees;
mod tidy;
