SUMMARY = "The boot partition of a slot: kernel, initrd, device trees, and the root's hash"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "file://${LUCID_SOURCE}/LICENSE-MIT;md5=70223997094b6e908d7d4e99254da20f"

inherit deploy nopackages
PACKAGE_ARCH = "${MACHINE_ARCH}"
SRC_URI = ""
S = "${UNPACKDIR}"
INHIBIT_DEFAULT_DEPS = "1"
DEPENDS = "dosfstools-native mtools-native"
LUCID_BUILD = "${LUCID_SOURCE}/image-build"

do_compile[depends] += "virtual/kernel:do_deploy lucid-image:do_image_complete lucid-initramfs:do_image_complete"
do_compile[file-checksums] += "${LUCID_BUILD}/boot:True ${LUCID_BUILD}/partitions:True"
do_compile[cleandirs] = "${B}"
do_compile() {
	install -d boot/overlays
	cp -L "${DEPLOY_DIR_IMAGE}/${KERNEL_IMAGETYPE}" boot/vmlinuz
	cp -L "${DEPLOY_DIR_IMAGE}/lucid-initramfs-${MACHINE}.rootfs.${INITRAMFS_FSTYPES}" boot/initrd
	for tree in ${KERNEL_DEVICETREE}; do
		case $tree in
			overlays/*) cp -L "${DEPLOY_DIR_IMAGE}/$(basename $tree)" boot/overlays/ ;;
			*) cp -L "${DEPLOY_DIR_IMAGE}/$(basename $tree)" boot/ ;;
		esac
	done
	cp "${LUCID_BUILD}/boot/config.txt" boot/
	sed "s|\$| lucid.root=$(cat ${DEPLOY_DIR_IMAGE}/lucid-image-${MACHINE}.rootfs.root)|" \
		"${LUCID_BUILD}/boot/cmdline.txt" > boot/cmdline.txt
	VERSION="${DISTRO_VERSION}" "${LUCID_BUILD}/partitions" fat boot boot.vfat boot
}

do_deploy() {
	install -m 644 "${B}/boot.vfat" "${DEPLOYDIR}/lucid-boot-${MACHINE}.vfat"
}
addtask deploy after do_compile before do_build
do_install[noexec] = "1"
