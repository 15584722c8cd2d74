"""What is made: under which mode, for whom, in which group."""
import os
import stat

import pytest

from twin import (LIBC, OWNER, ROOT, STRANGER, Who, checked, get, knows_tmpfile, make, mode_of,
                  perform, seen)

MEMBER = Who("member", 61235, groups=[61300])


def owner_of(name):
    st = os.lstat(name)
    return st.st_uid, st.st_gid


def test_a_new_file_belongs_to_its_maker(twin, who):
    def act():
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, 0o666))
        return owner_of("f"), mode_of("f")

    assert twin.both(act, who) == ((who.uid, who.uid), 0o644)


@pytest.mark.parametrize("umask, mode, want", [
    (0o000, 0o666, 0o666), (0o077, 0o666, 0o600), (0o027, 0o777, 0o750), (0o777, 0o666, 0),
    (0o022, 0o4755, 0o4755)])
def test_mode_and_umask_of_a_file(twin, who, umask, mode, want):
    def act():
        os.umask(umask)
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, mode))
        return mode_of("f")

    assert twin.both(act, who) == want


def test_a_file_without_a_right_to_write_is_written_by_who_made_it(twin, who):
    def act():
        fd = os.open("f", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        os.write(fd, b"written all the same")
        os.close(fd)
        return get("f")

    assert twin.both(act, who) == b"written all the same"


@pytest.mark.parametrize("umask, mode, want", [
    (0o000, 0o777, 0o777), (0o077, 0o777, 0o700), (0o022, 0o1777, 0o1755)])
def test_mode_umask_and_owner_of_a_directory(twin, who, umask, mode, want):
    def act():
        os.umask(umask)
        os.mkdir("d", mode)
        return owner_of("d"), mode_of("d")

    assert twin.both(act, who) == ((who.uid, who.uid), want)


def test_a_symlink_belongs_to_its_maker(twin, who):
    def act():
        os.symlink("nowhere", "s")
        return owner_of("s")

    assert twin.both(act, who) == (who.uid, who.uid)


def test_a_fifo_belongs_to_its_maker(twin, who):
    def act():
        os.umask(0o027)
        os.mkfifo("p", 0o666)
        return owner_of("p"), stat.S_ISFIFO(os.lstat("p").st_mode), mode_of("p")

    assert twin.both(act, who) == ((who.uid, who.uid), True, 0o640)


def test_data_goes_through_a_fifo(twin, who):
    def act():
        os.mkfifo("p")
        read = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
        write = os.open("p", os.O_WRONLY)
        os.write(write, b"through")
        return os.read(read, 100)

    assert twin.both(act, who) == b"through"


def test_a_device_is_for_root_only(twin, who):
    def act():
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        return os.lstat("null").st_rdev

    assert twin.both(act, who) == (os.makedev(1, 3) if who is ROOT else "EPERM")


def test_a_regular_file_by_mknod(twin, who):
    def act():
        os.mknod("f", stat.S_IFREG | 0o640)
        return owner_of("f"), mode_of("f")

    assert twin.both(act, who) == ((who.uid, who.uid), 0o640)


def setgid_directory():
    os.mkdir("shared")
    os.chown("shared", OWNER.uid, 61300)
    os.chmod("shared", 0o2777)


def test_a_setgid_directory_gives_its_group(twin, who):
    twin.both(setgid_directory)

    def act():
        os.close(os.open("shared/f", os.O_WRONLY | os.O_CREAT, 0o664))
        os.mkdir("shared/d")
        os.symlink("f", "shared/s")
        return [os.lstat(f"shared/{name}").st_gid for name in "fds"], mode_of("shared/d")

    assert twin.both(act, who) == ([61300] * 3, 0o2755)


@pytest.mark.parametrize("member", [MEMBER, STRANGER], ids=repr)
def test_setgid_of_a_file_in_a_setgid_directory(twin, member):
    """Only a member of the group may make a file that runs with its rights."""
    twin.both(setgid_directory)

    def act():
        os.umask(0)
        os.close(os.open("shared/f", os.O_WRONLY | os.O_CREAT, 0o2775))
        return mode_of("shared/f")

    assert twin.both(act, member) == (0o2775 if member is MEMBER else 0o775)


@pytest.mark.parametrize("somebody", [MEMBER, STRANGER], ids=repr)
def test_a_right_from_a_supplementary_group(twin, somebody):
    def prepare():
        os.mkdir("team")
        os.chown("team", OWNER.uid, 61300)
        os.chmod("team", 0o770)
        make("theirs", b"old", 0o660)
        os.chown("theirs", OWNER.uid, 61300)

    def act():
        def into_the_directory():
            os.close(os.open("team/f", os.O_WRONLY | os.O_CREAT, 0o644))
            os.mkdir("team/d")
            os.rename("team/f", "team/g")
            os.symlink("g", "team/s")
            return owner_of("team/g")

        def into_the_file():
            fd = os.open("theirs", os.O_WRONLY | os.O_TRUNC)
            return os.write(fd, b"new")

        return seen(into_the_directory), seen(into_the_file)

    twin.both(prepare)
    want = ((somebody.uid, somebody.uid), 3) if somebody is MEMBER else ("EACCES", "EACCES")
    assert twin.both(act, somebody) == want


def test_exclusive_creation_finds_what_is_there(twin, who):
    twin.both(lambda: make("f", b"first"))

    def act():
        os.open("f", os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    assert twin.both(act, who) == "EEXIST"


def test_creation_where_a_stranger_may_not(twin, who):
    def prepare():
        os.mkdir("mine")
        os.chown("mine", OWNER.uid, OWNER.uid)
        os.chmod("mine", 0o755)
        make("mine/f")

    acts = [
        lambda: os.close(os.open("mine/new", os.O_WRONLY | os.O_CREAT)),
        lambda: os.mkdir("mine/d"),
        lambda: os.symlink("x", "mine/s"),
        lambda: os.mkfifo("mine/p"),
        lambda: os.rename("mine/f", "mine/g"),
        lambda: os.unlink("mine/g" if os.path.exists("mine/g") else "mine/f"),
    ]
    twin.both(prepare)
    want = ["EACCES" if who is STRANGER else None] * len(acts)
    assert twin.both(lambda: [seen(act) for act in acts], who) == want


def test_opening_a_directory_for_writing_is_refused(twin, who):
    twin.both(lambda: os.mkdir("d"))
    assert twin.both(lambda: os.open("d", os.O_WRONLY), who) in ("EISDIR", "EACCES")


def nameless():
    """O_TMPFILE.  A libfuse that does not know the request says so, and nothing is left behind."""
    fd = os.open(".", os.O_RDWR | os.O_TMPFILE, 0o640)
    os.write(fd, b"nameless")
    return fd


def test_a_file_without_a_name(twin, who):
    def act():
        fd = nameless()
        st = os.fstat(fd)
        return st.st_nlink, st.st_uid, os.pread(fd, 100, 0), os.listdir(".")

    if knows_tmpfile():
        assert twin.both(act, who) == (0, who.uid, b"nameless", [])
    else:
        assert perform(act, twin.mounted, who) == "ENOTSUP"
        twin.same()


def test_a_file_without_a_name_gets_one(twin, who):
    def act():
        at_cwd, follow = -100, 0x400
        fd = nameless()
        checked(LIBC.linkat(at_cwd, b"/proc/self/fd/%d" % fd, at_cwd, b"named", follow))
        os.close(fd)
        return get("named"), mode_of("named"), os.lstat("named").st_nlink

    if knows_tmpfile():
        assert twin.both(act, who) == (b"nameless", 0o640, 1)
    else:
        assert perform(act, twin.mounted, who) == "ENOTSUP"
