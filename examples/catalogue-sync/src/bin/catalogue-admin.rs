//! The program `catalogue-admin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    catalogue_sync::admin::service().main()
}
