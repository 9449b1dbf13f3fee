SUMMARY = "The root of Lucid's appliance: read-only, checked block by block"
LICENSE = "Apache-2.0 | MIT"

inherit core-image lucid-verity

# No default password, no SSH unless a key lies on the boot partition.
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
NO_RECOMMENDATIONS = "0"

# What image-build/packages/root lists for Debian, by its names here.
IMAGE_INSTALL = " \
    packagegroup-core-boot \
    ca-certificates \
    chrony \
    curl \
    e2fsprogs-e2fsck \
    iproute2 \
    iwd \
    kernel-modules \
    libdevmapper \
    libgpiod-tools \
    linux-firmware-rpidistro-bcm43455 \
    lucid \
    lucid-image-files \
    lucid-pay \
    nftables \
    openssh-sshd \
    qrencode \
    rauc \
    rauc-service \
    tzdata \
    v4l-utils \
    wireless-regdb-static \
"

# Kernel, device trees and overlays lie on the boot partition.
ROOTFS_POSTPROCESS_COMMAND += "lucid_prepare_root;"
lucid_prepare_root() {
	rm -rf "${IMAGE_ROOTFS}/boot"
	install -d "${IMAGE_ROOTFS}/boot/config" "${IMAGE_ROOTFS}/data" "${IMAGE_ROOTFS}${sysconfdir}/ssh/keys"
	chmod 700 "${IMAGE_ROOTFS}${sysconfdir}/ssh/keys"
	sed -e 's/#.*//' -e '/^$/d' "${IMAGE_ROOTFS}/usr/lib/lucid/persistent" | while read -r dir; do
		mkdir -p "${IMAGE_ROOTFS}$dir"
	done
	: > "${IMAGE_ROOTFS}${sysconfdir}/machine-id"
	mv "${IMAGE_ROOTFS}${nonarch_libdir}/lucid/fstab" "${IMAGE_ROOTFS}${sysconfdir}/fstab"
	if grep -Ev '^[^:]*:[*!]' "${IMAGE_ROOTFS}${sysconfdir}/shadow"; then
		bbfatal "an account has a password, or none is asked of it"
	fi
}
