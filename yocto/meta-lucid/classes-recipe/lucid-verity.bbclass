# An image type: a file system with its tree of hashes behind it, and beside it, as `.root`, what the
# kernel's command line has to say of it. Made by Lucid's own image-build/partitions.
#
#     inherit lucid-verity
#     IMAGE_FSTYPES = "squashfs-zst.lucidverity"

CONVERSIONTYPES += "lucidverity"
CONVERSION_DEPENDS_lucidverity = "cryptsetup-native"
CONVERSION_CMD:lucidverity = "lucid_verity ${IMAGE_NAME}.${type}"

lucid_verity() {
	cp "$1" "$1.lucidverity"
	VERSION="${DISTRO_VERSION}" SOURCE_DATE_EPOCH="${REPRODUCIBLE_TIMESTAMP_ROOTFS}" \
		"${LUCID_SOURCE}/image-build/partitions" verity "$1.lucidverity" > "$1.lucidverity.root"
	ln -sfn "$(basename "$1").lucidverity.root" "${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.root"
}
