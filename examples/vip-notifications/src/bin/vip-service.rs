//! The program `vip-service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vip_notifications::vip_service::run()
}
