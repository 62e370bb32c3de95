//! Prints the OpenAPI document, for `docs/openapi.json`.

fn main() {
    print!("{}", web_service::generate_openapi());
}
