"""One act, done twice: in a directory on the mount and in a plain one beside it.

An act is a function without arguments that works on relative names in its current directory and
returns what it saw; an OSError that escapes it is seen as its name ('EACCES').  It runs in a child
of its own, so ids, umask and descriptors end with it.
"""
import ctypes
import errno
import hashlib
import os
import pickle
import signal
import stat
import subprocess

import mgc

PATIENCE_SECONDS = 20  # then the kernel ends the act, and the test fails
LIBC = ctypes.CDLL(None, use_errno=True)


class Who:
    """Whose rights an act has."""

    def __init__(self, name, uid, groups=()):
        self.name = name
        self.uid = uid
        self.groups = list(groups)

    def __repr__(self):
        return self.name

    def become(self):
        os.setgroups(self.groups)
        if self.uid:
            os.setgid(self.uid)
            os.setuid(self.uid)
        os.umask(0o022)


ROOT = Who("root", 0)
OWNER = Who("owner", mgc.WWW)
STRANGER = Who("stranger", 61234)
EVERYBODY = (ROOT, OWNER, STRANGER)


def knows_tmpfile():
    """Whether the libfuse of the daemon has the request: from 3.18 on (what we build is newer)."""
    linked = subprocess.run(["ldd", mgc.DAEMON], check=True, capture_output=True, text=True).stdout
    return "libfuse3" not in linked or ctypes.CDLL("libfuse3.so.3").fuse_version() >= 318


def seen(act, *args):
    """What act returns, or the name of its error."""
    try:
        return act(*args)
    except OSError as error:
        return errno.errorcode[error.errno]


def _act(act, place, who, write):
    """The life of the child."""
    signal.alarm(PATIENCE_SECONDS)
    try:
        who.become()
        os.chdir(place)
        answer = seen(act)
    except BaseException as error:  # a forked child must not go on as pytest
        answer = AssertionError(f"{who} in {place}: {error!r}")
    with os.fdopen(write, "wb") as f:
        f.write(pickle.dumps(answer))


def perform(act, place, who):
    """Runs act() in `place` as somebody; returns what it saw."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _act(act, place, who, write)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as f:
        data = f.read()
    os.waitpid(pid, 0)
    assert data, f"{who} in {place}: no answer within {PATIENCE_SECONDS} s"
    answer = pickle.loads(data)
    if isinstance(answer, AssertionError):
        raise answer
    return answer


def _describe(path):
    st = os.lstat(path)
    what = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink]
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as f:
            what += [st.st_size, hashlib.sha256(f.read()).hexdigest()]
    elif stat.S_ISLNK(st.st_mode):
        what += [os.readlink(path)]
    elif not stat.S_ISDIR(st.st_mode):
        what += [st.st_rdev]
    return tuple(what)


def view(place):
    """{name: mode, owner, links, content} of everything beneath a directory, of itself too."""
    top = os.fsencode(place)
    found = {b"": _describe(top)}
    for folder, dirs, names in os.walk(top):
        for name in dirs + names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = _describe(path)
    return found


class Twin:
    """A directory on the mount, the same one beneath it, and a plain one on that filesystem."""

    def __init__(self, tree, name):
        self.mounted = tree.path(name)
        self.beneath = os.path.join(tree.source, name)
        self.plain = os.path.join(tree.root, "plain", name)
        for place in (self.mounted, self.plain):
            os.mkdir(place)
            os.chmod(place, 0o777)

    def both(self, act, who=ROOT, check=True):
        """The same act in both, with the same outcome and the same tree afterwards."""
        got = perform(act, self.mounted, who)
        want = perform(act, self.plain, who)
        assert got == want, f"{who} sees {got!r} on the mount and {want!r} without it"
        if check:
            self.same()
        return got

    def same(self):
        want = view(self.plain)
        assert view(self.mounted) == want
        assert view(self.beneath) == want


def make(name, data=b"", mode=0o644, uid=mgc.WWW):
    """A file with owner and mode, whatever the umask."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(data)
    os.chown(name, uid, uid)
    os.chmod(name, mode)


def put(name, data):
    with open(name, "wb") as f:
        f.write(data)


def get(name):
    with open(name, "rb") as f:
        return f.read()


def mode_of(name):
    return stat.S_IMODE(os.lstat(name).st_mode)


def checked(result):
    """What a call of libc returned; -1 is raised as the error it is."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def rename2(old, new, flags):
    at_cwd = -100
    return checked(LIBC.renameat2(at_cwd, os.fsencode(old), at_cwd, os.fsencode(new), flags))
