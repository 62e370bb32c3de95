//! The rules for the sources: who may import, name and depend on what. See ARCHITECTURE.md.

mod circles;
mod dependencies;
mod files;
mod folders;
mod imports;
mod sources;
mod words;
