"""Bundles made of an image's own parts: whole ones, ones that must be refused, and systems that do
not work. The kernel and initrd of a bundle are the image's: QEMU is given them from outside.
"""

import os
import re
import shutil

from machine import MachineError, run

HERE = os.path.dirname(os.path.abspath(__file__))
PARTITIONS, BUNDLE = (os.path.join(HERE, "..", "..", "image-build", name)
                      for name in ("partitions", "bundle"))
BLOCK = 4096
# Hashes of 32 bytes in a block of the verity tree.
HASHES = BLOCK // 32

# A system that hangs: nothing of it goes on once its first process is frozen, which is done as soon
# as the watchdog runs. Where there is none it waits for it, and never gets to Lucid either.
HANG = """[Unit]
Description=Hangs the system
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'until grep -qx active /sys/class/watchdog/watchdog0/state; do sleep 1; done; \
 echo hangs now > /dev/kmsg; echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze; exec sleep infinity'
"""


def crashes(tree):
    """A system whose Lucid ends as soon as it is started."""
    put(tree, "usr/bin/lucid", "#!/bin/sh\nexit 1\n", 0o755)


def fails_its_test(tree):
    """A system that records cameras, and not the test picture of the self-test."""
    os.remove(os.path.join(tree, "usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstvideotestsrc.so"))


def hangs(tree):
    """A system that hangs before anything of Lucid runs."""
    put(tree, "usr/lib/systemd/system/hang.service", HANG, 0o644)
    os.symlink("../hang.service", os.path.join(
        tree, "usr/lib/systemd/system/sysinit.target.wants/hang.service"))


def put(tree, name, text, mode):
    """Lays a file into a tree in place of another."""
    path = os.path.join(tree, name)
    if os.path.lexists(path):
        os.remove(path)
    with open(path, "w", encoding="ascii") as out:
        out.write(text)
    os.chmod(path, mode)

# What a machine of QEMU's does without. A system that is not to be kept need not be brought whole,
# which takes minutes.
LEFT_OUT = ("usr/lib/aarch64-linux-gnu/lib{LLVM,gallium,z3,dnnl,gs,onnx,x265,aom,SvtAv1,flite,hwy,gtk-3}*",
            "usr/lib/modules/*/kernel/drivers/{gpu,scsi,usb,iio,infiniband,net/ethernet,net/wireless}",
            "usr/lib/modules/*/kernel/sound", "usr/lib/firmware", "usr/share/{fonts,icons}")


class Bundles:
    """Makes bundles in a directory of its own."""

    def __init__(self, image, cert, key):
        self.work = os.path.join(image.work, "bundles")
        os.makedirs(self.work, exist_ok=True)
        self.signer = (cert, key)
        self.made_of = (image.path, __file__)
        # HASH:BLOCKS:SALT; behind so many blocks lies the tree, level on level.
        blocks = int(re.search(r"lucid\.root=[0-9a-f]+:(\d+):", image.command_line).group(1))
        self.root = self._part(image, "root-a", "root.img", (blocks + tree_blocks(blocks)) * BLOCK)
        self.boot = self._part(image, "boot-a", "boot.vfat", None)
        self.command_line = image.command_line

    def _part(self, image, partition, name, length):
        part = image.partitions[partition]
        path = os.path.join(self.work, name)
        run("dd", f"if={image.path}", f"of={path}", "bs=1M", "iflag=skip_bytes,count_bytes",
            "conv=sparse", f"skip={part['start'] * 512}", f"count={length or part['size'] * 512}")
        return path

    def broken(self, name, change):
        """The image's root with a change made to it, and without what is not needed here; root and
        boot partition."""
        if os.geteuid() != 0:
            raise MachineError("a root is changed by root: owners would be lost")
        tree, root, boot = (os.path.join(self.work, f"{name}.{kind}") for kind in ("tree", "root", "boot"))
        if os.path.exists(boot) and os.path.getmtime(boot) > max(map(os.path.getmtime, self.made_of)):
            return root, boot
        shutil.rmtree(tree, ignore_errors=True)
        run("unsquashfs", "-quiet", "-no-progress", "-d", tree, self.root)
        change(tree)
        run("bash", "-c", f"rm -r {' '.join(LEFT_OUT)}", cwd=tree)
        # Quickly rather than small.
        run("mksquashfs", tree, root, "-quiet", "-no-progress", "-noappend", "-comp", "zstd",
            "-Xcompression-level", "1", "-b", "262144")
        shutil.rmtree(tree)
        settings = {**os.environ, "VERSION": name, "SOURCE_DATE_EPOCH": "1"}
        verity = run(PARTITIONS, "verity", root, env=settings).decode().strip()
        line = os.path.join(self.work, "cmdline.txt")
        with open(line, "w", encoding="ascii") as out:
            out.write(re.sub(r"lucid\.root=\S+", f"lucid.root={verity}", self.command_line) + "\n")
        run("cp", "--sparse=always", self.boot, f"{boot}.new")
        run("mcopy", "-n", "-o", "-i", f"{boot}.new", line, "::cmdline.txt")
        os.replace(f"{boot}.new", boot)
        return root, boot

    def stranger(self):
        """Certificate and key of somebody whose bundles no device takes."""
        cert, key = (os.path.join(self.work, f"stranger.{kind}") for kind in ("pem", "key"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "7300", "-subj", "/CN=Somebody else", "-keyout", key, "-out", cert)
        return cert, key

    def make(self, name, version, parts=None, kind="verity", signer=None, formats=None):
        """Signs a bundle of a root and a boot partition; its path. Without parts both are a few bytes,
        for what must be decided before they are read. `formats` are those of the data it writes,
        and the oldest it takes over; without them it is one of the first format."""
        stage, path = (os.path.join(self.work, f"{name}.{end}") for end in ("stage", "raucb"))
        shutil.rmtree(stage, ignore_errors=True)
        os.makedirs(stage)
        if os.path.exists(path):
            os.remove(path)
        adaptive = ""
        for place, part in zip(("root.img", "boot.vfat"), parts or (None, None)):
            target = os.path.join(stage, place)
            if part:
                os.link(part, target)
                adaptive = "adaptive=block-hash-index\n"
            else:
                with open(target, "wb") as out:
                    # Not to be made smaller: rauc makes no bundle of a single block.
                    out.write(os.urandom(4 * BLOCK))
        form = "" if kind == "plain" else f"format={kind}\n"
        meta = f"[meta.lucid]\ndata-format={formats[0]}\ndata-format-oldest={formats[1]}\n" if formats else ""
        with open(os.path.join(stage, "manifest.raucm"), "w", encoding="ascii") as out:
            out.write(f"[update]\ncompatible=lucid-rpi5\nversion={version}\n[bundle]\n{form}"
                      f"{meta}[image.root]\nfilename=root.img\n{adaptive}"
                      f"[image.boot]\nfilename=boot.vfat\n{adaptive}")
        cert, key = signer or self.signer
        run(BUNDLE, cert, key, stage, path,
            env={**os.environ, "LUCID_MKSQUASHFS_ARGS": "-comp zstd -Xcompression-level 1"})
        shutil.rmtree(stage)
        return path


def tree_blocks(blocks):
    """Blocks of the verity tree of so many blocks."""
    tree = 0
    while blocks > 1:
        blocks = -(-blocks // HASHES)
        tree += blocks
    return tree
