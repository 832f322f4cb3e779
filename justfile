# One-liners; `just` lists them.

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
    cargo clippy --release --locked --all-targets -- -D warnings

demo *args:
    scripts/run {{args}}
