SUMMARY = "What makes a system with Lucid its appliance: first start, screen, network, boot slots"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "file://${LUCID_SOURCE}/LICENSE-MIT;md5=70223997094b6e908d7d4e99254da20f"

# The files are those of the image made of Debian, from where they lie there.
inherit allarch systemd
SRC_URI = ""
S = "${UNPACKDIR}"
LUCID_OVERLAY = "${LUCID_SOURCE}/image-build/overlay"
do_install[file-checksums] = "${LUCID_OVERLAY}:True"

do_install() {
	cp -r --no-preserve=ownership "${LUCID_OVERLAY}/." "${D}/"
	# The system's own table of mounts is replaced in the root: see lucid-image.
	install -d "${D}${nonarch_libdir}/lucid"
	mv "${D}${sysconfdir}/fstab" "${D}${nonarch_libdir}/lucid/fstab"
}

SYSTEMD_SERVICE:${PN} = "lucid-setup.service lucid-grow-data.service"
FILES:${PN} = "${sysconfdir} ${nonarch_libdir}"
RDEPENDS:${PN} = "curl lucid qrencode"
