# SPDX-License-Identifier: Apache-2.0
"""The world on a disk, strace's log of what was changed in it, and every tree that a power failure may leave: for power.py,
which states the rules."""
import os
import re
import shutil
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import STATE  # noqa: E402

CALLS = ("openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,ftruncate,truncate,fallocate,rename,renameat,"
         "renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,mknod,mknodat,fchmod,fchmodat,chmod,fchown,fchownat,"
         "chown,lchown,fsync,fdatasync,sync,syncfs,lseek,setresuid,setresgid")
# Where the programs write. Of /etc only files and these folders: the rest is never theirs, and stays as it is.
TREES = ("/etc", "/etc/sudoers.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/latchkey", "/home", "/var/lib/latchkey")
DEEP = ("/home", "/var/lib/latchkey")


class Node:
    """An inode. `entries` of a directory: name -> number of the inode; `content`: a file's bytes, a link's target."""

    def __init__(self, kind, mode, uid=0, gid=0, content=b""):
        self.kind, self.mode, self.uid, self.gid = kind, mode, uid, gid
        self.content, self.entries = content, {}

    def copy(self):
        node = Node(self.kind, self.mode, self.uid, self.gid, self.content)
        node.entries = dict(self.entries)
        return node


class World(dict):
    """Number -> inode; 0 is the root."""

    def copy(self):
        return World((number, node.copy()) for number, node in self.items())

    def add(self, node):
        number = len(self)
        self[number] = node
        return number

    def load(self, path):
        """What is on disk, cut to TREES."""
        status = os.lstat(path)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            return self.add(Node("link", 0o777, status.st_uid, status.st_gid, os.readlink(path)))
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                return self.add(Node("file", mode, status.st_uid, status.st_gid, file.read()))
        node = Node("directory", mode, status.st_uid, status.st_gid)
        number = self.add(node)
        for name in os.listdir(path):
            inner = os.path.join(path, name)
            if is_ours(inner):
                node.entries[name] = self.load(inner)
        return number

    def store(self, number, path):
        """Makes the disk say the same; what is equal is left alone."""
        node = self[number]
        for name in os.listdir(path):
            inner = os.path.join(path, name)
            if name not in node.entries and is_ours(inner):
                remove(inner)
        for name, inner in node.entries.items():
            self.store_one(inner, os.path.join(path, name))

    def store_one(self, number, place):
        node = self[number]
        status = os.lstat(place) if os.path.lexists(place) else None
        if status and (stat.S_IFMT(status.st_mode) != FORMATS[node.kind] or (node.kind != "directory" and not says(place, node))):
            remove(place)
            status = None
        if not status:
            if node.kind == "link":
                os.symlink(node.content, place)
            elif node.kind == "directory":
                os.mkdir(place)
            else:
                with open(place, "wb") as file:
                    file.write(node.content)
        if not status or (status.st_uid, status.st_gid) != (node.uid, node.gid):
            os.lchown(place, node.uid, node.gid)
            status = None
        if node.kind != "link" and (not status or stat.S_IMODE(status.st_mode) != node.mode):
            os.chmod(place, node.mode)
        if node.kind == "directory":
            self.store(number, place)


FORMATS = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "link": stat.S_IFLNK}


def is_ours(path):
    """Whether the world holds it: folders of /etc that no program of ours writes are not looked at."""
    return any(path == deep or path.startswith(deep + "/") for deep in DEEP) or path in TREES or os.path.islink(path) or not os.path.isdir(path)


def says(path, node):
    if node.kind == "link":
        return os.readlink(path) == node.content
    with open(path, "rb") as file:
        return os.fstat(file.fileno()).st_nlink == 1 and file.read() == node.content


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def load_world():
    world = World()
    root = world[world.add(Node("directory", 0o755))]
    for top in ("etc", "home"):
        root.entries[top] = world.load("/" + top)
    parent = root
    for name in ("var", "lib"):
        parent.entries[name] = world.add(Node("directory", 0o755))
        parent = world[parent.entries[name]]
    parent.entries["latchkey"] = world.load(STATE)
    return world


def store_world(world):
    for path in ("/etc", "/home", STATE):
        number = 0
        for name in path.split("/")[1:]:
            number = world[number].entries[name]
        world.store(number, path)


class Change:
    """One change: an entry of directories (`places`), or a file's own bytes, owner or mode (`file`)."""

    def __init__(self, moment, text, places=(), file=None, **what):
        self.moment, self.text, self.places, self.file, self.what = moment, text, places, file, what
        self.needs = set()       # changes that are there if this one is
        self.durable_at = None   # the moment of the sync that covers it

    def apply(self, world, births, half=False):
        what = self.what
        for number in (*self.places, self.file, what.get("node")):
            if number is not None and number not in world:
                world[number] = births[number].copy()
        if "data" in what:
            file, at = world[self.file], what["at"]
            data = what["data"][:len(what["data"]) // 2] if half else what["data"]
            file.content = file.content[:at].ljust(at, b"\0") + data + file.content[at + len(data):]
        elif "size" in what:
            file = world[self.file]
            file.content = (file.content if what["grow"] else file.content[:what["size"]]).ljust(what["size"], b"\0")
        elif "attributes" in what:
            for name, value in what["attributes"].items():
                setattr(world[self.file], name, value)
        elif "node" in what:
            world[self.places[0]].entries[what["name"]] = what["node"]
        elif "to" in what:
            source, target = world[self.places[0]].entries, world[self.places[-1]].entries
            moved = source.pop(what["name"])
            if what["exchange"]:
                source[what["name"]] = target[what["to"]]
            target[what["to"]] = moved
        else:
            world[self.places[0]].entries.pop(what["name"], None)


class Recorder:
    """Takes strace's log down as changes, on a world of its own that follows them."""

    def __init__(self, world):
        self.world, self.births, self.changes = world, {}, []
        self.positions, self.appends, self.owner = {}, set(), (0, 0)
        self.last = {}  # directory -> its last change, or the one that made it
        self.moment, self.counter = 0, max(world) + 1

    def find(self, path):
        number = 0
        for part in [part for part in path.split("/") if part]:
            node = self.world[number]
            if node.kind != "directory" or part not in node.entries:
                return None
            number = node.entries[part]
        return number

    def place(self, at, name):
        """(directory, last name) of a path as openat(2) and its like take it, or None outside the world."""
        path = os.path.normpath(name if name.startswith("/") else f"{at}/{name}")
        directory = self.find(os.path.dirname(path)) if is_ours(path) or self.find(os.path.dirname(path)) else None
        return (directory, os.path.basename(path)) if directory else None

    def born(self, kind, mode, content=b""):
        number = self.counter
        self.counter += 1
        self.births[number] = Node(kind, mode, *self.owner, content)
        return number

    def add(self, text, places=(), file=None, **what):
        change = Change(self.moment, text, places, file, **what)
        for directory in places:
            if directory in self.last:
                change.needs.add(self.last[directory])
            self.last[directory] = change
        change.apply(self.world, self.births)
        self.changes.append(change)
        return change

    def sync(self, number=None):
        """This inode is on disk as it is now; without one everything is."""
        for change in self.changes:
            if change.durable_at is None and (number is None or change.file == number or number in change.places):
                change.durable_at = self.moment

    def take(self, call, arguments, result, text):
        self.moment += 1
        take = getattr(self, "take_" + call, None)
        if take:
            take(arguments, result, text)
            return
        # The rest is about an open file.
        number = self.find(arguments[0]) if arguments and isinstance(arguments[0], str) else None
        if call == "sync":
            self.sync()
        elif call == "syncfs":
            self.sync()
        elif number is None:
            return
        elif call in ("fsync", "fdatasync"):
            self.sync(number)
        elif call == "lseek":
            self.positions[number] = int(result)
        elif call in ("write", "pwrite64"):
            data, node = arguments[1][:int(result)], self.world[number]
            at = int(arguments[3]) if call == "pwrite64" else len(node.content) if number in self.appends else self.positions.get(number, 0)
            if call == "write":
                self.positions[number] = at + len(data)
            self.add(text, (), number, at=at, data=data)
        elif call == "ftruncate":
            self.add(text, (), number, size=int(arguments[1]), grow=False)
        elif call == "fallocate":
            assert arguments[1] == "0", text
            self.add(text, (), number, size=int(arguments[2]) + int(arguments[3]), grow=True)
        elif call == "fchmod":
            self.add(text, (), number, attributes={"mode": int(arguments[1], 8)})
        elif call == "fchown":
            owner = {name: int(value) for name, value in zip(("uid", "gid"), arguments[1:]) if value != "-1"}
            self.add(text, (), number, attributes=owner)
        else:
            raise AssertionError(f"a call that this simulator does not know: {text}")

    def take_openat(self, arguments, _, text):
        place, flags = self.place(arguments[0], arguments[1]), arguments[2]
        if not place or "O_WRONLY" not in flags and "O_RDWR" not in flags:
            return
        number = self.world[place[0]].entries.get(place[1])
        if number is None:
            assert "O_CREAT" in flags, text
            number = self.born("file", int(arguments[3], 8))
            self.add(text, (place[0],), name=place[1], node=number)
        elif "O_TRUNC" in flags:
            self.add(text, (), number, size=0, grow=False)
        self.positions[number] = 0
        (self.appends.add if "O_APPEND" in flags else self.appends.discard)(number)

    def take_mkdirat(self, arguments, _, text):
        place = self.place(arguments[0], arguments[1])
        if place:
            number = self.born("directory", int(arguments[2], 8))
            self.last[number] = self.add(text, (place[0],), name=place[1], node=number)

    def take_symlinkat(self, arguments, _, text):
        place = self.place(arguments[1], arguments[2])
        if place:
            self.add(text, (place[0],), name=place[1], node=self.born("link", 0o777, arguments[0]))

    def take_linkat(self, arguments, _, text):
        old, new = self.place(arguments[0], arguments[1]), self.place(arguments[2], arguments[3])
        if old and new:
            self.add(text, (new[0],), name=new[1], node=self.world[old[0]].entries[old[1]])

    def take_unlinkat(self, arguments, _, text):
        place = self.place(arguments[0], arguments[1])
        if place:
            gone = self.world[place[0]].entries[place[1]]
            change = self.add(text, (place[0],), name=place[1])
            if gone in self.last:  # a directory goes after what was in it
                change.needs.add(self.last[gone])

    def take_renameat2(self, arguments, _, text):
        old, new = self.place(arguments[0], arguments[1]), self.place(arguments[2], arguments[3])
        assert bool(old) == bool(new), text
        if old:
            self.add(text, (old[0], new[0]) if old[0] != new[0] else (old[0],), name=old[1], to=new[1],
                     exchange="RENAME_EXCHANGE" in arguments[-1])

    take_renameat = take_renameat2


# Which arguments are names; other text is bytes.
NAMES = {"openat": (1,), "mkdirat": (1,), "unlinkat": (1,), "renameat": (1, 3), "renameat2": (1, 3), "linkat": (1, 3), "symlinkat": (0, 2)}


def unescape(text):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text)


def arguments_of(text):
    """The arguments of one line: text as bytes, a descriptor as the path that strace names, the rest as it stands."""
    found = []
    for piece in re.findall(rb'"[^"]*"|[^,\s<]+<[^>]*>(?:\(deleted\))?|[^,\s]+', text):
        if piece.startswith(b'"'):
            found.append(unescape(piece[1:-1]))
        elif b"<" in piece:
            path = unescape(piece[piece.index(b"<") + 1:piece.rindex(b">")]).decode(errors="replace")
            found.append("/deleted" if b"(deleted)" in piece else path)
        else:
            found.append(piece.decode())
    return found


def record(log, world):
    recorder, waiting, owners = Recorder(world), {}, {}
    with open(log, "rb") as lines:
        for line in lines:
            pid, _, text = line.strip().partition(b" ")
            text = text.strip()
            if text.endswith(b"<unfinished ...>"):
                waiting[pid] = text[:-len(b"<unfinished ...>")].rstrip()
                continue
            resumed = re.match(rb"<\.\.\. (\w+) resumed>(.*)", text)
            if resumed:
                text = waiting.pop(pid) + resumed[2]
            call = re.match(rb"(\w+)\((.*)\)\s+= (-?\d+)(.*)", text)
            if not call or call[3].startswith(b"-"):
                continue
            name, arguments = call[1].decode(), arguments_of(call[2])
            if name in ("setresuid", "setresgid"):
                if arguments[1] != "-1":
                    owner = owners.get(pid, (0, 0))
                    owners[pid] = (int(arguments[1]), owner[1]) if name == "setresuid" else (owner[0], int(arguments[1]))
                continue
            for index in NAMES.get(name, ()):
                arguments[index] = arguments[index].decode(errors="surrogateescape")
            if name not in NAMES and arguments and isinstance(arguments[0], bytes):
                # By path, as other people's programs do (sshd, visudo): never inside the trees.
                assert name == "open" or not arguments[0].decode().startswith(TREES), text[:200]
                continue
            recorder.owner = owners.get(pid, (0, 0))
            recorder.take(name, arguments, call[3].decode(), unescape(text[:240]).decode(errors="replace")[:160])
    return recorder


def closed(changes):
    """These, with everything that they need."""
    whole, left = set(), list(changes)
    while left:
        change = left.pop()
        if change not in whole:
            whole.add(change)
            left += change.needs
    return whole


def crashes(recorder):
    """(what happened last, the changes on disk, the one that is there by half) for every failure; each once."""
    seen, changes, users = set(), recorder.changes, {}
    for change in changes:
        for need in change.needs:
            users.setdefault(need, set()).add(change)

    def without(change, whole):
        gone, left = set(), [change]
        while left:
            one = left.pop()
            if one in whole and one not in gone:
                gone.add(one)
                left += users.get(one, ())
        return whole - gone

    moments = sorted({change.moment for change in changes} | {change.durable_at for change in changes if change.durable_at} | {recorder.moment + 1})
    for now in moments:
        happened = [change for change in changes if change.moment < now]
        sure = closed(change for change in happened if change.durable_at is not None and change.durable_at < now)
        pending = [change for change in happened if change not in sure]
        entries, loose = {change for change in pending if change.places}, [change for change in pending if not change.places]
        shapes = [entries, set()]
        for change in entries:
            shapes += [closed([change]) & entries, without(change, entries)]
        for shape in shapes:
            some = loose[:(len(loose) + 1) // 2]
            for bytes_, half in ((loose, None), ([], None), (some, some[-1] if some else None)) if loose else (([], None),):
                there = frozenset(sure | shape | set(bytes_))
                if (there, half) not in seen:
                    seen.add((there, half))
                    yield happened[-1].text if happened else "the start", there, half


def tree_of(base, recorder, there, half):
    world = base.copy()
    for change in recorder.changes:
        if change in there:
            change.apply(world, recorder.births, change is half)
    return world
