//! The program `catalogue-public`.

use std::process::ExitCode;

fn main() -> ExitCode {
    catalogue_sync::public::service().main()
}
