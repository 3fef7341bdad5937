# Each line calls something a person could type.
.PHONY: setup browser build install man book reference dist compose farm demo test test-faults test-deploy lint \
  check-dependencies release-check \
  bench bench-queue bench-bullmq bench-coordinator bench-zoom \
  measure-worker measure-start measure-cpu measure-gpu measure-precision train-demo measure-demo measure-zoom

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

# The documents as a book, in out/book.
book:
	scripts/setup.sh --book
	scripts/book.sh

# docs/reference/, which is made of the code: tests fail where it is not what the code says.
reference: setup
	UPDATE_REFERENCE=1 cargo test --release --workspace --lib --bins -- the_reference_is_what_the_code_says

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

# One archive that runs on a machine with only a driver; CUDA=DIR adds the GPU's libraries (scripts/dist.sh).
dist: build
	scripts/setup.sh --deploy
	scripts/dist.sh $(if $(CUDA),--cuda $(CUDA))

# A whole farm in containers on this machine, with CUDA=DIR on its GPUs (docs/deploying.md): the
# coordinator's image is made of the small archive in any case.
COMPOSE = docker compose -f deploy/compose/compose.yaml $(if $(CUDA),-f deploy/compose/compose.gpu.yaml)
compose: dist
	$(if $(CUDA),scripts/dist.sh)
	deploy/compose/init.sh
	$(COMPOSE) up --build --detach

# The whole-system tests run the programs, so these are built first.
test: build browser check-dependencies
	cargo test --release --workspace

# Every fault of docs/reliability.md, those that take minutes too.
test-faults: build
	cargo test --release -p vqfarm-tests --features slow-faults --test 'faults_*' --test 'farm_*'

# What is in deploy/: the archive in a bare system, images, Compose, Helm, Slurm, systemd, dashboards.
test-deploy: dist
	deploy/test.sh

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

# The queue beside BullMQ, which npm puts into a temporary folder.
bench-bullmq: setup
	scripts/bench-bullmq.sh

# A coordinator with a long history, many watchers and a huge job.
bench-coordinator: build
	scripts/bench-coordinator.sh

# A short zoom on real farms of one and two workers, beside what its plan says.
bench-zoom: build
	scripts/bench-zoom.sh

# How busy a worker's device is over a sweep of 200 cells, with a store that is slow.
measure-worker: build
	cargo build --release -p vqfarm-tests --example measure_worker
	scripts/measure-worker.sh

# How long a worker takes to its first lease and picture, with models of real sizes.
measure-start: build
	scripts/measure-start.sh

lint: setup
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

# Licences, bans, sources and advisories of what is built in; the rules are in deny.toml.
check-dependencies:
	scripts/setup.sh --dependencies
	scripts/check-dependencies.sh

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

# All that docs/performance.md wants to know of a GPU, the original beside it: less than five minutes.
measure-gpu: build
	cargo build --release --workspace --example shared_weights
	scripts/measure-gpu.sh

# One picture on a CPU, the original's loop and ours in turn; needs a Python with PyTorch 2.11.0.
PYTHON ?= python3
measure-cpu: build
	$(PYTHON) scripts/measure-cpu.py

# Scores of 32 prompts in bf16 beside float32.
measure-precision: build
	target/release/vqfarm-demo measure-precision
