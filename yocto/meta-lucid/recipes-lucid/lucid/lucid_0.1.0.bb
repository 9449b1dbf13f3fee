SUMMARY = "Recorder whose recordings cannot be altered unnoticed"
DESCRIPTION = "Records cameras and remote desktops, encrypts, hashes and anchors every second of them; \
anyone can check an export offline."
HOMEPAGE = "https://github.com/lucid-recorder/lucid"
SECTION = "multimedia"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = " \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://LICENSE-MIT;md5=70223997094b6e908d7d4e99254da20f \
"

# The source is the tree this layer lies in. Its page has to be built first (`make web`): npm wants
# the network, which no task but do_fetch has.
inherit externalsrc cargo cargo-update-recipe-crates pkgconfig systemd useradd
EXTERNALSRC = "${LUCID_SOURCE}"
EXTERNALSRC_SYMLINKS = ""
require lucid-crates.inc

DEPENDS = "gstreamer1.0 gstreamer1.0-plugins-base"

# The same programs as in the Debian package: scripts/install.
LUCID_CRATES = "lucid lucid-desktop lucid-pay tron-node lucid-fleet"
CARGO_BUILD_FLAGS += "${@' '.join('-p ' + name for name in d.getVar('LUCID_CRATES').split())}"

do_configure:append() {
	if ! grep -q assets/ "${S}/daemon/web/dist/index.html"; then
		bbfatal "the web page is not built: run make web in ${S}"
	fi
}

do_install() {
	# Nobody types commands on the appliance, and the programs do not run here to write them.
	install -d "${WORKDIR}/completions"
	for shell in bash zsh fish; do : > "${WORKDIR}/completions/$shell"; done
	DESTDIR="${D}" PREFIX="${prefix}" COMPLETIONS="${WORKDIR}/completions" \
		"${S}/scripts/install" install "${B}/target/${CARGO_TARGET_SUBDIR}"
	rm -rf "${D}${datadir}/bash-completion" "${D}${datadir}/zsh" "${D}${datadir}/fish"
	# Made by useradd below, with numbers that stay.
	rm -f "${D}${nonarch_libdir}/sysusers.d/lucid.conf"
	rmdir --ignore-fail-on-non-empty "${D}${nonarch_libdir}/sysusers.d"
}

PACKAGES =+ "${PN}-pay tron-node"

SYSTEMD_PACKAGES = "${PN} ${PN}-pay"
# What starts with the machine is the preset's to say.
def lucid_enabled(d, payments):
    preset = os.path.join(d.getVar('LUCID_SOURCE'), 'systemd', '90-lucid.preset')
    with open(preset, encoding='utf-8') as lines:
        units = [line.split()[1] for line in lines if line.startswith('enable ')]
    return ' '.join(unit for unit in units if unit.startswith('lucid-pay') == payments)

SYSTEMD_SERVICE:${PN} = "${@lucid_enabled(d, False)}"
SYSTEMD_SERVICE:${PN}-pay = "${@lucid_enabled(d, True)}"

# The numbers are those of image-build/users: files on the data partition outlive an update.
USERADD_PACKAGES = "${PN} ${PN}-pay"
GROUPADD_PARAM:${PN} = "--system --gid 900 lucid; --system gpio"
USERADD_PARAM:${PN} = "--system --uid 900 --gid lucid --no-create-home --home-dir ${localstatedir}/lib/lucid --shell /sbin/nologin lucid"
GROUPADD_PARAM:${PN}-pay = "--system --gid 901 lucid-pay; --system --gid 902 lucid-relay"
USERADD_PARAM:${PN}-pay = " \
    --system --uid 901 --gid lucid-pay --no-create-home --home-dir ${localstatedir}/lib/lucid-pay --shell /sbin/nologin lucid-pay; \
    --system --uid 902 --gid lucid-relay --no-create-home --home-dir / --shell /sbin/nologin lucid-relay \
"

FILES:${PN}-pay = " \
    ${bindir}/lucid-pay \
    ${systemd_system_unitdir}/lucid-pay* \
    ${nonarch_libdir}/systemd/system-generators/lucid-pay-generator \
"
FILES:tron-node = "${bindir}/tron-node"
FILES:${PN} += " \
    ${systemd_system_unitdir} \
    ${nonarch_libdir}/lucid \
    ${nonarch_libdir}/systemd \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/udev \
"
CONFFILES:${PN} = "${sysconfdir}/lucid/lucid.toml ${sysconfdir}/lucid/desktops.toml"

RDEPENDS:${PN} = " \
    gstreamer1.0-plugins-base-meta \
    gstreamer1.0-plugins-good-meta \
    gstreamer1.0-plugins-bad-meta \
    gstreamer1.0-plugins-ugly-meta \
    systemd \
"
RDEPENDS:${PN}-pay = "${PN} ca-certificates systemd"
RRECOMMENDS:${PN} = "${PN}-pay gstreamer1.0-libcamera"
