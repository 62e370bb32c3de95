//! The program `account-service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vip_notifications::account_service::run()
}
