SUMMARY = "The update to this system, for whichever slot does not run"
LICENSE = "Apache-2.0 | MIT"

inherit bundle

# Those of image-build/rauc/manifest.raucm. RAUC_KEY_FILE and RAUC_CERT_FILE sign it: local.conf.
RAUC_BUNDLE_COMPATIBLE = "lucid-rpi5"
RAUC_BUNDLE_VERSION = "${DISTRO_VERSION}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "root boot"

RAUC_SLOT_root = "lucid-image"
RAUC_SLOT_root[file] = "lucid-image-${MACHINE}.rootfs.squashfs-zst.lucidverity"
RAUC_SLOT_root[rename] = "root.img"
RAUC_SLOT_root[adaptive] = "block-hash-index"

RAUC_SLOT_boot = "lucid-boot"
RAUC_SLOT_boot[type] = "boot"
RAUC_SLOT_boot[file] = "lucid-boot-${MACHINE}.vfat"
RAUC_SLOT_boot[rename] = "boot.vfat"
RAUC_SLOT_boot[adaptive] = "block-hash-index"

RAUC_META_SECTIONS = "lucid"
RAUC_META_lucid[data-format] = "1"
RAUC_META_lucid[data-format-oldest] = "1"
