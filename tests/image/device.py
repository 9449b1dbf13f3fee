"""The device as its owner meets it: HTTPS with the printed certificate, and the interface."""

import hashlib
import http.client
import json
import os
import re
import ssl
import time

from promise import check

PASSWORD = "correct horse battery staple"
PATIENCE_S = 900


class DeviceError(Exception):
    """The device answered what it must not."""


class Device:
    """A session of the owner. Certificate and key fingerprints are those of the first start."""

    def __init__(self, machine):
        self.machine = machine
        self.certificate = None
        self.token = None

    def _connect(self, timeout_s=60):
        context = ssl.create_default_context()
        # Known by its fingerprint, as the console prints it, and by no authority.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        link = http.client.HTTPSConnection("127.0.0.1", self.machine.port, timeout=timeout_s, context=context,
                                           blocksize=1 << 18)
        link.connect()
        seen = hashlib.sha256(link.sock.getpeercert(binary_form=True)).hexdigest()
        if self.certificate and seen != self.certificate:
            raise DeviceError(f"certificate {seen} is not the printed {self.certificate}")
        return link

    def raw(self, method, path, body=None):
        """One request; status and bytes of the answer."""
        headers = {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        link = self._connect()
        try:
            link.request(method, path, body, headers)
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def call(self, method, path, body=None):
        """A request of the interface that must succeed; JSON, or bytes where it is none."""
        status, answer = self.raw(method, f"/api/v1{path}", body)
        if status >= 300:
            raise DeviceError(f"{method} {path}: {status} {answer[:500]!r}")
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            return answer

    def get(self, path):
        """Reads a part of the interface."""
        return self.call("GET", path)

    def wait(self, what, path, test, within_s=PATIENCE_S):
        """Reads until the answer is as wanted; that answer."""
        deadline = time.monotonic() + within_s
        while True:
            answer = self.get(path)
            if test(answer):
                return answer
            if time.monotonic() > deadline:
                raise DeviceError(f"{what} did not come; {path} says {json.dumps(answer)[:2000]}")
            time.sleep(1)

    def wait_ready(self, within_s=1800):
        """Waits for /ready; seconds since the machine was switched on."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                status, _ = self.raw("GET", "/ready")
                if status == 200:
                    return time.monotonic() - self.machine.on_since
            except (OSError, http.client.HTTPException):
                pass
            self.machine._alive()
            if time.monotonic() > deadline:
                raise DeviceError("never ready; the console's end:\n" + self.machine.console()[-3000:])
            time.sleep(0.5)

    def claim(self):
        """Becomes the owner with the code on the console."""
        code = self.machine.wait_console(r"claim code\s+([0-9A-Z-]{19})", 120).group(1)
        printed = self.machine.wait_console(r"certificate\s+SHA-256 ([0-9A-F:]{95})", 120).group(1)
        self.certificate = printed.replace(":", "").lower()
        answer = self.call("POST", "/claim", {"code": code, "username": "owner", "password": PASSWORD})
        self.token = answer["token"]

    def sign_in(self, username):
        """Signs in with the password of the tests."""
        answer = self.call("POST", "/session-token", {"username": username, "password": PASSWORD})
        self.token = answer["token"]

    def upload(self, path, file, length=None):
        """Sends a file of the host's; status and answer. With `length` so many bytes are promised,
        and the line is cut after those of the file: then there is no answer."""
        link = self._connect(900)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/octet-stream",
                   "Content-Length": str(length or os.path.getsize(file))}
        try:
            with open(file, "rb") as body:
                try:
                    link.request("POST", f"/api/v1{path}", body, headers)
                except OSError:
                    # It may have been answered before all of it was sent.
                    pass
            if length:
                return None, None
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            link.close()

    def record_camera(self):
        """Lets the one camera of the machine be recorded; the source."""
        found = self.get("/sources/discovered")["items"]
        cameras = [item for item in found if item["kind"] == "v4l2"]
        check(cameras, f"the camera is offered: {found}")
        for source in self.get("/sources")["items"]:
            self.call("DELETE", f"/sources/{source['id']}")
        return self.call("POST", "/sources", {"name": "Gate", "uri": cameras[0]["uri"]})["id"]

    def recording(self, source):
        """Waits until the source is recorded; the session."""
        def ours(answer):
            return [s for s in answer["items"] if s["id"] == source and s["state"] == "recording"]
        answer = self.wait("the recording", "/sources", ours)
        return ours(answer)[0]["current_session_id"]

    def fragments(self, session):
        """Names of a session's newest fragments and their lengths in seconds: what is durable."""
        status, answer = self.raw("GET", f"/api/v1/sessions/{session}/live")
        if status != 200:
            return {}
        text = answer.decode()
        return {name: float(length) for length, name in
                re.findall(r"#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+\.m4s)", text)}

    def fragment(self, session, name):
        """The bytes of one."""
        return self.call("GET", f"/sessions/{session}/{name}")

    def export(self, session, path):
        """Exports a session into a file of the host."""
        job = self.call("POST", "/exports", {"session_id": session})
        job = self.wait("the export", f"/exports/{job['id']}",
                        lambda job: job["state"] in ("done", "failed"), 900)
        if job["state"] != "done":
            raise DeviceError(f"the export failed: {job}")
        bundle = self.call("GET", f"/exports/{job['id']}/download")
        with open(path, "wb") as out:
            out.write(bundle)
        return job
