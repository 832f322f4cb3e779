# Short commands; `just` lists them.

default:
    @just --list

setup:
    scripts/setup

test *args:
    scripts/test {{args}}

ci:
    .ci/run

lint:
    cargo fmt --check
    cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    cargo clippy --release --locked --all-targets -- -D warnings

fuzz *args:
    scripts/fuzz/run {{args}}

demo *args:
    scripts/run {{args}}
