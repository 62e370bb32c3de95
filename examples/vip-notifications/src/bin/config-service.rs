//! The program `config-service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vip_notifications::config_service::run()
}
