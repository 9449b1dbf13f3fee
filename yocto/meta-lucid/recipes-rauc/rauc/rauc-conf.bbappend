# The configuration of the image made of Debian, from where it lies. LUCID_UPDATE_KEYRING (an absolute
# path, in local.conf) holds the certificates of those who may sign updates; there is no default.
LUCID_UPDATE_KEYRING ??= ""
FILESEXTRAPATHS:prepend := "${LUCID_SOURCE}/image-build/rauc:${@os.path.dirname(d.getVar('LUCID_UPDATE_KEYRING'))}:"
RAUC_KEYRING_FILE = "${@os.path.basename(d.getVar('LUCID_UPDATE_KEYRING'))}"

python () {
    if not d.getVar('LUCID_UPDATE_KEYRING'):
        raise bb.parse.SkipRecipe('LUCID_UPDATE_KEYRING names no file of certificates')
}

# By the name that system.conf has.
do_install:append() {
	if [ "${RAUC_KEYRING_FILE}" != keyring.pem ]; then
		mv "${D}${sysconfdir}/rauc/${RAUC_KEYRING_FILE}" "${D}${sysconfdir}/rauc/keyring.pem"
	fi
}
