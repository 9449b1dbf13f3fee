SUMMARY = "The initrd: finds the slot, has its root checked, lays over it what may change"
LICENSE = "Apache-2.0 | MIT"

inherit core-image
# Raspberry Pi's kernel has the rest of image-build/initrd/modules built in.
PACKAGE_INSTALL = " \
    base-passwd \
    busybox \
    e2fsprogs-e2fsck \
    kernel-module-dm-verity \
    kernel-module-overlay \
    kernel-module-squashfs \
    libdevmapper \
"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "${INITRAMFS_FSTYPES}"
IMAGE_ROOTFS_SIZE = "8192"
IMAGE_ROOTFS_EXTRA_SPACE = "0"
NO_RECOMMENDATIONS = "1"

LUCID_INITRD = "${LUCID_SOURCE}/image-build/initrd"
do_rootfs[file-checksums] += "${LUCID_INITRD}/init:True ${LUCID_INITRD}/select-slot.sh:True"
ROOTFS_POSTPROCESS_COMMAND += "lucid_initrd;"
lucid_initrd() {
	install -m 755 "${LUCID_INITRD}/init" "${IMAGE_ROOTFS}/init"
	install -m 644 "${LUCID_INITRD}/select-slot.sh" "${IMAGE_ROOTFS}/select-slot.sh"
	install -d "${IMAGE_ROOTFS}/root"
}
