//! The program `processor-service`: processes requests as `PROCESSOR` says.

use std::process::ExitCode;

fn main() -> ExitCode {
    processor_service::main_of_chosen_processor()
}
