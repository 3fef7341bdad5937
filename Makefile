# Each line calls something a person could type.
.PHONY: setup browser build install man farm demo test test-faults lint bench bench-queue bench-zoom train-demo measure-demo measure-zoom release-check

setup:
	scripts/setup.sh

# A browser for the tests of the gallery and the web page; rendering needs none.
browser:
	scripts/setup.sh --browser

build: setup
	cargo build --release --workspace

# A manual page for each command, in out/man.
man: build
	target/release/vqfarm man --dir out/man

# Programs, demo models, manual pages and completions. They go on using the libtorch of this folder.
PREFIX ?= $(HOME)/.local
SHARE = $(DESTDIR)$(PREFIX)/share
install: man
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/vqfarm/models \
	  $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install target/release/vqfarm target/release/vqfarm-worker target/release/vqfarm-coordinator $(DESTDIR)$(PREFIX)/bin
	install -m 644 out/man/*.1 $(SHARE)/man/man1
	install -m 644 assets/models/*.safetensors $(SHARE)/vqfarm/models
	target/release/vqfarm completions bash --program $(PREFIX)/bin/vqfarm > $(SHARE)/bash-completion/completions/vqfarm
	target/release/vqfarm completions zsh --program $(PREFIX)/bin/vqfarm > $(SHARE)/zsh/site-functions/_vqfarm
	target/release/vqfarm completions fish --program $(PREFIX)/bin/vqfarm > $(SHARE)/fish/vendor_completions.d/vqfarm.fish

# The whole-system tests run the programs, so these are built first.
test: build browser
	cargo test --release --workspace

# Every fault of docs/reliability.md, those that take minutes too.
test-faults: build
	cargo test --release -p vqfarm-tests --features slow-faults --test 'faults_*' --test 'farm_*'

# Redis, an S3 server, a coordinator and two workers on this machine, until Ctrl-C.
farm: build
	scripts/farm.sh

# Goes on where it was interrupted.
demo: build
	target/release/vqfarm render examples/sweep.toml --out out/demo
	target/release/vqfarm render examples/zoom.toml --out out/zoom

# Iterations a second at the published models' sizes, and where the time goes.
bench: build
	target/release/vqfarm-worker bench

# Leases and commits a second with up to 1,000 workers, beside bare calls of the same Redis.
bench-queue: setup
	cargo run --release -p vqfarm-queue --example bench

# A short zoom on real farms of one and two workers, beside what its plan says.
bench-zoom: build
	scripts/bench-zoom.sh

lint: setup
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

# What must hold before a version is tagged.
release-check:
	scripts/release-check.sh

# On a GPU a quarter of an hour; on CPUs days, where DEVICE=cpu.
DEVICE ?= auto
TRAIN = --device $(DEVICE) --bf16 --draw-threads 4
train-demo: build
	target/release/vqfarm-demo train generator $(TRAIN) --work out/train/generator --batch 64 --rate 4e-4 --steps 8000 --seed 4
	target/release/vqfarm-demo export --work out/train --models out/train/models
	target/release/vqfarm-demo train perceptor $(TRAIN) --work out/train/perceptor --batch 256 --rate 1.2e-3 --radius 6 --steps 4000 --seed 41 \
	  --generator out/train/models/demo-f8.safetensors
	target/release/vqfarm-demo train perceptor $(TRAIN) --work out/train/judge --batch 256 --rate 1.2e-3 --radius 0 --steps 4000 --seed 42
	target/release/vqfarm-demo export --work out/train --models assets/models

measure-demo: build
	target/release/vqfarm-demo measure --models assets/models --out out/measure

# Zooms and chains of the same scenes and cameras: how steady, how true to the prompt, how seamless.
measure-zoom: build
	scripts/measure-zoom.sh
