# SPDX-License-Identifier: Apache-2.0
"""What tests of the account plugin share: the account files as they stand, and passwords sealed with libsodium itself.
Only for use inside tests/rig/enter."""
import base64
import ctypes
import json
import os
import subprocess

FILES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
IDENTITY = "/var/lib/latchkey/identity"
sodium = ctypes.CDLL("libsodium.so.23")
libcrypt = ctypes.CDLL("libcrypt.so.1")
libcrypt.crypt.restype = ctypes.c_char_p


def crypt(word, setting):
    """crypt(3), which Python's own library has no more from 3.13 on."""
    return libcrypt.crypt(word.encode(), setting.encode()).decode()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, bytes_):
    """In place, so that owner and mode stay."""
    with open(path, "wb") as file:
        file.write(bytes_ if isinstance(bytes_, bytes) else bytes_.encode())


def entry(name, user):
    """The fields of the user's line, or None."""
    for line in read(f"/etc/{name}").decode("utf-8", "replace").splitlines():
        if line.split(":")[0] == user:
            return line.split(":")
    return None


def state_of(path):
    """Content, mode, owner and attributes of a file; None where there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not os.path.isfile(path) or os.path.islink(path):
        return (status.st_mode, status.st_uid, status.st_gid, os.readlink(path) if os.path.islink(path) else "")
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    bytes_ = read(path) if status.st_size < 1 << 24 else status.st_size
    return (status.st_mode, status.st_uid, status.st_gid, attributes, bytes_)


def snapshot(root=""):
    """The account files, every file of sudoers.d, the homes there are, and what lies about in /etc."""
    state = {name: state_of(f"{root}/etc/{name}") for name in FILES}
    folder = f"{root}/etc/sudoers.d"
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        state[f"sudoers.d/{name}"] = state_of(f"{folder}/{name}")
    state["homes"] = sorted((name, os.lstat(f"{root}/home/{name}").st_uid) for name in os.listdir(f"{root}/home"))
    state["left"] = [name for name in os.listdir(f"{root}/etc") if name.startswith(".latchkey.")]
    return state


def differences(before, after):
    return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


def complaints():
    """What pwck and grpck find, without the homes that this image never had."""
    out = subprocess.run("pwck -r; grpck -r", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    return [line for line in out.decode("utf-8", "replace").splitlines()
            if line and "does not exist" not in line and "no changes" not in line]


def box_public(name="box"):
    """The public half of the instance's box key."""
    public = ctypes.create_string_buffer(32)
    sodium.crypto_scalarmult_base(public, read(f"{IDENTITY}/{name}"))
    return public.raw


def new_box():
    public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    sodium.crypto_box_keypair(public, secret)
    return public.raw, secret.raw


def seal(public, value):
    text = json.dumps(value, ensure_ascii=False).encode()
    padded = text + b"\x80" + b"\0" * ((len(text) // 256 + 1) * 256 - len(text) - 1)
    out = ctypes.create_string_buffer(len(padded) + 48)
    sodium.crypto_box_seal(out, padded, ctypes.c_ulonglong(len(padded)), public)
    return base64.b64encode(out.raw).decode()


def unseal(public, secret, text):
    sealed = base64.b64decode(text)
    out = ctypes.create_string_buffer(len(sealed) - 48)
    if sodium.crypto_box_seal_open(out, sealed, ctypes.c_ulonglong(len(sealed)), public, secret) != 0:
        raise AssertionError("does not open")
    return json.loads(out.raw.rstrip(b"\0").removesuffix(b"\x80"))
