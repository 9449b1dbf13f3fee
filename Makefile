# Lucid: everything a person does with the source, one target each. `make help` lists them.
#
# Targets install the Debian packages they need and that are missing (as root or with sudo), and
# say which. Nothing is installed twice; on other systems the packages are named and left to you.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PREFIX  ?= /usr/local
DESTDIR ?=
# Arguments for `lucid serve` in `make run`.
ARGS    ?=
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 600
# Power cuts of `make test-power`.
LUCID_POWER_CUTS ?= 1000
# Rounds of `kill -9` in `make test-power`.
LUCID_KILL_ROUNDS ?= 200

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
# rustup's and our own tools come first: the distribution's may be too old.
export PATH := $(CARGO_TARGET_DIR)/tools/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)

CARGO := cargo
# With the examples, the dependencies have the features that clippy has checked them with: without,
# 150 of them are checked again. Of a library and a program of one name, the library is documented.
DOCUMENTED := --lib --examples --bin lucid --bin lucid-bootctl --bin lucid-desktopd --bin xtask
WEB   := daemon/web
LUCID := $(CARGO_TARGET_DIR)/release/lucid

.PHONY: help run build web test bench fuzz test-power test-systemd test-container install uninstall deb deb-arm64 \
	deb-arm64-check image test-image test-pins container clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: ## Build Lucid and start it; prints the address and the claim code
	@scripts/deps run
	@$(MAKE) --no-print-directory build
	exec $(LUCID) serve $(ARGS)

build: web ## Build the release binaries: lucid, lucid-pay and its sandbox
	@scripts/deps build
	$(CARGO) build --locked --release -p lucid -p lucid-desktop -p lucid-fleet -p lucid-pay -p tron-node

# The page is embedded in the binary, so it is built first, and only when something of it changed:
# else every build of the binary would begin anew.
web: $(WEB)/dist/index.html ## Build the web page

$(WEB)/dist/index.html: $(shell find $(WEB)/src $(WEB)/public $(WEB)/scripts $(WEB)/*.* -type f 2>/dev/null)
	@scripts/deps web
	@scripts/web install
	npm --prefix $(WEB) run build

test: ## Everything that must hold: format, lints, rules, docs, page, all tests
	@scripts/deps test
	$(CARGO) fmt --all --check
	$(CARGO) xtask check
	@scripts/web install
	npm --prefix $(WEB) run check
	npm --prefix $(WEB) run build
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps $(DOCUMENTED)
	$(CARGO) test --locked --workspace --no-fail-fast
	tests/systemd/units $(CARGO_TARGET_DIR)/debug
	npm --prefix $(WEB) test
	LUCID_BIN=$(CARGO_TARGET_DIR)/debug/lucid npm --prefix $(WEB) run e2e

test-systemd: ## Boot a Debian with the package: units, watchdog, borders between users
	@scripts/deps systemd
	$(CARGO) build --locked --workspace --bins
	tests/systemd/boot $(CARGO_TARGET_DIR)/debug

test-container: ## Make the container images, and run them as an engine would
	@scripts/deps container
	$(CARGO) build --locked --workspace --bins
	tests/container/run $(CARGO_TARGET_DIR)/debug

test-power: ## Cut the power LUCID_POWER_CUTS times, kill the recording daemon LUCID_KILL_ROUNDS times
	@scripts/deps power
	LUCID_POWER_CUTS=$(LUCID_POWER_CUTS) $(CARGO) test --locked -p lucid-tests --test power -- --nocapture
	LUCID_KILL_ROUNDS=$(LUCID_KILL_ROUNDS) $(CARGO) test --locked -p lucid --test kill9 -- --nocapture

fuzz: ## Feed every decoder hostile bytes, FUZZ_SECONDS each
	@scripts/deps fuzz
	scripts/fuzz $(FUZZ_SECONDS)

bench: ## Measure beside restic, borg, b3sum, gst-launch, a bare handler, tronweb and xrdp
	@scripts/deps bench
	$(CARGO) bench --locked -p lucid-tests --bench store --bench verify
	$(CARGO) bench --locked -p lucid --bench api --bench streams
	$(CARGO) run --locked --release -p lucid-capture --example passthrough_cost
	$(CARGO) test --locked --release -p lucid-pay --test journal_speed -- --nocapture
	NODE_PATH=$(CARGO_TARGET_DIR)/tools/node_modules $(CARGO) bench --locked -p lucid-pay --bench signing
	$(CARGO) bench --locked -p lucid-rdp --bench beside_xrdp

install: build ## Install under $(DESTDIR)$(PREFIX), units of systemd included
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install install $(CARGO_TARGET_DIR)/release

uninstall: ## Remove what install put there; recordings, keys and settings stay
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install uninstall

container: build ## Make the container images in target/container, of arm64 too where it was built
	@scripts/deps container
	scripts/container $(CARGO_TARGET_DIR)/release $(CARGO_TARGET_DIR)/container
	if [ -x $(CARGO_TARGET_DIR)/aarch64-unknown-linux-gnu/release/lucid ]; then \
		STRIP=aarch64-linux-gnu-strip scripts/container \
			$(CARGO_TARGET_DIR)/aarch64-unknown-linux-gnu/release $(CARGO_TARGET_DIR)/container arm64; fi

deb: build ## Make the Debian package in target/debian
	@scripts/deps deb
	scripts/deb $(CARGO_TARGET_DIR)/release $(CARGO_TARGET_DIR)/debian

deb-arm64: web ## Build the Debian package for arm64, in a Debian of its own
	@scripts/deps image
	image-build/deb-arm64

deb-arm64-check: web ## Build it twice and compare the bytes
	@scripts/deps image
	image-build/deb-arm64 check

image: deb-arm64 ## Make the image to flash, in target/image/out
	image-build/image

# Boots what `make image` makes; IMAGE_TEST_ARGS goes to tests/image/run.
test-image: deb-arm64 ## Boot the image in QEMU: claim, record, verify, cut the power ten times
	LUCID_IMAGE_RAW=1 image-build/image
	$(CARGO) build --locked -p lucid
	tests/image/run $(CARGO_TARGET_DIR)/image/out/lucid-*-rpi5.img $(CARGO_TARGET_DIR)/debug/lucid \
		$(CARGO_TARGET_DIR)/image/test $(IMAGE_TEST_ARGS)
	@$(MAKE) --no-print-directory test-pins

# QEMU has no Pi 5: the Pi 3 is the only board here whose registers rppal can have.
test-pins: ## Try light and button through rppal on an emulated Raspberry Pi 3
	@scripts/deps image
	image-build/builder cargo build --locked --release --target aarch64-unknown-linux-gnu -p lucid-hw --example panel
	root=$$(KERNEL=debian image-build/rootfs) && tests/image/pins "$$root" \
		$(CARGO_TARGET_DIR)/image/target-arm64/aarch64-unknown-linux-gnu/release/examples/panel \
		$(CARGO_TARGET_DIR)/image/test

clean: ## Remove what was built (recordings are not touched)
	$(CARGO) clean
	rm -rf $(WEB)/dist $(WEB)/node_modules
