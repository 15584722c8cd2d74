"""Modes, owners, times, sizes, and who may change them."""
import ctypes
import os
import stat
import time

import pytest

from twin import (LIBC, OWNER, ROOT, STRANGER, Who, checked, get, make, mode_of, put, rename2,
                  seen)

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
SECOND = 10 ** 9


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def utimens(name, atime, mtime):
    """utimensat(2) with (seconds, nanoseconds), where the latter may be UTIME_NOW or UTIME_OMIT."""
    both = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    return checked(LIBC.utimensat(-100, os.fsencode(name), both, 0))


def test_chmod_is_for_the_owner_and_root(twin, who):
    twin.both(lambda: make("f", mode=0o644))

    def act():
        os.chmod("f", 0o751)
        return mode_of("f")

    assert twin.both(act, who) == ("EPERM" if who is STRANGER else 0o751)


def test_chmod_by_a_descriptor(twin, who):
    twin.both(lambda: make("f", mode=0o666))

    def act():
        fd = os.open("f", os.O_RDWR)
        os.fchmod(fd, 0o600)
        return stat.S_IMODE(os.fstat(fd).st_mode), mode_of("f")

    assert twin.both(act, who) == ("EPERM" if who is STRANGER else (0o600, 0o600))


def test_setgid_is_taken_from_who_is_not_in_the_group(twin):
    def prepare():
        make("f")
        os.chown("f", OWNER.uid, 61300)

    def act():
        os.chmod("f", 0o2755)
        return mode_of("f")

    twin.both(prepare)
    assert twin.both(act, OWNER) == 0o755
    assert twin.both(act, ROOT) == 0o2755


def test_chown_is_for_root_only(twin, who):
    twin.both(lambda: make("f"))

    def act():
        os.chown("f", 1234, 4321)
        st = os.stat("f")
        return st.st_uid, st.st_gid

    assert twin.both(act, who) == ((1234, 4321) if who is ROOT else "EPERM")


def test_the_owner_may_give_a_file_to_his_groups(twin):
    member = Who("owner in two groups", OWNER.uid, groups=[61300])
    twin.both(lambda: make("f"))

    def act():
        os.chown("f", -1, 61300)
        return os.stat("f").st_gid

    assert twin.both(act, member) == 61300
    assert twin.both(lambda: os.chown("f", -1, 61301), member) == "EPERM"


def test_chown_clears_the_set_id_bits(twin):
    def act():
        make("f", mode=0o6755)
        os.chown("f", 1234, 4321)
        os.mkdir("d")
        os.chmod("d", 0o2755)
        os.chown("d", 1234, 4321)
        return mode_of("f"), mode_of("d")

    assert twin.both(act) == (0o755, 0o2755)


def test_chown_of_a_symlink_leaves_its_target(twin):
    def act():
        make("f")
        os.symlink("f", "s")
        os.lchown("s", 1234, 4321)
        return os.lstat("s").st_uid, os.stat("s").st_uid

    assert twin.both(act) == (1234, OWNER.uid)


@pytest.mark.parametrize("ns", [0, 1, 123456789 + 1700000000 * SECOND, 5 * SECOND - 1,
                                -1 * SECOND + 7, 4300000000 * SECOND + 999999999])
def test_times_to_the_nanosecond(twin, ns):
    def act():
        make("f")
        os.utime("f", ns=(ns, ns + 1))
        st = os.stat("f")
        return st.st_atime_ns, st.st_mtime_ns

    assert twin.both(act) == (ns, ns + 1)


def test_times_are_set_by_the_owner_only(twin, who):
    twin.both(lambda: make("f", mode=0o666))

    def act():
        os.utime("f", ns=(5, 6))
        return os.stat("f").st_mtime_ns

    assert twin.both(act, who) == ("EPERM" if who is STRANGER else 6)


def test_a_writer_may_set_the_present(twin, who):
    """touch(1) on another's file that one may write."""
    def prepare():
        make("f", mode=0o666)
        os.utime("f", ns=(5, 6))

    def act():
        before = time.time_ns()
        utimens("f", (0, UTIME_NOW), (0, UTIME_NOW))
        st = os.stat("f")
        return all(abs(t - before) < 10 * SECOND for t in (st.st_atime_ns, st.st_mtime_ns))

    twin.both(prepare)
    assert twin.both(act, who) is True


def test_omitted_times_stay(twin):
    def act():
        make("f")
        os.utime("f", ns=(5, 6))
        utimens("f", (0, UTIME_OMIT), (7, 8))
        first = os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns
        utimens("f", (9, 10), (0, UTIME_OMIT))
        second = os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns
        utimens("f", (0, UTIME_OMIT), (0, UTIME_OMIT))
        return first, second, os.stat("f").st_mtime_ns

    mixed = 7 * SECOND + 8
    assert twin.both(act) == ((5, mixed), (9 * SECOND + 10, mixed), mixed)


def test_one_time_now_and_one_given(twin):
    def act():
        make("f")
        utimens("f", (5, 6), (0, UTIME_NOW))
        st = os.stat("f")
        return st.st_atime_ns, abs(st.st_mtime_ns - time.time_ns()) < 10 * SECOND

    assert twin.both(act) == (5 * SECOND + 6, True)


def test_times_of_a_symlink_and_of_a_directory(twin):
    def act():
        os.symlink("nowhere", "s")
        os.utime("s", ns=(5, 6), follow_symlinks=False)
        os.mkdir("d")
        os.utime("d", ns=(7, 8))
        return os.lstat("s").st_mtime_ns, os.stat("d").st_mtime_ns

    assert twin.both(act) == (6, 8)


@pytest.mark.parametrize("act", [
    lambda: os.close(os.open("d/new", os.O_WRONLY | os.O_CREAT)),
    lambda: os.unlink("d/f"),
    lambda: os.rename("d/f", "d/g"),
    lambda: os.mkdir("d/sub"),
    lambda: os.link("d/f", "d/h"),
], ids=["create", "unlink", "rename", "mkdir", "link"])
def test_a_change_of_names_shows_in_the_directory(twin, act):
    """The kernel has the directory's attributes cached; it must not tell old ones."""
    def prepare():
        os.mkdir("d")
        make("d/f")
        os.utime("d", ns=(5, 6))
        return os.stat("d").st_mtime_ns

    def changed():
        act()
        return os.stat("d").st_mtime_ns > 6, os.stat("d").st_nlink

    assert twin.both(prepare) == 6
    assert twin.both(changed)[0] is True


def test_a_change_of_links_shows_under_every_name(twin):
    def act():
        make("f")
        os.link("f", "g")
        counts = [os.stat("f").st_nlink, os.stat("g").st_nlink]
        os.unlink("g")
        os.mkdir("d")
        os.rename("f", "d/f")
        return counts, os.stat("d/f").st_nlink

    assert twin.both(act) == ([2, 2], 1)


def test_a_write_shows_in_size_and_time(twin, who):
    def act():
        put("f", b"123")
        os.utime("f", ns=(5, 6))
        sizes = [os.stat("f").st_size]
        fd = os.open("f", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"45")
        sizes += [os.fstat(fd).st_size, os.stat("f").st_size]
        os.close(fd)
        return sizes, os.stat("f").st_size, os.stat("f").st_mtime_ns > 6

    assert twin.both(act, who) == ([3, 5, 5], 5, True)


@pytest.mark.parametrize("size", [0, 3, 10, 4097, 1 << 32])
def test_truncate_by_name_and_by_descriptor(twin, size):
    def act():
        make("f", b"0123456789", mode=0o666)
        make("g", b"0123456789", mode=0o666)
        os.truncate("f", size)
        with open("g", "r+b") as f:
            os.ftruncate(f.fileno(), size)
            there = os.fstat(f.fileno()).st_size
            start = os.pread(f.fileno(), 20, 0)
        with open("f", "rb") as f:
            assert f.read(20) == start
        return os.stat("f").st_size, os.stat("g").st_size, there, start

    got = twin.both(act, check=size < 1 << 32)
    assert got[:3] == (size,) * 3 and got[3] == (b"0123456789" + b"\0" * 10)[:min(size, 20)]


def test_truncate_is_for_who_may_write(twin, who):
    twin.both(lambda: make("f", b"0123456789", mode=0o644))
    want = "EACCES" if who is STRANGER else None
    assert twin.both(lambda: os.truncate("f", 2), who) == want


def test_a_truncating_open_empties(twin, who):
    twin.both(lambda: make("f", b"0123456789", mode=0o644))

    def act():
        size = os.stat("f").st_size
        fd = os.open("f", os.O_WRONLY | os.O_TRUNC)
        return size, os.fstat(fd).st_size, os.stat("f").st_size

    assert twin.both(act, who) == ("EACCES" if who is STRANGER else (10, 0, 0))


def test_who_may_not_read_does_not(twin, who):
    def prepare():
        make("secret", b"secret", mode=0o600)
        os.mkdir("closed")
        os.chown("closed", OWNER.uid, OWNER.uid)
        os.chmod("closed", 0o700)
        make("closed/f", b"inside", mode=0o666)
        make("writable", b"w", mode=0o622)

    def act():
        return (seen(get, "secret"), seen(get, "closed/f"), seen(os.stat, "closed/none"),
                seen(os.listdir, "closed"), seen(get, "writable"), os.access("secret", os.R_OK))

    twin.both(prepare)
    got = twin.both(act, who)
    if who is STRANGER:
        assert got == ("EACCES",) * 5 + (False,)
    else:
        assert got == (b"secret", b"inside", "ENOENT", ["f"], b"w", True)


def test_the_sticky_bit_protects_from_others(twin, who):
    def prepare():
        os.mkdir("tmp")
        os.chmod("tmp", 0o1777)
        make("tmp/f", mode=0o666)
        make("tmp/g", mode=0o666)

    def act():
        return seen(os.unlink, "tmp/f"), seen(os.rename, "tmp/g", "tmp/h")

    twin.both(prepare)
    assert twin.both(act, who) == (("EPERM",) * 2 if who is STRANGER else (None,) * 2)


def test_a_changed_mode_counts_at_once(twin):
    """No right is remembered from an earlier look-up."""
    twin.both(lambda: make("f", b"x", mode=0o644))
    assert twin.both(lambda: get("f"), STRANGER) == b"x"
    twin.both(lambda: os.chmod("f", 0o600))
    assert twin.both(lambda: get("f"), STRANGER) == "EACCES"
    twin.both(lambda: os.chmod("f", 0o604))
    assert twin.both(lambda: get("f"), STRANGER) == b"x"


def test_statfs_tells_of_the_filesystem_beneath(twin, who):
    def act():
        st = os.statvfs(".")
        return st.f_bsize, st.f_frsize, st.f_blocks, st.f_files, st.f_namemax

    assert twin.both(act, who)[4] == 255


def told(path):
    """Everything of stat(2) but the device and the time of access."""
    st = os.lstat(path)
    return (st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, st.st_blocks,
            st.st_mtime_ns, st.st_ctime_ns)


def append():
    with open("d/f", "ab") as f:
        f.write(b"more")


STEPS = {
    "append": append,
    "truncate": lambda: os.truncate("d/f", 1),
    "truncating open": lambda: put("d/f", b"anew"),
    "chmod": lambda: os.chmod("d/f", 0o600),
    "chown": lambda: os.chown("d/f", 5, 6),
    "utime": lambda: os.utime("d/f", ns=(5, 6)),
    "link": lambda: os.link("d/f", "d/g"),
    "link and unlink": lambda: (os.link("d/f", "d/g"), os.unlink("d/g")),
    "rename": lambda: (os.rename("d/f", "d/g"), os.rename("d/g", "d/f")),
    "replace": lambda: (put("d/g", b"other"), os.rename("d/g", "d/f")),
    "exchange": lambda: (put("d/g", b"other"), rename2("d/f", "d/g", 2)),
    "mkdir": lambda: os.mkdir("d/sub"),
    "rmdir": lambda: (os.mkdir("d/sub"), os.rmdir("d/sub")),
    "symlink": lambda: os.symlink("x", "d/s"),
    "move out": lambda: (os.rename("d/f", "f"), os.rename("f", "d/f")),
    "fallocate": lambda: LIBC.fallocate(os.open("d/f", os.O_RDWR), 0, 0, 100000),
    "copy": lambda: os.copy_file_range(os.open("d/f", os.O_RDONLY),
                                       os.open("d/h", os.O_RDWR | os.O_CREAT), 5, 0, 0),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_stat_tells_is_what_is_beneath(twin, step):
    """Attributes are cached for a day: every change must show in them, to the nanosecond."""
    def prepare():
        os.mkdir("d")
        make("d/f", b"content")

    def act():
        before = told("d"), told("d/f")
        time.sleep(0.01)  # more than a tick of the clock that gives change times
        step()
        return before[0] != told("d") or before[1] != told("d/f")

    twin.both(prepare)
    assert twin.both(act) is True
    for name in ("", "d", "d/f"):
        got, want = (told(os.path.join(place, name)) for place in (twin.mounted, twin.beneath))
        assert got == want, name


def test_what_fstat_tells_while_it_is_written(twin):
    """The size and time of a file that is open for writing, by name and by descriptor."""
    path, beneath = (os.path.join(place, "f") for place in (twin.mounted, twin.beneath))
    with open(path, "wb", buffering=0) as f:
        for i in range(5):
            f.write(b"x" * (i + 1) * 1000)
            assert told(path) == told(beneath)
            assert os.fstat(f.fileno()).st_size == os.stat(beneath).st_size
            time.sleep(0.006)
    assert told(path) == told(beneath)


@pytest.mark.parametrize("mode", [0o4777, 0o2777, 0o6777])
def test_a_write_takes_the_set_id_bits(twin, who, mode):
    twin.both(lambda: make("f", b"program", mode=mode))

    def act():
        fd = os.open("f", os.O_WRONLY)
        os.write(fd, b"P")
        os.close(fd)
        return oct(mode_of("f"))

    def truncate():
        os.truncate("f", 3)
        return oct(mode_of("f"))

    twin.both(act, who)
    twin.both(lambda: os.chmod("f", mode))
    twin.both(truncate, who)
