//! The program `profile-service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    profile_updates::profile::service().main()
}
