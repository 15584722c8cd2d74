"""H13: the directory `.mediagcfs` at the root of the tree exists for nobody, in any spelling."""
import os
import stat

import pytest

from twin import EVERYBODY, ROOT, perform, put, rename2, seen

NOREPLACE, EXCHANGE = 1, 2
SPELLINGS = [".mediagcfs", "./.mediagcfs", ".//.mediagcfs/", "open/../.mediagcfs",
             "open/./.././.mediagcfs", "to_root/.mediagcfs", "to_private", "absolute"]


@pytest.fixture
def rooted(shared):
    """The root of the mount with something to act on; tidied up afterwards."""
    here = shared.mountpoint
    os.chmod(here, 0o777)

    def prepare():
        os.mkdir("open")
        os.chmod("open", 0o777)
        put("open/f", b"f")
        os.chmod("open/f", 0o666)
        os.symlink(".", "to_root")
        os.symlink(".mediagcfs", "to_private")
        os.symlink(os.path.join(here, ".mediagcfs"), "absolute")

    def tidy():
        for name in ("open/f", "to_root", "to_private", "absolute"):
            os.unlink(name)
        os.rmdir("open")

    perform(prepare, here, ROOT)
    before = sorted(os.listdir(os.path.join(shared.source, ".mediagcfs")))
    assert "slots" in before, "it is there, beneath"
    yield here
    assert sorted(os.listdir(os.path.join(shared.source, ".mediagcfs"))) == before
    perform(tidy, here, ROOT)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_cannot_be_looked_up(rooted, who, spelling):
    def act():
        beneath = spelling.rstrip("/") + "/slots"
        return [seen(call, name) for name in (spelling, beneath) for call in (
            os.stat, os.listdir, os.readlink, os.rmdir, lambda n: os.open(n, os.O_PATH),
            lambda n: os.chmod(n, 0o777), lambda n: os.open(n, os.O_RDONLY | os.O_DIRECTORY))]

    got = perform(act, rooted, who)
    if spelling in ("to_private", "absolute"):  # the link itself is there
        got = [got[0], got[1], got[4], got[5], got[6]] + got[7:]
    assert set(got) == {"ENOENT"}, got


def test_it_is_not_listed(rooted, who):
    def act():
        with os.scandir(".") as entries:
            plain = [entry.name for entry in entries]
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        return plain + os.listdir(".") + os.listdir(fd) + [
            name for _, dirs, names in os.walk(".") for name in dirs + names]

    told = perform(act, rooted, who)
    assert "open" in told and ".mediagcfs" not in told


@pytest.mark.parametrize("spelling", SPELLINGS[:6])
def test_it_cannot_be_made(rooted, who, spelling):
    name = spelling.rstrip("/")

    def act():
        return [seen(call) for call in (
            lambda: os.mkdir(spelling),
            lambda: os.close(os.open(name, os.O_WRONLY | os.O_CREAT)),
            lambda: os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
            lambda: os.symlink("open", name),
            lambda: os.mkfifo(name),
            lambda: os.mknod(name, stat.S_IFREG | 0o644))]

    assert perform(act, rooted, who) == ["EPERM"] * 6


@pytest.mark.parametrize("spelling", SPELLINGS[:6])
def test_it_is_no_target_of_a_rename_or_link(rooted, spelling):
    name = spelling.rstrip("/")

    def act():
        os.mkdir("open/d")
        got = [seen(call) for call in (
            lambda: os.rename("open/f", name),
            lambda: os.rename("open/d", name),
            lambda: rename2("open/f", name, NOREPLACE),
            lambda: os.link("open/f", name))]
        os.rmdir("open/d")
        return got

    assert perform(act, rooted, ROOT) == ["EPERM"] * 4


@pytest.mark.parametrize("who_else", EVERYBODY, ids=repr)
def test_it_is_no_source_of_a_rename(rooted, who_else):
    def act():
        return [seen(call) for call in (
            lambda: os.rename(".mediagcfs", "open/taken"),
            lambda: os.rename(".mediagcfs", "taken"),
            lambda: os.rename(".mediagcfs/slots", "taken"),
            lambda: os.link(".mediagcfs/id", "taken"),
            lambda: os.unlink(".mediagcfs"))]

    assert perform(act, rooted, who_else) == ["ENOENT"] * 5


def test_it_cannot_be_exchanged(rooted, who):
    def act():
        return (seen(rename2, "open", ".mediagcfs", EXCHANGE),
                seen(rename2, ".mediagcfs", "open", EXCHANGE))

    assert set(perform(act, rooted, who)) <= {"EPERM", "ENOENT"}


def test_it_is_not_reached_from_descriptors(rooted, who):
    def act():
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        below = os.open("open", os.O_RDONLY | os.O_DIRECTORY)
        return [seen(lambda: os.stat(".mediagcfs", dir_fd=root)),
                seen(lambda: os.stat("../.mediagcfs", dir_fd=below)),
                seen(lambda: os.open("../.mediagcfs", os.O_PATH, dir_fd=below)),
                seen(lambda: os.mkdir("../.mediagcfs", dir_fd=below)),
                seen(lambda: os.stat(f"/proc/self/fd/{below}/../.mediagcfs"))]

    assert perform(act, rooted, who) == ["ENOENT", "ENOENT", "ENOENT", "EPERM", "ENOENT"]


def test_the_name_is_an_ordinary_one_elsewhere(twin, who):
    def act():
        os.mkdir(".mediagcfs")
        put(".mediagcfs/f", b"mine")
        os.rename(".mediagcfs", "x")
        os.rename("x", ".mediagcfs")
        return os.listdir("."), os.listdir(".mediagcfs")

    assert twin.both(act, who) == ([".mediagcfs"], ["f"])


def test_an_ordinary_one_does_not_come_to_the_root(rooted, who):
    def act():
        os.mkdir("open/.mediagcfs")
        got = seen(os.rename, "open/.mediagcfs", ".mediagcfs")
        os.rmdir("open/.mediagcfs")
        return got

    assert perform(act, rooted, who) == "EPERM"


@pytest.mark.parametrize("name", [".mediagcfs2", ".Mediagcfs", "mediagcfs", ".mediagcf",
                                  ".mediagcfs "])
def test_names_that_only_look_like_it(rooted, who, name):
    def act():
        put(name, b"ordinary")
        listed = name in os.listdir(".")
        os.rename(name, "open/x")
        os.unlink("open/x")
        return listed

    assert perform(act, rooted, who) is True
