# What the scripts of image-build/ share. Sourced by bash scripts that have `set -euo pipefail`.
#
# Settings, all by environment:
#   LUCID_DEBIAN_MIRROR     Debian's archive            (http://deb.debian.org/debian)
#   LUCID_SECURITY_MIRROR   Debian's security archive   (http://deb.debian.org/debian-security)
#   LUCID_IMAGE_DIR         everything built here       (target/image)
#   KERNEL                  debian (from backports) or rpi (Raspberry Pi's own)
#   LUCID_RPI_MIRROR        Raspberry Pi's archive      (https://archive.raspberrypi.com/debian)
#   LUCID_RPI_KEYRING       the key it is signed with   (as its package installs it)
# Proxies and their credentials are taken by apt from the machine's own apt configuration.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=$(dirname "$HERE")
WORK=${LUCID_IMAGE_DIR:-${CARGO_TARGET_DIR:-$SOURCE/target}/image}
SUITE=trixie
MIRROR=${LUCID_DEBIAN_MIRROR:-http://deb.debian.org/debian}
SECURITY=${LUCID_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
KERNEL=${KERNEL:-debian}
RPI_MIRROR=${LUCID_RPI_MIRROR:-https://archive.raspberrypi.com/debian}
RPI_KEYRING=${LUCID_RPI_KEYRING:-/usr/share/keyrings/raspberrypi-archive-keyring.pgp}

say() { printf 'image-build: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Making another system's root needs root: chroot, device nodes and foreign owners.
need_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo >/dev/null || die "this needs root and there is no sudo"
  local kept
  kept=$(compgen -e | grep -Ex 'LUCID_[A-Z_]+|KERNEL|CARGO_TARGET_DIR|SOURCE_DATE_EPOCH|PATH' | paste -sd,)
  exec sudo --preserve-env="$kept" "$0" "$@"
}

# The version of the workspace, as Cargo.toml has it.
version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$SOURCE/Cargo.toml"; }

# Every time stamp that goes into a package or an image: that of the last commit.
epoch() {
  if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then echo "$SOURCE_DATE_EPOCH"
  elif git -c safe.directory="$SOURCE" -C "$SOURCE" log -1 --format=%ct 2>/dev/null; then :
  else die "no git history here: set SOURCE_DATE_EPOCH (seconds since 1970)"
  fi
}

# sources_list: Debian trixie with updates, security and backports.
sources_list() {
  cat <<LIST
deb [signed-by=$KEYRING] $MIRROR $SUITE main
deb [signed-by=$KEYRING] $MIRROR $SUITE-updates main
deb [signed-by=$KEYRING] $SECURITY $SUITE-security main
deb [signed-by=$KEYRING] $MIRROR $SUITE-backports main
LIST
}

# root_sources_list: the same with what the image's root takes besides: firmware of radios, which
# Debian keeps apart because it is not free, RAUC of a later suite (root_preferences holds all else
# of that suite off), and Raspberry Pi's archive where its kernel was chosen.
RAUC_SUITE=forky
root_sources_list() {
  sources_list | sed 's/ main$/ main non-free-firmware/'
  echo "deb [signed-by=$KEYRING] $MIRROR $RAUC_SUITE main"
  [ "$KERNEL" != rpi ] || echo "deb [signed-by=$RPI_KEYRING] $RPI_MIRROR $SUITE main"
}
root_preferences() {
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 50\n\n' "$RAUC_SUITE"
  printf 'Package: rauc rauc-service libnl-3-200 libnl-genl-3-200\nPin: release n=%s\nPin-Priority: 990\n' "$RAUC_SUITE"
}

# Whether archives may be older than they say they are good for: as this machine's own apt has it,
# whose mirror may stand still.
valid_until() {
  local VALID=true
  eval "$(apt-config shell VALID Acquire::Check-Valid-Until)"
  echo "Acquire::Check-Valid-Until \"$VALID\";"
}

# packages FILE..: their names, separated by commas. Text after # is comment.
packages() { cat "$@" | sed -e 's/[[:space:]]*#.*//' -e '/^$/d' | paste -sd, -; }

# key FILE..: names a cached root by everything that decides what is in it.
key() { { sources_list; cat "$@"; } | sha256sum | cut -c1-12; }

# Foreign binaries are run by qemu-user; the registration is lost at each boot of the machine.
need_binfmt() {
  [ "$(uname -m)" = aarch64 ] && return
  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] && return
  [ -e /proc/sys/fs/binfmt_misc/register ] ||
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    die "this kernel has no binfmt_misc, so arm64 packages cannot be configured here"
  cat /usr/lib/binfmt.d/qemu-aarch64.conf > /proc/sys/fs/binfmt_misc/register
}

# Removes roots of other package lists: DIR PREFIX KEEP.
forget_others() {
  local old
  for old in "$1/$2"-*; do
    [ -e "$old" ] && [ "$old" != "$3" ] && { say "removing $old"; rm -rf --one-file-system "$old"; }
  done
  return 0
}
