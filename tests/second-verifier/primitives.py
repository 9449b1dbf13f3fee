"""The primitives of the evidence format in plain Python, from their specifications: BLAKE3, Ed25519 (RFC 8032,
verified strictly), XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, RFC 8439). Slow, and independent of the Rust code.
"""

import hashlib
import struct
import subprocess

MASK = 0xFFFFFFFF

# -- BLAKE3 ---------------------------------------------------------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, DERIVE_CONTEXT, DERIVE_MATERIAL = 1, 2, 4, 8, 32, 64
BLAKE3_CHUNK = 1024
BLAKE3_BLOCK = 64


def _compress(chaining, block, counter, length, flags):
    words = list(struct.unpack("<16I", block.ljust(BLAKE3_BLOCK, b"\0")))
    v = [*chaining, *IV[:4], counter & MASK, counter >> 32, length, flags]

    def mix(a, b, c, d, x, y):
        v[a] = (v[a] + v[b] + x) & MASK
        t = v[d] ^ v[a]
        v[d] = (t >> 16) | (t << 16) & MASK
        v[c] = (v[c] + v[d]) & MASK
        t = v[b] ^ v[c]
        v[b] = (t >> 12) | (t << 20) & MASK
        v[a] = (v[a] + v[b] + y) & MASK
        t = v[d] ^ v[a]
        v[d] = (t >> 8) | (t << 24) & MASK
        v[c] = (v[c] + v[d]) & MASK
        t = v[b] ^ v[c]
        v[b] = (t >> 7) | (t << 25) & MASK

    for turn in range(7):
        m = words
        mix(0, 4, 8, 12, m[0], m[1])
        mix(1, 5, 9, 13, m[2], m[3])
        mix(2, 6, 10, 14, m[4], m[5])
        mix(3, 7, 11, 15, m[6], m[7])
        mix(0, 5, 10, 15, m[8], m[9])
        mix(1, 6, 11, 12, m[10], m[11])
        mix(2, 7, 8, 13, m[12], m[13])
        mix(3, 4, 9, 14, m[14], m[15])
        if turn < 6:
            words = [words[at] for at in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def _last_of_chunk(key, data, counter, flags):
    """What the last compression of a chunk takes in, so that ROOT can be added to it."""
    chaining = key
    blocks = [data[at : at + BLAKE3_BLOCK] for at in range(0, len(data), BLAKE3_BLOCK)] or [b""]
    for number, block in enumerate(blocks):
        start = CHUNK_START if number == 0 else 0
        if number == len(blocks) - 1:
            return chaining, block, counter, len(block), flags | start | CHUNK_END
        chaining = _compress(chaining, block, counter, BLAKE3_BLOCK, flags | start)


def _subtree(key, data, counter, flags):
    if len(data) <= BLAKE3_CHUNK:
        return _last_of_chunk(key, data, counter, flags)
    left = BLAKE3_CHUNK
    while left * 2 < len(data):
        left *= 2
    parts = (data[:left], counter), (data[left:], counter + left // BLAKE3_CHUNK)
    pair = b"".join(struct.pack("<8I", *_compress(*_subtree(key, part, at, flags))) for part, at in parts)
    return key, pair, 0, BLAKE3_BLOCK, flags | PARENT


def _blake3(key, data, flags):
    chaining, block, counter, length, last = _subtree(key, data, 0, flags)
    return struct.pack("<8I", *_compress(chaining, block, counter, length, last | ROOT))


def blake3(data):
    """BLAKE3 of `data`, 32 bytes."""
    return _blake3(IV, bytes(data), 0)


def derive_key(context, material):
    """BLAKE3 in its key derivation mode, 32 bytes."""
    key = struct.unpack("<8I", _blake3(IV, context.encode(), DERIVE_CONTEXT))
    return _blake3(key, bytes(material), DERIVE_MATERIAL)


# -- Ed25519 --------------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def _add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number, point):
    result = NEUTRAL
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def _decode(data):
    """The point of its one encoding; none for anything else."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = _decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def _usable(data):
    point = _decode(data)
    return None if point is None or _equal(_times(8, point), NEUTRAL) else point


def usable_key(key):
    """Whether 32 bytes are a canonical point that is not of small order."""
    return _usable(key) is not None


def ed25519_verifies(key, message, signature):
    """Strict verification: canonical S, A and R, neither of small order, no cofactor."""
    a, r = _usable(key), _usable(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    return _equal(_times(s, BASE), _add(r, _times(k, a)))


# -- XChaCha20-Poly1305 ---------------------------------------------------------------------------


def _rounds(state):
    v = list(state)

    def quarter(a, b, c, d):
        for x, y, z, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            v[x] = (v[x] + v[y]) & MASK
            t = v[z] ^ v[x]
            v[z] = (t << by | t >> 32 - by) & MASK

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for at in range(4):
            quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return v


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def _chacha20(key, nonce, counter, length):
    out = b""
    while len(out) < length:
        state = (*CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce))
        mixed = _rounds(state)
        out += struct.pack("<16I", *((a + b) & MASK for a, b in zip(state, mixed)))
        counter += 1
    return out[:length]


def _poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        block = int.from_bytes(message[at : at + 16] + b"\1", "little")
        total = (total + block) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def xchacha20poly1305_open(key, nonce, associated, sealed):
    """The plaintext, or none if the tag is not right."""
    mixed = _rounds((*CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce[:16])))
    subkey = struct.pack("<8I", *mixed[:4], *mixed[12:])
    nonce = bytes(4) + nonce[16:]
    body, tag = sealed[:-16], sealed[-16:]

    def padded(data):
        return data + bytes(-len(data) % 16)

    lengths = struct.pack("<QQ", len(associated), len(body))
    one_time = _chacha20(subkey, nonce, 0, 32)
    if _poly1305(one_time, padded(associated) + padded(body) + lengths) != tag:
        return None
    stream = _chacha20(subkey, nonce, 1, len(body))
    return bytes(a ^ b for a, b in zip(body, stream))


# -- Zstandard ------------------------------------------------------------------------------------


def zstd_open(packed, limit):
    """What exactly one Zstandard frame holds, at most `limit` bytes; none for anything else."""
    if not packed.startswith(b"\x28\xb5\x2f\xfd") or len(packed) < 9:
        return None
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        run = subprocess.run(["zstd", "-dcq"], input=packed, capture_output=True, check=False)
        # The command takes frames one after the other; that there is one, its header tells below.
        plain = run.stdout if run.returncode == 0 else None
    else:
        decoder = zstd.ZstdDecompressor()
        try:
            plain = decoder.decompress(packed, max_length=limit + 1)
        except zstd.ZstdError:
            return None
        if not decoder.eof or decoder.unused_data:
            return None
    if plain is None or len(plain) > limit or _frame_end(packed) != len(packed):
        return None
    return plain


def _frame_end(packed):
    """Where the first frame ends (RFC 8878 section 3.1.1)."""
    descriptor = packed[4]
    single = descriptor >> 5 & 1
    size = (0, 2, 4, 8)[descriptor >> 6] or single
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + size
    while True:
        if at + 3 > len(packed):
            return None
        head = int.from_bytes(packed[at : at + 3], "little")
        kind, length = head >> 1 & 3, head >> 3
        at += 3 + (1 if kind == 1 else length)
        if head & 1:
            return at + (4 if descriptor >> 2 & 1 else 0)
