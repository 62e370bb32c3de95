# The same commands as in the README, for those who have just. `just` alone lists them.

# List the recipes
default:
    @just --list --unsorted

# Show the whole system at work on the broker of .env or a private one
demo *args:
    cargo xtask demo {{args}}

# Run a web service and a worker on the broker of .env or a private one, and keep their data
dev *args:
    cargo xtask dev {{args}}

# Declare the exchange and the queues on the broker of .env
setup *args:
    exec cargo run --bin setup -- {{args}}

# Run a web service
web *args:
    exec cargo run --bin web-service -- {{args}}

# Run a processor; run it again in another terminal to scale
processor *args:
    exec cargo run --bin processor-service -- {{args}}

# Run the tests on private brokers
test *args:
    cargo xtask test {{args}}

# Kill, freeze and cut off programs at random under load, and check every promise
soak *args:
    cargo xtask soak {{args}}

# Check format, lints, docs, licences
lint:
    cargo xtask lint
