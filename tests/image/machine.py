"""A machine that boots the image: QEMU's virt board with the image's own kernel and initrd.

The console goes to a file. Commands are run in systemd's debug shell on a second, virtual console:
the image has no account that could sign in, and whoever sets the kernel's command line owns the
machine anyway. The machine reaches nothing but itself; its HTTPS port is forwarded to loopback.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time

BOOT_WITHIN_S = 1800
COMMAND_WITHIN_S = 900


class MachineError(Exception):
    """The machine did not do what it must."""


def run(*command, **options):
    """Runs a program of the host; its output, or an error with its words."""
    done = subprocess.run(command, capture_output=True, check=False, **options)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise MachineError(f"{' '.join(command)} ended with {done.returncode}: {words}")
    return done.stdout


def free_port():
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Image:
    """An image file and what its boot partition holds."""

    def __init__(self, path, work):
        self.path = path
        self.work = work
        table = json.loads(run("sfdisk", "--json", path))["partitiontable"]
        self.partitions = {part["name"]: part for part in table["partitions"]}
        # Partitions start at sectors of 512 bytes.
        self.boot_at = self.partitions["boot-a"]["start"] * 512
        for name in ("vmlinuz", "initrd", "cmdline.txt"):
            target = os.path.join(work, name)
            run("mcopy", "-n", "-o", "-i", f"{path}@@{self.boot_at}", f"::{name}", target)
        with open(os.path.join(work, "cmdline.txt"), encoding="ascii") as line:
            self.command_line = line.read().strip()

    def disk(self, name, size="6G"):
        """A disk that begins as the image and is larger than it."""
        path = os.path.join(self.work, name)
        if os.path.exists(path):
            os.remove(path)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
            "-b", os.path.abspath(self.path), path, size)
        return path

    def raw_disk(self, name, files, size="6G"):
        """The same as a plain file, with files of the host's laid on its boot-config partition."""
        path = os.path.join(self.work, name)
        run("cp", "--sparse=always", self.path, path)
        run("truncate", "-s", size, path)
        at = self.partitions["boot-config"]["start"] * 512
        for file in files:
            run("mcopy", "-n", "-o", "-i", f"{path}@@{at}", file, "::")
        return path


class Machine:
    """One machine with one disk, switched on and off."""

    def __init__(self, image, disk, kernel_options=""):
        self.image = image
        self.disk = disk
        # What the Raspberry Pi calls its consoles is called otherwise here.
        # Without the root hash the initrd chooses the slot and takes the hash from its partition.
        line = re.sub(r"(console|lucid.root)=\S+ ?", "", image.command_line)
        # An emulated machine on a busy host may be thirty times slower than a Pi: what waits for
        # devices gives up later, nothing else is changed.
        self.command_line = (f"{line} console=ttyAMA0 systemd.debug_shell=hvc0 "
                             "systemd.default_timeout_start_sec=900 "
                             f"systemd.default_device_timeout_sec=900 {kernel_options}")
        self.starts = 0
        self.process = None
        self.shell_socket = None
        self.pending = b""

    def start(self, *devices):
        """Switches it on, with further devices of QEMU's; returns at once. When the system in it
        restarts, the machine ends, and is switched on again by whoever follows it."""
        self.starts += 1
        work = self.image.work
        self.console_path = os.path.join(work, f"console-{os.path.basename(self.disk)}-{self.starts}.log")
        shell_path = os.path.join(work, "shell.socket")
        if os.path.exists(shell_path):
            os.remove(shell_path)
        self.port = free_port()
        kind = "raw" if self.disk.endswith(".raw") else "qcow2"
        self.process = subprocess.Popen([
            "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-smp", "2", "-m", "2048",
            "-accel", "tcg,thread=multi", "-display", "none", "-monitor", "none", "-no-reboot",
            "-kernel", os.path.join(work, "vmlinuz"), "-initrd", os.path.join(work, "initrd"),
            "-append", self.command_line,
            "-drive", f"file={self.disk},if=none,id=disk,format={kind}",
            "-device", "virtio-blk-pci,drive=disk,serial=lucid",
            "-device", "virtio-rng-pci",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:8081",
            "-device", "virtio-net-pci,netdev=net,romfile=",
            "-serial", f"file:{self.console_path}",
            "-chardev", f"socket,id=shell,path={shell_path},server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell",
            *(word for device in devices for word in ("-device", device)),
        ], stdin=subprocess.DEVNULL)
        self.on_since = time.monotonic()
        self.shell_socket = None
        self.pending = b""
        self._connect(shell_path)

    def _connect(self, path):
        deadline = time.monotonic() + 30
        while True:
            self._alive()
            try:
                link = socket.socket(socket.AF_UNIX)
                link.connect(path)
                self.shell_socket = link
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise MachineError("QEMU opened no shell socket") from None
                time.sleep(0.1)

    def _alive(self):
        if self.process.poll() is not None:
            raise MachineError(f"QEMU ended with {self.process.returncode}; the console said:\n"
                               + self.console()[-3000:])

    def console(self):
        """All the console said since it was switched on."""
        with open(self.console_path, "rb") as log:
            return log.read().decode(errors="replace").replace("\r", "")

    def wait_console(self, pattern, within_s=BOOT_WITHIN_S):
        """Waits until the console says it; the match."""
        deadline = time.monotonic() + within_s
        while True:
            found = re.search(pattern, self.console())
            if found:
                return found
            self._alive()
            if time.monotonic() > deadline:
                raise MachineError(f"the console never said {pattern!r}; its end:\n"
                                   + self.console()[-3000:])
            time.sleep(0.5)

    def _read_until(self, pattern, within_s):
        deadline = time.monotonic() + within_s
        while True:
            found = re.search(pattern, self.pending)
            if found:
                before = self.pending[:found.start()]
                self.pending = self.pending[found.end():]
                return before, found
            left = deadline - time.monotonic()
            if left <= 0:
                raise MachineError(f"no {pattern!r} from the shell in {within_s} s; it said:\n"
                                   + self.pending[-2000:].decode(errors="replace"))
            self.shell_socket.settimeout(min(left, 5))
            try:
                data = self.shell_socket.recv(65536)
            except TimeoutError:
                self._alive()
                continue
            if not data:
                raise MachineError("the shell's line was closed")
            self.pending += data

    def wait_shell(self, within_s=BOOT_WITHIN_S):
        """Waits for the debug shell."""
        deadline = time.monotonic() + within_s
        while True:
            # Not echoed in one piece: the marker is put together by the shell alone.
            self.shell_socket.sendall(b"stty -echo; echo lucid-'shell'-ready\n")
            try:
                self._read_until(rb"lucid-shell-ready\r?\n", 5)
                break
            except MachineError:
                self._alive()
                if time.monotonic() > deadline:
                    raise MachineError("no debug shell; the console's end:\n"
                                       + self.console()[-3000:]) from None
        self.sh("PS1= PS2=; export TERM=dumb SYSTEMD_PAGER= SYSTEMD_COLORS=0 SYSTEMD_BUS_TIMEOUT=600s")

    def try_sh(self, command, within_s=COMMAND_WITHIN_S):
        """Runs a command as root; exit status and output."""
        mark = f"{time.monotonic_ns():x}"
        text = f"{{ {command}\n}} </dev/null 2>&1; printf '\\n@%s %s@\\n' {mark} $?\n"
        self.shell_socket.sendall(text.encode())
        before, found = self._read_until(rf"\r?\n@{mark} (\d+)@\r?\n".encode(), within_s)
        output = before.decode(errors="replace").replace("\r", "")
        return int(found.group(1)), output.strip("\n")

    def sh(self, command, within_s=COMMAND_WITHIN_S):
        """Runs a command as root that must succeed; its output."""
        status, output = self.try_sh(command, within_s)
        if status != 0:
            raise MachineError(f"in the machine, {command!r} ended with {status}: {output}")
        return output

    def cut_power(self):
        """Ends it as pulling the plug does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.shell_socket.close()

    def ended(self):
        """Whether it is off: switched off, cut, or its system restarts."""
        if self.process.poll() is None:
            return False
        self.shell_socket.close()
        return True

    def power_off(self, within_s=300):
        """Shuts it down in order."""
        self.shell_socket.sendall(b"systemctl poweroff\n")
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise MachineError("it did not switch itself off; the console's end:\n"
                               + self.console()[-3000:]) from None
        finally:
            self.shell_socket.close()
