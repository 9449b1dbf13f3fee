#!/usr/bin/env python3
"""A second verifier of Lucid bundles, written from docs/evidence-format.md alone.

`verify.py FILE` judges a bundle up to its checkpoints; the anchor is the chain's and is not judged here.
`verify.py --check FOLDER` judges the fixtures and every change of them whose verdict is known.
`verify.py --compare FILE` judges the bundles that a list names with their verdicts.
"""

import json
import pathlib
import struct
import sys
import zlib
from datetime import datetime, timedelta, timezone

from primitives import (
    blake3,
    derive_key,
    ed25519_verifies,
    usable_key,
    xchacha20poly1305_open,
    zstd_open,
)

ORDER = ["valid", "unverifiable", "incomplete", "tampered"]
EXIT = {"valid": 0, "tampered": 10, "incomplete": 11, "unverifiable": 12}
PIECE = 64 << 10
CHUNK = 10 << 20
PIECES = 4096
CHUNKS = 1 << 20
GAP_REASONS, END_REASONS = 6, 9


class Stop(Exception):
    """A finding after which nothing more can be judged."""

    def __init__(self, verdict, text):
        super().__init__(text)
        self.verdict = verdict


class Bad(Exception):
    """Bytes that are not the one encoding of the structure."""


class UnknownVersion(Bad):
    """A structure of a later version."""


# -- CBOR -----------------------------------------------------------------------------------------


class Reader:
    """Deterministic CBOR, read field by field."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def head(self, major):
        if self.at >= len(self.data):
            raise Bad("the end")
        first = self.data[self.at]
        if first >> 5 != major:
            raise Bad("another type")
        value, self.at = first & 31, self.at + 1
        if value < 24:
            return value
        if value > 27:
            raise Bad("no definite length")
        size = 1 << value - 24
        raw = self.data[self.at : self.at + size]
        if len(raw) < size:
            raise Bad("the end")
        self.at += size
        number = int.from_bytes(raw, "big")
        if number < (24 if size == 1 else 1 << size * 4):
            raise Bad("not the shortest form")
        return number

    def uint(self, limit=2**64 - 1):
        number = self.head(0)
        if number > limit:
            raise Bad("over the limit")
        return number

    def int(self):
        negative = self.at < len(self.data) and self.data[self.at] >> 5 == 1
        number = -1 - self.head(1) if negative else self.head(0)
        if not -(2**63) <= number < 2**63:
            raise Bad("more than 64 bits")
        return number

    def string(self, major, limit):
        length = self.head(major)
        raw = self.data[self.at : self.at + length]
        if len(raw) < length or length > limit:
            raise Bad("the end, or over the limit")
        self.at += length
        return raw

    def bytes(self, limit):
        return self.string(2, limit)

    def fixed(self, length):
        raw = self.bytes(2**64)
        if len(raw) != length:
            raise Bad("another length")
        return raw

    def text(self, limit=512):
        try:
            return self.string(3, limit).decode()
        except UnicodeDecodeError:
            raise Bad("no UTF-8") from None

    def array(self, limit):
        count = self.head(4)
        if count > limit:
            raise Bad("over the limit")
        return count

    def exactly(self, major, count):
        if self.head(major) != count:
            raise Bad("another count")

    def key(self, number):
        if self.head(0) != number:
            raise Bad("another key")
        return self

    def structure(self, entries):
        """The head of a structure: its map, and its version below key 0."""
        self.exactly(5, entries)
        if self.key(0).uint() != 1:
            raise UnknownVersion("an unknown version")
        return self

    def simple(self, *allowed):
        byte = self.data[self.at : self.at + 1]
        if byte not in allowed:
            raise Bad("another value")
        self.at += 1
        return byte

    def null_or(self, read):
        if self.data[self.at : self.at + 1] == b"\xf6":
            self.at += 1
            return None
        return read()

    def session(self):
        raw = self.fixed(16)
        if raw[6] >> 4 != 7 or raw[8] >> 6 != 2:
            raise Bad("no UUIDv7")
        return raw

    def public_key(self):
        raw = self.fixed(32)
        if not usable_key(raw):
            raise Bad("no usable key")
        return raw

    def list(self, limit, read):
        return [read() for _ in range(self.array(limit))]

    def end(self):
        if self.at != len(self.data):
            raise Bad("bytes follow the end")


def encode_head(major, number):
    for size, limit in ((0, 24), (1, 1 << 8), (2, 1 << 16), (4, 1 << 32), (8, 1 << 64)):
        if number < limit:
            first = major << 5 | (number if size == 0 else 23 + size.bit_length())
            return bytes([first]) + (number.to_bytes(size, "big") if size else b"")
    raise ValueError(number)


def encode_string(major, raw):
    return encode_head(major, len(raw)) + raw


def open_cose(data, content_type):
    """Payload, signature, and the bytes that are signed."""
    reader = Reader(data)
    reader.exactly(6, 18)
    reader.exactly(4, 4)
    protected = reader.bytes(256)
    reader.exactly(5, 0)
    payload = reader.bytes(16 << 20)
    signature = reader.fixed(64)
    reader.end()
    expected = b"\xa2\x01\x27\x03" + encode_string(3, content_type.encode())
    if protected != expected:
        raise Bad("another content type")
    signed = b"\x84" + encode_string(3, b"Signature1") + encode_string(2, protected)
    return payload, signature, signed + encode_string(2, b"") + encode_string(2, payload)


# -- structures -----------------------------------------------------------------------------------


def read_gap(r):
    r.exactly(4, 2)
    return r.uint(), r.uint(GAP_REASONS - 1)


def read_manifest(data):
    r = Reader(data).structure(19)
    m = {"session": r.key(1).session(), "session_key": r.key(2).public_key()}
    r.key(3).exactly(4, 3)
    m["source"] = [r.text() for _ in range(3)]
    r.key(4).exactly(4, 7)
    m["video"], m["audio"] = r.null_or(r.text), r.null_or(r.text)
    r.uint(65535), r.uint(65535)
    m["encoder"] = r.text()
    m["hardware"] = r.simple(b"\xf4", b"\xf5") == b"\xf5"
    m["reason"] = r.text()
    m["device_name"] = r.key(5).text()
    m["device_key"] = r.key(6).public_key()
    m["software"] = r.key(7).text()
    r.key(8).null_or(lambda: r.fixed(32))
    r.key(9).list(256, r.text)
    m["start"], m["end"] = r.key(10).uint(), r.key(11).uint()
    m["duration"] = r.key(12).uint()
    m["end_reason"] = r.key(13).uint(END_REASONS - 1)
    m["size"] = r.key(14).uint(CHUNKS)
    m["root"] = r.key(15).fixed(32)

    def gap():
        r.exactly(4, 4)
        chunk, stream, _wall = r.uint(), r.uint(), r.uint()
        return chunk, stream, read_gap(r)

    def jump():
        r.exactly(4, 2)
        return r.uint(), r.int()

    m["gaps"] = r.key(16).list(65536, gap)
    r.key(17).list(65536, jump)
    r.key(18).list(1 << 20, r.uint)
    r.end()
    return m


def read_header(data):
    r = Reader(data).structure(16)
    h = {"session": r.key(1).session(), "index": r.key(2).uint()}
    h["video"] = r.key(3).uint(1) == 0
    r.key(4).uint(), r.key(5).uint()
    h["start"], h["end"] = r.key(6).uint(), r.key(7).uint()
    if h["end"] < h["start"]:
        raise Bad("the chunk ends before it starts")
    h["plain"] = r.key(8).uint(CHUNK)
    h["init"] = r.key(9).uint(min(64 << 10, h["plain"]))
    h["sealed"] = r.key(10).uint(CHUNK + PIECES * 21)
    h["pieces"] = r.key(11).uint(PIECES)
    h["nonce"] = r.key(12).fixed(16)
    h["hash"], h["commitment"] = r.key(13).fixed(32), r.key(14).fixed(32)
    h["gap"] = r.key(15).null_or(lambda: read_gap(r))
    r.end()
    return h


def read_proof(data):
    r = Reader(data).structure(7)
    p = {"session": r.key(1).session()}
    leaves = r.key(2).bytes(CHUNKS * 32)
    if len(leaves) % 32:
        raise Bad("part of a hash")
    p["leaves"] = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
    total = len(p["leaves"])
    p["first"] = r.key(3).uint(total)
    p["count"] = r.key(4).uint(total - p["first"])
    if p["count"] == 0 and p["first"]:
        raise Bad("no chunk is held")
    p["checkpoints"] = r.key(5).list(1 << 20, lambda: r.bytes(1024))
    r.key(6).null_or(lambda: r.bytes(256 << 20))
    r.end()
    return p


def read_keys(data):
    r = Reader(data).structure(4)
    k = {"session": r.key(1).session(), "first": r.key(2).uint()}
    keys = r.key(3).bytes(64 << 20)
    if len(keys) % 32:
        raise Bad("part of a key")
    k["keys"] = [keys[at : at + 32] for at in range(0, len(keys), 32)]
    r.end()
    return k


def read_checkpoint(data):
    r = Reader(data).structure(5)
    c = r.key(1).session(), r.key(2).uint(), r.key(3).fixed(32), r.key(4).uint()
    r.end()
    return c


# -- tree and pieces ------------------------------------------------------------------------------


def leaf_hash(data):
    return blake3(b"\0" + data)


def root(leaves):
    if not leaves:
        return blake3(b"")
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return blake3(b"\1" + root(leaves[:left]) + root(leaves[left:]))


def chunk_key(secret, index):
    return derive_key("lucid 2026-11 piece key v1", secret + index.to_bytes(8, "big"))


def commitment(key):
    return derive_key("lucid 2026-11 chunk key commitment v1", key)


def piece_nonce(header, piece, flags):
    return header["nonce"] + (piece | (flags >> 1) << 63).to_bytes(8, "big")


def piece_data(header, piece, flags):
    numbers = struct.pack(">QQBB", header["index"], piece, flags & 1, flags >> 1)
    return b"\1" + header["session"] + numbers


def open_pieces(header, key, sealed):
    """The plaintexts of a chunk's pieces, each as soon as it is open."""
    at = piece = 0
    last = False
    while at < len(sealed):
        if last:
            raise Bad("pieces follow the last one")
        flags, length = struct.unpack(">BI", sealed[at : at + 5].ljust(5, b"\xff"))
        frame = sealed[at + 5 : at + 5 + length]
        if flags > 3 or not 16 <= length <= PIECE + 16 or len(frame) < length:
            raise Bad("a malformed frame")
        nonce, data = piece_nonce(header, piece, flags), piece_data(header, piece, flags)
        plain = xchacha20poly1305_open(key, nonce, data, frame)
        if plain is not None and flags & 1:
            plain = zstd_open(plain, PIECE)
        if plain is None:
            raise Bad("a piece does not open")
        yield plain
        last = bool(flags & 2)
        at += 5 + length
        piece += 1
    if not last or piece != header["pieces"]:
        raise Bad("another number of pieces")


def open_chunk(header, key, sealed):
    plain = b"".join(open_pieces(header, key, sealed))
    if len(plain) != header["plain"]:
        raise Bad("another length of plaintext")
    return plain


def open_init(header, key, sealed):
    plain = b""
    for piece in open_pieces(header, key, sealed) if header["init"] else ():
        plain += piece
        if len(plain) >= header["init"]:
            break
    if len(plain) < header["init"]:
        raise Bad("the initialisation segment is cut")
    return plain[: header["init"]]


# -- the container --------------------------------------------------------------------------------

NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-/")
WIDE = 0xFFFFFFFF


def local_header(name, length, crc):
    wide = length >= WIDE
    extra = struct.pack("<HHQQ", 1, 16, length, length) if wide else b""
    short = WIDE if wide else length
    fields = (45, 0, 0, 0, 0x21, crc, short, short, len(name), len(extra))
    return b"PK\x03\x04" + struct.pack("<5H3I2H", *fields) + name + extra


def directory(entries, start):
    out = b""
    for name, offset, _, length, crc in entries:
        extra = struct.pack("<QQ", length, length) if length >= WIDE else b""
        extra += struct.pack("<Q", offset) if offset >= WIDE else b""
        if extra:
            extra = struct.pack("<HH", 1, len(extra)) + extra
        short = min(length, WIDE)
        out += b"PK\x01\x02" + struct.pack("<6H3I", 3 << 8 | 45, 45, 0, 0, 0, 0x21, crc, short, short)
        out += struct.pack("<5HII", len(name), len(extra), 0, 0, 0, 0o100644 << 16, min(offset, WIDE))
        out += name + extra
    count, length = len(entries), len(out)
    if count >= 0xFFFF or length >= WIDE or start >= WIDE:
        record = (44, 3 << 8 | 45, 45, 0, 0, count, count, length, start)
        out += b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", *record)
        out += b"PK\x06\x07" + struct.pack("<IQI", 0, start + length, 1)
    count = min(count, 0xFFFF)
    end = (0, 0, count, count, min(length, WIDE), min(start, WIDE), 0)
    return out + b"PK\x05\x06" + struct.pack("<4HIIH", *end)


def assemble(entries):
    """A container of these names and data."""
    out, listed = b"", []
    for name, data in entries:
        crc = zlib.crc32(data)
        header = local_header(name, len(data), crc)
        listed.append((name, len(out), len(out) + len(header), len(data), crc))
        out += header + data
    return out + directory(listed, len(out))


def walk(data):
    """The entries as (name, header offset, data offset, length, CRC-32)."""
    entries, at = [], 0
    foreign = Stop("unverifiable", "this is no Lucid bundle")
    cut = Stop("incomplete", "the file is cut")
    changed = Stop("tampered", "the container was changed")
    while True:
        fixed = data[at : at + 30]
        if len(fixed) < 4:
            raise cut if entries else foreign
        if entries and fixed[:4] == b"PK\x01\x02":
            break
        if fixed[:4] != b"PK\x03\x04":
            raise changed if entries else foreign
        if len(fixed) < 30:
            raise cut
        if len(entries) == (1 << 20) + 64:
            raise changed
        crc, short = struct.unpack("<II", fixed[14:22])
        name_length, extra_length = struct.unpack("<HH", fixed[26:30])
        if not 0 < name_length <= 32 or extra_length not in (0, 20):
            raise changed
        body = at + 30 + name_length + extra_length
        if body > len(data):
            raise cut
        name = data[at + 30 : at + 30 + name_length]
        if not NAME.issuperset(name):
            raise changed
        length = short if extra_length == 0 else int.from_bytes(data[body - 16 : body - 8], "little")
        if data[at:body] != local_header(name, length, crc):
            raise changed
        if not entries and name != b"README.txt":
            raise foreign
        entries.append((name, at, body, length, crc))
        at = body + length
        if at > len(data):
            raise cut
    expected, found = directory(entries, at), data[at:]
    if any(a != b for a, b in zip(expected, found)) or len(found) > len(expected):
        raise changed
    if len(found) < len(expected):
        raise cut
    return entries


# -- README.txt -----------------------------------------------------------------------------------

ENDS = ["stopped", "source ended", "recorder stopped without warning", "shutdown", "storage full"]
ENDS += ["source failed", "limit reached", "ended by policy"]
ENDS += ["void, its policy was no longer the anchored one"]


def deceives(c):
    n = ord(c)
    return (
        n < 32
        or 127 <= n < 160
        or n in (0x61C, 0x200E, 0x200F)
        or 0x2028 <= n <= 0x202E
        or 0x2066 <= n <= 0x2069
    )


def shown(text):
    return "".join(" " if deceives(c) else c for c in text)


def json_text(text):
    escape = {'"': '\\"', "\\": "\\\\"}
    parts = (f"\\u{ord(c):04x}" if deceives(c) else escape.get(c, c) for c in text)
    return '"' + "".join(parts) + '"'


def event_name(reader):
    name = reader.text(32)
    if not name or any(c not in "abcdefghijklmnopqrstuvwxyz0123456789_" for c in name):
        raise Bad("no name")
    return name


def event_value(reader, depth):
    """A value of an event's field, as JSON."""
    major = reader.data[reader.at] >> 5 if reader.at < len(reader.data) else None
    if major == 0:
        return str(reader.uint())
    if major == 2:
        return '"' + reader.bytes(16 << 10).hex() + '"'
    if major == 3:
        return json_text(reader.text(16 << 10))
    if major == 4 and depth:
        return "[" + ",".join(reader.list(16 << 10, lambda: event_value(reader, depth - 1))) + "]"
    return {b"\xf4": "false", b"\xf5": "true", b"\xf6": "null"}[
        reader.simple(b"\xf4", b"\xf5", b"\xf6")
    ]


def event_lines(plain):
    """The readable form of a chunk's events."""
    lines, at = [], 0
    while at < len(plain):
        reader = Reader(plain[at : at + (16 << 10)])
        reader.exactly(4, 5)
        if reader.uint() != 1:
            raise UnknownVersion("an event of an unknown version")
        stream, wall, kind = reader.uint(), reader.uint(), event_name(reader)
        line = f'{{"time":"{rfc3339(wall)}","stream_us":{stream},"kind":"{kind}"'
        fields = reader.head(5)
        if fields > 32:
            raise Bad("over the limit")
        before = (0, "")
        for _ in range(fields):
            name = event_name(reader)
            if (len(name), name) <= before or name in ("time", "stream_us", "kind"):
                raise Bad("a field out of place")
            before = len(name), name
            line += f',"{name}":{event_value(reader, 4)}'
        lines.append(line + "}\n")
        at += reader.at
    return "".join(lines).encode()


def codec(text):
    return "none" if text is None else shown(text)


def rfc3339(us):
    if us > 253402207199999999:
        return f"{us} microseconds after 1970"
    time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=us)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + "Z"


def readme(m, first, count, disclosed, videos, events):
    held = f"{first} to {first + count - 1} ({count} of {m['size']})" if count else "none"
    form = "sealed; their content cannot be seen without the keys"
    if disclosed:
        form = [
            "disclosed; keys.cbor opens them",
            "disclosed; video.mp4 holds what they show",
            "disclosed; the video files hold what they show",
        ][min(videos, 2)]
    if events:
        form += "; events.jsonl lists what happened"
    us = m["duration"]
    encoded = "hardware" if m["hardware"] else "no hardware encoding on the device"
    session = m["session"].hex()
    parts = (session[:8], session[8:12], session[12:16], session[16:20], session[20:])
    lines = [
        ("Session", "-".join(parts)),
        ("Source", f"{shown(m['source'][1])} ({shown(m['source'][2])})"),
        ("Recorded by", f"{shown(m['device_name'])}, {shown(m['software'])}"),
        ("Device key", blake3(m["device_key"]).hex()),
        ("Start", rfc3339(m["start"])),
        ("End", f"{rfc3339(m['end'])}, {ENDS[m['end_reason']]}"),
        ("Length", f"{us // 1000000}.{us % 1000000 // 1000:03} s"),
        ("Codec", f"{codec(m['video'])}, sound {codec(m['audio'])}"),
        ("Encoder", f"{shown(m['encoder'])} ({encoded}): {shown(m['reason'])}"),
        ("Gaps", str(len(m["gaps"]))),
        ("Chunks here", held),
        ("They are", form),
    ]
    return (
        "This file is evidence of a recording made by Lucid.\n\n"
        + "".join(f"{name:<12} {value}\n" for name, value in lines)
        + "\nTo check that nothing in it was changed, cut or exchanged, run\n"
        "\n    lucid verify FILE\n\n"
        "It needs no network, no account and no trust in whoever gave you the file. Compare the device\n"
        "key above and the chain it prints with what the device's owner wrote down when it was set up:\n"
        "the file alone proves that nothing changed since, not whose device it was.\n"
    ).encode()


# -- the judgement --------------------------------------------------------------------------------


class Judge:
    """Judges one bundle; the findings stand in `found`."""

    def __init__(self, data):
        self.data, self.found, self.entries = data, [], {}
        self.lacking = False

    def note(self, verdict, text):
        self.found.append((verdict, text))

    def small(self, name, limit):
        if name not in self.entries:
            self.note("incomplete", f"{name} is missing")
            return None
        _, _, at, length, crc = self.entries[name]
        if length > limit:
            self.note("tampered", f"{name} is too long")
            return None
        data = self.data[at : at + length]
        if zlib.crc32(data) != crc:
            self.note("tampered", f"{name} does not have its CRC-32")
        return data

    def structure(self, name, read, *arguments):
        try:
            return read(*arguments)
        except UnknownVersion as error:
            self.note("unverifiable", f"{name}: {error}")
        except Bad as error:
            self.note("tampered", f"{name}: {error}")
        return None

    def manifest(self, data):
        payload, signature, signed = open_cose(data, "application/vnd.lucid.manifest+cbor")
        manifest = read_manifest(payload)
        if not ed25519_verifies(manifest["device_key"], signed, signature):
            raise Bad("its signature is not the device's")
        return manifest

    def run(self):
        try:
            listed = walk(self.data)
        except Stop as stop:
            self.note(stop.verdict, str(stop))
            return
        for entry in listed:
            self.entries.setdefault(entry[0].decode(), entry)
        data = self.small("manifest.cose", 16 << 20)
        manifest = data is not None and self.structure("manifest.cose", self.manifest, data)
        if not manifest:
            return
        data = self.small("proof.cbor", 256 << 20)
        proof = data is not None and self.structure("proof.cbor", read_proof, data)
        if not proof:
            return
        if proof["session"] != manifest["session"]:
            self.note("tampered", "proof.cbor is of another session")
            return
        self.tree(manifest, proof)
        keys = None
        if "keys.cbor" in self.entries:
            data = self.small("keys.cbor", 64 << 20)
            keys = data is not None and self.structure("keys.cbor", read_keys, data)
            if not keys:
                return
            if (keys["session"], keys["first"], len(keys["keys"])) != (
                proof["session"],
                proof["first"],
                proof["count"],
            ):
                self.note("tampered", "keys.cbor is not about the chunks that are here")
                return
        chunks = self.headers(manifest, proof, keys)
        videos = self.chunks(chunks, keys, listed[-1][0] in (b"keys.cbor", b"events.jsonl"))
        happened = bool(keys) and any(not c["video"] and c["plain"] for c in chunks)
        if happened:
            self.events(chunks)
        names = ["README.txt", "manifest.cose"]
        names += [f"chunks/{proof['first'] + n:06}.bin" for n in range(proof["count"])]
        names += ["proof.cbor"] + (["keys.cbor"] if keys else [])
        names += ["events.jsonl"] if happened else []
        names += ["video.mp4" if n == 0 else f"video-{n + 1}.mp4" for n in range(len(videos))]
        missing = [name for name in names if name not in self.entries]
        for name in missing:
            self.note("incomplete", f"{name} is missing")
        if not missing and names != [entry[0].decode() for entry in listed]:
            self.note("tampered", "the entries are not those of this bundle")
        for name, video in zip(names[len(names) - len(videos) :], videos):
            self.video(name, video)
        shapes = [(len(videos), happened)]
        if self.lacking and keys:
            shapes += [(count, events) for count in range(3) for events in (False, True)]
        texts = [readme(manifest, proof["first"], proof["count"], bool(keys), *s) for s in shapes]
        data = self.small("README.txt", 64 << 10)
        if data is not None and data not in texts:
            self.note("tampered", "README.txt does not say what the manifest says")

    def tree(self, manifest, proof):
        leaves = proof["leaves"]
        if len(leaves) != manifest["size"] or root(leaves) != manifest["root"]:
            self.note("tampered", "the leaves do not make the manifest's root")
        before = None
        for data in proof["checkpoints"]:
            try:
                kind = "application/vnd.lucid.checkpoint+cbor"
                payload, signature, signed = open_cose(data, kind)
                if not ed25519_verifies(manifest["session_key"], signed, signature):
                    raise Bad("its signature is not the session's")
                session, size, checkpoint_root, time = read_checkpoint(payload)
            except Bad as error:
                self.note("tampered", f"a checkpoint: {error}")
                continue
            if session != manifest["session"]:
                self.note("tampered", "a checkpoint is of another session")
            elif before is not None and (size < before[0] or (size, time) == before):
                self.note("tampered", "a checkpoint is out of order or repeated")
            elif size > len(leaves) or root(leaves[:size]) != checkpoint_root:
                self.note("tampered", "a checkpoint contradicts the chunks")
            else:
                before = size, time

    def header(self, entry, index, leaves):
        _, _, at, length, _ = entry
        size = int.from_bytes(self.data[at : at + 4], "big") if length >= 4 else 2**32
        if size > 1024 or length < 4 + size:
            raise Bad("its header does not fit its entry")
        raw = self.data[at + 4 : at + 4 + size]
        if leaf_hash(raw) != leaves[index]:
            raise Bad("its header is not the leaf in the tree")
        header = read_header(raw)
        if header["index"] != index or length != 4 + size + header["sealed"]:
            raise Bad("its header is about another chunk")
        header["at"], header["head"] = at + 4 + size, self.data[at : at + 4 + size]
        header["crc"] = entry[4]
        return header

    def headers(self, manifest, proof, keys):
        chunks = []
        for n in range(proof["count"]):
            index = proof["first"] + n
            entry = self.entries.get(f"chunks/{index:06}.bin")
            if entry is None:
                self.lacking = True
                continue
            try:
                header = self.header(entry, index, proof["leaves"])
            except Bad as error:
                self.note("tampered", f"chunk {index}: {error}")
                continue
            if header["session"] != manifest["session"]:
                self.note("tampered", f"chunk {index} is of another session")
            header["key"] = keys["keys"][n] if keys else None
            chunks.append(header)
        self.gaps(manifest, chunks)
        return chunks

    def gaps(self, manifest, chunks):
        size, duration = manifest["size"], manifest["duration"]
        before = None
        declared = {}
        for chunk, stream, gap in manifest["gaps"]:
            end = stream + gap[0]
            wrong = end > duration or chunk > size or (chunk == size and end != duration)
            if wrong or (before and (chunk <= before[0] or stream < before[1])):
                self.note("tampered", "the manifest's gaps contradict each other")
            before = chunk, end if end <= duration else 2**64 - 1
            declared[chunk] = stream, gap
        previous = None
        for header in chunks:
            index, start = header["index"], header["start"]
            record = declared.get(index)
            if header["gap"] != (record and record[1]) or (record and record[0] + record[1][0] != start):
                self.note("tampered", f"chunk {index} and the manifest differ on its gap")
            ended = 0 if index == 0 else None
            if previous and previous["index"] + 1 == index:
                ended = previous["end"]
            if ended is not None:
                due = min(ended + (header["gap"][0] if header["gap"] else 0), 2**64 - 1)
                if start > due:
                    self.note("incomplete", f"time before chunk {index} is missing")
                elif start < due:
                    self.note("tampered", f"chunk {index} overlaps what is before it")
            previous = header
        ended = 0 if size == 0 else None
        if previous and previous["index"] + 1 == size:
            ended = previous["end"]
        if ended is not None:
            reached = ended + (declared[size][1][0] if size in declared else 0)
            if reached < duration:
                self.note("incomplete", "the chunks do not reach the stated length")
            elif reached > duration:
                self.note("tampered", "the chunks go beyond the stated length")

    def chunks(self, chunks, keys, without_video):
        """Judges the chunks; returns the plaintexts that make up each MP4."""
        videos, init_before = [], None
        for header in chunks:
            index, sealed = header["index"], self.data[header["at"] : header["at"] + header["sealed"]]
            if blake3(sealed) != header["hash"]:
                self.note("tampered", f"chunk {index}: its sealed bytes were changed")
            elif zlib.crc32(header["head"] + sealed) != header["crc"]:
                self.note("tampered", f"chunk {index} does not have its CRC-32")
            if not keys:
                continue
            if commitment(header["key"]) != header["commitment"]:
                self.note("tampered", f"chunk {index}: the key is not the one committed to")
                continue
            try:
                plain = open_chunk(header, header["key"], sealed)
                init = open_init(header, header["key"], sealed)
            except Bad as error:
                self.note("tampered", f"chunk {index}: {error}")
                continue
            if without_video or not header["video"] or not plain:
                continue
            if not videos or init != init_before:
                videos.append([])
                init_before = init
                init = b""
            videos[-1].append(plain[len(init) :])
        return [b"".join(parts) for parts in videos]

    def events(self, chunks):
        lines = []
        for header in chunks:
            if header["video"] or not header["plain"]:
                continue
            sealed = self.data[header["at"] : header["at"] + header["sealed"]]
            try:
                lines.append(event_lines(open_chunk(header, header["key"], sealed)))
            except UnknownVersion as error:
                self.note("unverifiable", f"chunk {header['index']}: {error}")
                return
            except Bad as error:
                self.note("tampered", f"chunk {header['index']}: {error}")
                return
        self.video("events.jsonl", b"".join(lines))

    def video(self, name, expected):
        entry = self.entries.get(name)
        if entry is None:
            return
        _, _, at, length, crc = entry
        if self.data[at : at + length] != expected or zlib.crc32(expected) != crc:
            verdict = "incomplete" if self.lacking else "tampered"
            self.note(verdict, f"{name} is not what the chunks hold")

    def verdict(self):
        return max((verdict for verdict, _ in self.found), key=ORDER.index, default="valid")


def judge(data):
    one = Judge(data)
    one.run()
    return one


# -- fixtures -------------------------------------------------------------------------------------


def check_values(values):
    """Every value that follows from the seeds by the document."""
    secret = bytes.fromhex(values["seeds"]["session_secret"])
    leaves = []
    for index, chunk in enumerate(values["chunks"]):
        raw = bytes.fromhex(chunk["header"])
        header = read_header(raw)
        key = chunk_key(secret, index)
        assert key.hex() == chunk["key"]
        assert commitment(key).hex() == chunk["key_commitment"] == header["commitment"].hex()
        assert header["hash"].hex() == chunk["sealed_hash"]
        assert leaf_hash(raw).hex() == chunk["leaf"]
        leaves.append(leaf_hash(raw))
        assert len(chunk["pieces"]) == header["pieces"]
        for piece, value in enumerate(chunk["pieces"]):
            assert piece_nonce(header, piece, value["flags"]).hex() == value["nonce"]
            assert piece_data(header, piece, value["flags"]).hex() == value["associated_data"]
    for size, value in enumerate(values["roots"]):
        assert root(leaves[:size]).hex() == value
    session_key = bytes.fromhex(values["session_key"])
    for value in values["checkpoints"]:
        kind = "application/vnd.lucid.checkpoint+cbor"
        payload, signature, signed = open_cose(bytes.fromhex(value["signed"]), kind)
        assert payload.hex() == value["payload"]
        assert ed25519_verifies(session_key, signed, signature)
    manifest = read_manifest(bytes.fromhex(values["manifest"]))
    assert manifest["root"] == root(leaves)
    assert blake3(manifest["device_key"]).hex() == values["device_fingerprint"]


def check_vectors(folder):
    """The published vectors of the primitives."""

    def load(name):
        return json.loads((folder / f"{name}.json").read_text())

    vectors = load("blake3")
    for case in vectors["cases"]:
        data = bytes(at % 251 for at in range(case["length"]))
        assert blake3(data).hex() == case["hash"]
        assert derive_key(vectors["context"], data).hex() == case["derive_key"]
    vector = {name: value for name, value in load("xchacha20poly1305").items() if name != "origin"}
    vector = {name: bytes.fromhex(value) for name, value in vector.items()}
    sealed = vector["ciphertext"] + vector["tag"]
    key, nonce, data = vector["key"], vector["nonce"], vector["aad"]
    assert xchacha20poly1305_open(key, nonce, data, sealed) == vector["plaintext"]
    assert xchacha20poly1305_open(key, nonce, data + b"x", sealed) is None
    for name in ("ed25519", "ed25519-edge-cases"):
        for case in load(name)["cases"]:
            parts = (bytes.fromhex(case[part]) for part in ("public", "message", "signature"))
            assert ed25519_verifies(*parts) == case.get("accept", True), case


def check(folder):
    check_vectors(folder / "vectors")
    check_values(json.loads((folder / "values.json").read_text()))
    wrong = judged = 0
    for case in json.loads((folder / "verdicts.json").read_text()):
        data = (folder / "bundles" / f"{case['bundle']}.lucid").read_bytes()
        trials = [("as it is", data, case["content"])]
        for change in case["changes"]:
            at = change["at"]
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            trials.append((f"with bit {at % 8} of byte {at} flipped", bytes(flipped), change["flip"]))
            trials.append((f"cut at byte {at}", data[:at], change["cut"]))
        entries = [(name, data[at : at + length]) for name, _, at, length, _ in walk(data)]
        assert assemble(entries) == data
        for change in case["inside"]:
            name = change["entry"].encode()
            place = [entry[0] for entry in entries].index(name)
            if "without" in change:
                rest = entries[:place] + entries[place + 1 :]
                trials.append((f"without {name}", assemble(rest), change["without"]))
                continue
            at, inside = change["at"], bytearray(entries[place][1])
            inside[at] ^= 1 << at % 8
            changed = [*entries[:place], (name, bytes(inside)), *entries[place + 1 :]]
            what = f"with bit {at % 8} of byte {at} of {name} flipped"
            trials.append((what, assemble(changed), change["flip"]))
        for what, trial, expected in trials:
            one = judge(trial)
            judged += 1
            if one.verdict() != expected:
                wrong += 1
                print(f"{case['bundle']} {what}: {one.verdict()}, not {expected}: {one.found}")
    print(f"{judged} bundles judged, {wrong} otherwise than by the first verifier")
    return 1 if wrong else 0


def compare(path):
    """Judges the bundles that a list names, with the verdicts they got from the first verifier."""
    cases = json.loads(path.read_text())
    wrong = 0
    for case in cases:
        one = judge((path.parent / case["bundle"]).read_bytes())
        if one.verdict() != case["verdict"]:
            wrong += 1
            print(f"{case['bundle']}: {one.verdict()}, not {case['verdict']}: {one.found}")
    print(f"{len(cases)} bundles judged, {wrong} otherwise than by the first verifier")
    return 1 if wrong else 0


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--compare":
        return compare(pathlib.Path(sys.argv[2]))
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        return check(pathlib.Path(sys.argv[2]))
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 64
    one = judge(pathlib.Path(sys.argv[1]).read_bytes())
    for verdict, text in one.found:
        print(f"{verdict}: {text}")
    print(f"content: {one.verdict()} (the anchor is not judged here)")
    return EXIT[one.verdict()]


if __name__ == "__main__":
    sys.exit(main())
