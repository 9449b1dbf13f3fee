SUMMARY = "The image to flash: the same partitions as `make image` makes"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "file://${LUCID_SOURCE}/LICENSE-MIT;md5=70223997094b6e908d7d4e99254da20f"

inherit deploy nopackages
PACKAGE_ARCH = "${MACHINE_ARCH}"
SRC_URI = ""
S = "${UNPACKDIR}"
INHIBIT_DEFAULT_DEPS = "1"
DEPENDS = "dosfstools-native e2fsprogs-native mtools-native util-linux-native zstd-native"
LUCID_BUILD = "${LUCID_SOURCE}/image-build"

do_compile[depends] += "lucid-image:do_image_complete lucid-boot:do_deploy"
do_compile[file-checksums] += "${LUCID_BUILD}/boot-config:True ${LUCID_BUILD}/partitions:True"
do_compile[cleandirs] = "${B}"
do_compile() {
	export VERSION="${DISTRO_VERSION}"
	partitions="${LUCID_BUILD}/partitions"
	install -d config
	cp ${LUCID_BUILD}/boot-config/* config/
	"$partitions" fat config config.fat config
	"$partitions" data data.ext4
	"$partitions" disk lucid.img config.fat "${DEPLOY_DIR_IMAGE}/lucid-boot-${MACHINE}.vfat" \
		"${DEPLOY_DIR_IMAGE}/lucid-image-${MACHINE}.rootfs.squashfs-zst.lucidverity" data.ext4
	zstd -q -9 lucid.img -o lucid.img.zst
}

do_deploy() {
	install -m 644 "${B}/lucid.img.zst" "${DEPLOYDIR}/lucid-${DISTRO_VERSION}-${MACHINE}.img.zst"
}
addtask deploy after do_compile before do_build
do_install[noexec] = "1"
