//! The program `profile-follower`.

use std::process::ExitCode;

fn main() -> ExitCode {
    profile_updates::follower::service().main()
}
