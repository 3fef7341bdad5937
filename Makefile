# Each line calls something a person could type.
.PHONY: setup build demo test lint bench train-demo

setup:
	scripts/setup.sh

build: setup
	cargo build --release

test: setup
	cargo test --release --workspace

lint: setup
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
