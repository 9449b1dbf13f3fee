"""The rows of the table in docs/updates.md, tried on the image in one machine.

Bundles are brought over the page's interface. Whatever becomes of them, after every row the device
has to record on a system that works.
"""

import http.client
import os
import time

from bundles import Bundles, crashes, fails_its_test, hangs
from device import Device, DeviceError
from machine import MachineError
from promise import Failed, check, say

ROWS = ("wrong_signature", "plain", "cut_short", "older", "data_format", "called_off", "full_disk",
        "no_system", "a_to_b", "b_to_a", "rauc_ends", "crashes", "self_test", "hangs", "cut")
# A whole installation, its restart and its trial on a slow machine.
WITHIN_S = 3600
# QEMU's name of a watchdog that Debian's kernel drives.
WATCHDOG = "i6300esb"
# Of the cuts, those while the slot is written; the others fall around the arming of the trial.
WRITING = 0.6

NEVER_STARTED = "did not get as far as starting Lucid"
# What a device says, or does not, that is starting or going down.
UNREACHED = (OSError, http.client.HTTPException, DeviceError)


class Updates:
    """One machine, its owner, and what was seen."""

    def __init__(self, options, machine, dice):
        self.options = options
        self.machine = machine
        self.device = Device(machine)
        self.dice = dice
        self.seen = {}
        self.source = None
        self.devices = ()
        self.installing_s = 60.0
        version = os.path.basename(options.image).split("-")[1]
        major, minor = version.split(".")[:2]
        self.newer, self.older_version = f"{major}.{int(minor) + 1}.0", "0.0.1"
        self.bundles = Bundles(machine.image, options.update_cert, options.update_key)
        self.whole = (self.bundles.root, self.bundles.boot)

    def run(self):
        """Every row that was asked for; fails at the end if one did."""
        rows = self.options.rows.split(",") if self.options.rows else ROWS
        failed = []
        try:
            self.machine.start()
            self.device.wait_ready()
            self.device.claim()
            self.source = self.device.record_camera()
            self.records()
            for row in ROWS:
                if row not in rows:
                    continue
                began = time.monotonic()
                try:
                    words = getattr(self, row)()
                except (Failed, *UNREACHED, MachineError) as failure:
                    failed.append(row)
                    words = f"FAILED: {type(failure).__name__}: {failure}"
                self.seen[row] = {"seen": words, "s": round(time.monotonic() - began)}
                say(f"  {row} ({self.seen[row]['s']} s): {words}")
                self.rest()
            health = self.device.get("/evidence-health")
            check(not health.get("quarantine"), f"nothing had to be put aside: {health}")
            self.machine.power_off()
        finally:
            if self.machine.process and self.machine.process.poll() is None:
                self.machine.process.kill()
        check(not failed, f"rows: {', '.join(failed)}")

    # -- what every row is made of --

    def records(self):
        """It records: a session whose length grows."""
        session = self.device.recording(self.source)
        path = f"/sessions/{session}"
        before = self.device.get(path)["duration_s"]
        self.device.wait("more of the recording", path, lambda s: s["duration_s"] > before + 2)
        return session

    def rest(self):
        """Waits until no update is under way and it records again."""
        self.follow("rest", lambda view: view["attempt"] is None and not view["on_trial"])
        self.device.wait_ready()
        self.device.call("PATCH", f"/sources/{self.source}", {"enabled": True})
        self.records()

    def follow(self, what, test, within_s=WITHIN_S, every_s=1.0):
        """Reads where the update stands until it is as wanted; that answer. The machine is switched
        on again when its system restarts."""
        deadline, shown, why = time.monotonic() + within_s, None, "no answer"
        while True:
            if self.machine.ended():
                self.machine.start(*self.devices)
            try:
                view = self.device.get("/system/updates")
                now = f"{view['slot']}{' on trial' if view['on_trial'] else ''}: {view['state']}"
                if now != shown:
                    say(f"    {now} ({time.monotonic() - self.machine.on_since:.0f} s after the start)")
                    shown = now
                if test(view):
                    return view
                why = str(view)
            except UNREACHED as failure:
                why = str(failure)
            check(time.monotonic() < deadline, f"{what} did not come: {why[:2000]}")
            time.sleep(every_s)

    def until(self, test):
        """Waits for a moment of the update under way; that answer."""
        view = self.follow("the moment", lambda view: view["attempt"] is None or test(view), every_s=0.3)
        check(view["attempt"], f"the update is under way: {view['history'][:1]}")
        return view

    def bring(self, bundle, how=""):
        """Brings a bundle that must be taken in; its id."""
        began = time.monotonic()
        status, view = self.device.upload(f"/system/updates/bundle?{how}", bundle)
        check(status == 202, f"the bundle is taken in: {status} {view}")
        say(f"    brought in {time.monotonic() - began:.0f} s")
        return (view["attempt"] or view["history"][0])["id"]

    def end(self, update):
        """Waits until an update is over; how it ended."""
        def over(view):
            return view["attempt"] is None and not view["on_trial"] and ends(view)
        def ends(view):
            return [ended for ended in view["history"] if ended["id"] == update]
        return ends(self.follow("the end of the update", over))[0]

    def boot_files(self):
        """What decides which system starts, and what RAUC says was installed."""
        view = self.device.wait("RAUC's slots", "/system/updates", lambda view: view["slots"])
        return [(slot["name"], slot["version"]) for slot in view["slots"]], \
            self.machine.sh("sha256sum /boot/config/lucid-boot.env /boot/config/autoboot.txt")

    def refused(self, bundle, outcome, how="at_once=true"):
        """A bundle that must not be installed: nothing is changed, nothing is left. The reason."""
        session = self.records()
        self.machine.wait_shell()
        before = self.boot_files()
        ended = self.end(self.bring(bundle, how))
        check(ended["outcome"] == outcome and ended["reason"], f"{outcome}, with the reason: {ended}")
        self.untouched(before)
        check(self.device.recording(self.source) == session, "the recording went on")
        return f"{outcome}: {ended['reason']}"

    def untouched(self, before):
        """The boot files are as before, and no bundle is left."""
        check(self.boot_files() == before, f"nothing changed: {before} {self.boot_files()}")
        left = self.machine.sh("ls /var/lib/lucid/updates")
        check("bundle" not in left, f"no bundle is left: {left}")

    # -- bundles that are refused --

    def wrong_signature(self):
        """Signed by somebody else."""
        return self.refused(self.bundles.make("foreign", self.newer, signer=self.bundles.stranger()),
                            "failed")

    def plain(self):
        """In the format whose parts are not checked while they are read."""
        return self.refused(self.bundles.make("plain", self.newer, kind="plain"), "failed")

    def cut_short(self):
        """Half a bundle; one whose line is cut while it comes."""
        whole = self.bundles.make("half", self.newer)
        size = os.path.getsize(whole)
        os.truncate(whole, size // 2)
        words = self.refused(whole, "failed")
        before, history = self.boot_files(), self.device.get("/system/updates")["history"]
        self.device.upload("/system/updates/bundle", whole, size)
        # The next one is let in once the device has noticed.
        self.device.wait("the end of the upload", "/system/updates", lambda view: view["attempt"] is None)
        time.sleep(5)
        self.untouched(before)
        check(self.device.get("/system/updates")["history"] == history, "it never was an update")
        return f"{words}; the line cut while it came: nothing left"

    def older(self):
        """An older version, not allowed. Allowed, it is the way back in `b_to_a`."""
        return self.refused(self.bundles.make("older-tiny", self.older_version), "refused")

    def data_format(self):
        """Systems that could not read the recordings here."""
        late = self.bundles.make("late", self.newer, formats=(3, 2))
        early = self.bundles.make("early", self.newer, formats=(0, 0))
        return f"{self.refused(late, 'refused')}; {self.refused(early, 'refused')}"

    def called_off(self):
        """It waits while something is recorded, until it is called off."""
        self.machine.wait_shell()
        before = self.boot_files()
        session = self.records()
        update = self.bring(self.bundles.make("waits", self.newer))
        view = self.until(lambda view: view["state"] == "waiting" and view["attempt"]["note"])
        waits = view["attempt"]["note"]
        self.records()
        check(self.device.get("/system/updates")["state"] == "waiting", "it still waits")
        self.device.call("POST", "/system/updates/cancel")
        ended = self.end(update)
        check(ended["outcome"] == "cancelled", f"called off: {ended}")
        self.untouched(before)
        check(self.device.recording(self.source) == session, "the recording went on")
        return f"waited {waits}; {ended['reason']}, nothing left"

    def full_disk(self):
        """No room for the bundle beside what is kept free for recording."""
        self.machine.wait_shell()
        before = self.boot_files()
        whole = self.bundles.make("newer", self.newer, self.whole)
        # 1 GiB is kept free; 64 MiB more are left, which is less than a bundle has.
        keep = (1 << 30) + (64 << 20)
        self.machine.sh(f"""
            free=$(df -B1 --output=avail /var/lib/lucid | tail -n 1)
            fallocate -l $((free - {keep})) /data/filler""")
        try:
            status, answer = self.device.upload("/system/updates/bundle?at_once=true", whole)
            check(status == 507, f"there is no room: {status} {answer}")
            self.untouched(before)
            self.records()
        finally:
            self.machine.sh("rm /data/filler; sync")
        return f"{status}: {answer['detail']}; it recorded on"

    # -- updates that work --

    def updated(self, bundle, how, meanwhile=None):
        """An update that must work: other slot, confirmed, stated on the chain, and the recording that
        ran ended in order."""
        before = self.device.get("/system/updates")["slot"]
        session = self.records()
        update = self.bring(bundle, how)
        if meanwhile:
            meanwhile()
        self.until(lambda view: view["state"] == "installing")
        began = time.monotonic()
        self.follow("the end of the installation", lambda view: view["state"] != "installing")
        self.installing_s = time.monotonic() - began
        ended = self.end(update)
        check(ended["outcome"] == "confirmed", f"confirmed: {ended}")
        view = self.device.get("/system/updates")
        check(view["slot"] != before and view["default_slot"] == view["slot"],
              f"the other slot is the default: {view}")
        view = self.device.wait("the statement", "/system/updates", lambda view: view["history"][0]["statement"])
        stated = self.device.get(f"/chain/transactions/{view['history'][0]['statement']}")
        check(stated, "the statement is on the chain")
        self.device.wait("the end of the recording", f"/sessions/{session}",
                         lambda s: s["state"] == "completed")
        gaps = self.device.get(f"/sessions/{session}")["gaps"]
        check(all(gap["reason"] != "crash" for gap in gaps), f"the recording ended in order: {gaps}")
        self.machine.wait_shell()
        check(f"rauc.slot={view['slot']}" in self.machine.sh("cat /proc/cmdline"), "the slot that runs")
        check(" V" in f" {self.machine.sh('dmsetup status root')}", "its root is whole")
        return f"confirmed on {view['slot']}, stated on the chain; written in {self.installing_s:.0f} s"

    def a_to_b(self):
        """A newer version, at once."""
        return self.updated(self.bundles.make("newer", self.newer, self.whole), "at_once=true")

    def b_to_a(self):
        """An older version, allowed, once nothing is recorded any more."""
        def stop():
            self.until(lambda view: view["state"] == "waiting" and view["attempt"]["note"])
            self.records()
            check(self.device.get("/system/updates")["state"] == "waiting", "it waits while it records")
            self.device.call("PATCH", f"/sources/{self.source}", {"enabled": False})
        bundle = self.bundles.make("older", self.older_version, self.whole)
        return f"waited until the recording was over; {self.updated(bundle, 'allow_older=true', stop)}"

    # -- updates that fail --

    def rauc_ends(self):
        """RAUC is killed while it writes."""
        update = self.bring(self.bundles.make("newer", self.newer, self.whole), "at_once=true")
        self.machine.wait_shell()
        self.until(lambda view: view["state"] == "installing" and view["attempt"]["progress"] > 0.4)
        self.machine.sh("systemctl kill -s KILL rauc.service")
        ended = self.end(update)
        check(ended["outcome"] == "failed", f"failed: {ended}")
        return f"failed: {ended['reason']}"

    def broken(self, name, change):
        """A bundle of a system that does not work."""
        return self.bundles.make(name, self.newer, self.bundles.broken(name, change))

    def fell_back(self, bundle, words):
        """A system that does not work: the one before runs, and says why."""
        before = self.device.get("/system/updates")["slot"]
        ended = self.end(self.bring(bundle, "at_once=true"))
        check(ended["outcome"] == "fell_back", f"fell back: {ended}")
        check(words in ended["reason"], f"the reason names {words}: {ended}")
        view = self.device.get("/system/updates")
        check(view["slot"] == view["default_slot"] == before, f"the system before runs: {view}")
        return f"fell back to {before}: {ended['reason']}"

    def no_system(self):
        """Its root is none: the initrd cannot start it."""
        return self.fell_back(self.bundles.make("no-system", self.newer), NEVER_STARTED)

    def crashes(self):
        """Its Lucid ends as soon as it is started."""
        return self.fell_back(self.broken("crashes", crashes), "lucid.service")

    def self_test(self):
        """It runs, and records nothing but cameras."""
        return self.fell_back(self.broken("fails", fails_its_test), "self-test")

    def hangs(self):
        """It hangs before Lucid; the watchdog resets the machine."""
        self.devices = (WATCHDOG,)
        try:
            return self.fell_back(self.broken("hangs", hangs), NEVER_STARTED)
        finally:
            self.devices = ()

    # -- power --

    def cut(self):
        """The power is cut again and again while an update is installed, and around its arming."""
        bundle = self.bundles.make("newer", self.newer, self.whole)
        before = [ended["id"] for ended in self.device.get("/system/updates")["history"]]
        writing = round(self.options.cuts * WRITING)
        cuts = []
        for number in range(self.options.cuts):
            view = self.follow("rest or an installation",
                               lambda view: view["attempt"] is None or view["state"] == "installing")
            if view["attempt"] is None:
                self.records()
                self.bring(bundle, "at_once=true")
            self.until(lambda view: view["state"] == "installing")
            cuts.append(self.cut_once(number < writing))
            say(f"    cut {number + 1} of {self.options.cuts}: {cuts[-1]}")
        self.rest()
        history = self.device.get("/system/updates")["history"]
        ended = [f"{e['outcome']} {e['reason']}".strip() for e in history if e["id"] not in before]
        check(all(words == "confirmed" or "cut 3 times" in words for words in ended),
              f"each update was confirmed or cut three times: {ended}")
        return {"cuts": cuts, "ended": ended}

    def cut_once(self, writing):
        """One cut; what was cut, what started then, and after how long it recorded."""
        wait = self.dice.uniform(0, self.installing_s if writing else 6)
        if writing:
            until = time.monotonic() + wait
            self.follow("the moment", lambda view: view["state"] != "installing"
                        or time.monotonic() >= until, every_s=0.2)
        else:
            self.follow("the arming", lambda view: view["state"] != "installing", every_s=0.2)
            time.sleep(wait)
        try:
            view = self.device.get("/system/updates")
            what = f"{view['state']} {(view['attempt'] or {}).get('progress') or ''}".strip()
        except UNREACHED:
            what = "shutting down"
        self.machine.cut_power()
        self.machine.start()
        self.device.wait_ready()
        self.records()
        took = time.monotonic() - self.machine.on_since
        view = self.device.get("/system/updates")
        trial = " on trial" if view["on_trial"] else ""
        return f"{what} after {wait:.1f} s; {view['slot']}{trial} recorded after {took:.0f} s"
