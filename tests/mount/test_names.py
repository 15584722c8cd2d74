"""Links, renames, removals, listings, and names of every length and byte."""
import os
import stat

import pytest

from twin import OWNER, STRANGER, get, make, put, rename2, seen

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


# ---- symbolic links ----

@pytest.mark.parametrize("target", ["f", "nowhere/at/all", "../..", "/", "x" * 4095, "a b\n\x01"])
def test_a_symlink_says_what_it_was_told(twin, who, target):
    def act():
        os.symlink(target, "s")
        return os.readlink("s"), os.lstat("s").st_size

    assert twin.both(act, who) == (target, len(target))


def test_a_symlink_too_long_is_refused(twin):
    assert twin.both(lambda: os.symlink("x" * 4096, "s")) == "ENAMETOOLONG"


def test_a_symlink_is_followed(twin, who):
    def act():
        os.mkdir("d")
        put("d/f", b"at the end")
        os.symlink("d", "folder")
        os.symlink("folder/f", "file")
        os.symlink("loop", "loop")
        os.symlink("new", "dangling")
        put("dangling", b"made through it")
        return get("file"), get("folder/f"), seen(get, "loop"), get("new")

    assert twin.both(act, who) == (b"at the end",) * 2 + ("ELOOP", b"made through it")


def test_a_dangling_symlink(twin, who):
    def act():
        os.symlink("nowhere", "s")
        return (seen(get, "s"), seen(os.stat, "s"), stat.S_ISLNK(os.lstat("s").st_mode),
                seen(lambda: os.open("s", os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
                seen(lambda: os.open("s", os.O_RDONLY | os.O_NOFOLLOW)), os.unlink("s"))

    assert twin.both(act, who) == ("ENOENT", "ENOENT", True, "EEXIST", "ELOOP", None)


def test_a_symlink_made_anew_says_the_new_target(twin):
    """Targets are cached by the kernel: a new link of the same name is another one."""
    def act():
        told = []
        for i in range(5):
            os.symlink(f"target-{i}", "s")
            told.append(os.readlink("s"))
            os.unlink("s")
        os.symlink("one", "a")
        os.symlink("other", "b")
        os.readlink("a"), os.readlink("b")
        os.rename("a", "b")
        return told, os.readlink("b")

    assert twin.both(act) == ([f"target-{i}" for i in range(5)], "one")


# ---- hard links ----

def test_a_hard_link_is_the_same_file(twin, who):
    def act():
        put("f", b"1")
        os.mkdir("d")
        os.link("f", "d/g")
        with open("d/g", "ab") as f:
            f.write(b"2")
        os.chmod("f", 0o600)
        same = os.stat("f").st_ino == os.stat("d/g").st_ino
        os.unlink("f")
        return same, get("d/g"), os.stat("d/g").st_nlink, stat.S_IMODE(os.stat("d/g").st_mode)

    assert twin.both(act, who) == (True, b"12", 1, 0o600)


def test_a_hard_link_never_replaces(twin, who):
    def act():
        put("f", b"f")
        put("g", b"g")
        return seen(os.link, "f", "g"), seen(os.link, "none", "h"), get("g")

    assert twin.both(act, who) == ("EEXIST", "ENOENT", b"g")


def test_a_directory_has_no_second_name(twin, who):
    def act():
        os.mkdir("d")
        os.link("d", "e")

    assert twin.both(act, who) == "EPERM"


def test_a_hard_link_of_a_symlink_and_of_a_fifo(twin):
    def act():
        os.symlink("nowhere", "s")
        os.link("s", "t", follow_symlinks=False)
        os.mkfifo("p")
        os.link("p", "q")
        return os.readlink("t"), os.lstat("t").st_nlink, os.lstat("q").st_nlink

    assert twin.both(act) == ("nowhere", 2, 2)


# ---- renames ----

def test_a_rename_replaces(twin, who):
    def act():
        put("f", b"new")
        put("g", b"old")
        os.stat("g")
        os.rename("f", "g")
        return get("g"), os.listdir("."), seen(os.stat, "f")

    assert twin.both(act, who) == (b"new", ["g"], "ENOENT")


def test_a_replaced_file_that_is_open_stays_readable(twin, who):
    def act():
        put("f", b"new")
        put("g", b"old")
        with open("g", "rb") as f:
            os.rename("f", "g")
            return f.read(), os.fstat(f.fileno()).st_nlink, get("g")

    assert twin.both(act, who) == (b"old", 0, b"new")


def test_a_rename_of_a_directory_takes_everything_along(twin, who):
    def act():
        os.makedirs("a/b/c")
        put("a/b/c/f", b"deep")
        os.mkdir("other")
        fd = os.open("a/b/c/f", os.O_WRONLY | os.O_APPEND)
        os.rename("a/b", "other/b")
        os.write(fd, b" and on")
        return get("other/b/c/f"), seen(os.stat, "a/b"), os.listdir("a")

    assert twin.both(act, who) == (b"deep and on", "ENOENT", [])


def test_a_rename_onto_a_directory(twin, who):
    def act():
        os.makedirs("empty")
        os.makedirs("full/x")
        os.makedirs("d/in")
        put("f", b"f")
        return [seen(os.rename, *names) for names in (
            ("d", "full"), ("f", "empty"), ("d", "f"), ("d", "d/in/under"), ("none", "g"),
            ("d", "empty"))]

    assert twin.both(act, who) == [
        "ENOTEMPTY", "EISDIR", "ENOTDIR", "EINVAL", "ENOENT", None]


def test_a_rename_between_two_names_of_one_file_does_nothing(twin):
    def act():
        put("f", b"f")
        os.link("f", "g")
        os.rename("f", "g")
        return sorted(os.listdir("."))

    assert twin.both(act) == ["f", "g"]


def test_a_rename_that_must_not_replace(twin, who):
    def act():
        put("f", b"f")
        put("g", b"g")
        return (seen(rename2, "f", "g", NOREPLACE), rename2("f", "h", NOREPLACE), get("g"),
                get("h"))

    assert twin.both(act, who) == ("EEXIST", 0, b"g", b"f")


def test_an_exchange(twin, who):
    def act():
        put("f", b"f")
        os.mkdir("d")
        put("d/in", b"in")
        os.stat("f"), os.stat("d")
        rename2("f", "d", EXCHANGE)
        return get("d"), get("f/in"), seen(rename2, "d", "none", EXCHANGE)

    assert twin.both(act, who) == (b"f", b"in", "ENOENT")


def test_flags_that_contradict_each_other(twin):
    def act():
        put("f", b"f")
        put("g", b"g")
        return seen(rename2, "f", "g", NOREPLACE | EXCHANGE), seen(rename2, "f", "g", 64)

    assert twin.both(act) == ("EINVAL", "EINVAL")


# ---- removals ----

def test_what_is_removed_is_gone_at_once(twin, who):
    def act():
        put("f", b"f")
        os.mkdir("d")
        put("d/f", b"f")
        os.stat("f"), os.stat("d/f")
        first = seen(os.rmdir, "d"), seen(os.unlink, "d"), seen(os.rmdir, "f")
        os.unlink("f"), os.unlink("d/f"), os.rmdir("d")
        return first, seen(os.stat, "f"), seen(os.stat, "d"), os.listdir(".")

    assert twin.both(act, who) == (("ENOTEMPTY", "EISDIR", "ENOTDIR"), "ENOENT", "ENOENT", [])


def test_an_open_file_outlives_its_name(twin, who):
    def act():
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"first")
        os.unlink("f")
        os.write(fd, b" second")
        os.ftruncate(fd, 9)
        os.fchmod(fd, 0o600)
        st = os.fstat(fd)
        put("f", b"another")
        return (os.pread(fd, 100, 0), st.st_nlink, st.st_size, stat.S_IMODE(st.st_mode), get("f"),
                seen(os.stat, f"/proc/self/fd/{fd}") != "ENOENT")

    assert twin.both(act, who) == (b"first sec", 0, 9, 0o600, b"another", True)


def test_a_directory_removed_while_open_is_empty(twin):
    def act():
        os.mkdir("d")
        fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
        os.rmdir("d")
        made = seen(lambda: os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        return made, os.listdir(fd)

    assert twin.both(act) == ("ENOENT", [])


# ---- listings ----

MANY = 3000


def test_a_long_listing_while_names_are_removed(twin):
    """Nothing that stays is missed or told twice, whatever is removed and made meanwhile."""
    def act():
        os.mkdir("d")
        for i in range(MANY):
            os.close(os.open(f"d/{i:05}", os.O_WRONLY | os.O_CREAT))
        told = []
        with os.scandir("d") as entries:
            for entry in entries:
                told.append(entry.name)
                number = int(entry.name)
                if number % 3 == 0 and number < MANY:
                    os.unlink(f"d/{entry.name}")
                    if f"{number + 1:05}" not in told:
                        os.unlink(f"d/{number + 1:05}")
                if len(told) == MANY // 2:
                    os.close(os.open(f"d/{MANY + 1:05}", os.O_WRONLY | os.O_CREAT))
        twice = len(told) - len(set(told))
        stayed = {f"{i:05}" for i in range(MANY) if i % 3 == 2}
        left = {name for name in os.listdir("d") if int(name) < MANY}
        return twice, sorted(stayed - set(told)), sorted(left - set(told)), stayed <= left

    assert twin.both(act, check=False) == (0, [], [], True)


def test_a_listing_tells_kinds_and_numbers(twin, who):
    def act():
        put("f", b"")
        os.mkdir("d")
        os.symlink("f", "s")
        os.mkfifo("p")
        with os.scandir(".") as entries:
            return sorted((e.name, stat.S_IFMT(e.stat(follow_symlinks=False).st_mode),
                           e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False),
                           e.inode() == os.lstat(e.name).st_ino) for e in entries)

    assert twin.both(act, who) == [
        ("d", stat.S_IFDIR, True, False, True), ("f", stat.S_IFREG, False, True, True),
        ("p", stat.S_IFIFO, False, False, True), ("s", stat.S_IFLNK, False, False, True)]


def test_a_listing_shows_what_was_made_since_the_last(twin, who):
    """Listings are cached by the kernel."""
    def act():
        told = []
        for i in range(5):
            put(f"f{i}", b"")
            told.append(sorted(os.listdir(".")))
            if i % 2:
                os.unlink(f"f{i}")
        return told, sorted(os.listdir("."))

    got = twin.both(act, who)
    assert got[0][4] == ["f0", "f2", "f4"] and got[1] == ["f0", "f2", "f4"]


def test_a_listing_goes_on_where_it_stood(twin):
    def act():
        for i in range(200):
            put(f"{i}", b"")
        with os.scandir(".") as entries:
            first = [next(entries).name for _ in range(100)]
            for name in first:
                os.unlink(name)
            rest = [entry.name for entry in entries]
        return len(set(first) | set(rest)), len(rest), sorted(os.listdir(".")) == sorted(rest)

    assert twin.both(act) == (200, 100, True)


# ---- names ----

def test_names_of_any_bytes(twin, who):
    """Every byte but '/' and NUL, in names that are no text in any encoding."""
    names = [bytes([b]) * 3 for b in range(1, 256) if b != ord("/")]
    names += [b"\xff" * 255, "ß→".encode() * 51, b" ", b"-rf", b"...", b"a\nb", b"\x01\x02"]
    names = sorted(set(names))

    def act():
        for name in names:
            put(name, name)
        found = {name: get(name) for name in os.listdir(b".")}
        for name in names:
            os.rename(name, b"x")
            os.rename(b"x", name)
        return found == {name: name for name in names}, sorted(os.listdir(b".")) == names

    assert len(names) == 254 + 6 and twin.both(act, who) == (True, True)


def test_the_longest_name_and_one_byte_more(twin, who):
    def act():
        longest, longer = "n" * 255, "n" * 256
        put(longest, b"f")
        os.mkdir("d" * 255)
        os.rename(longest, "m" * 255)
        return [seen(call, longer) for call in (os.stat, os.mkdir, get)] + [
            seen(os.rename, "m" * 255, longer), seen(put, longer, b""), get("m" * 255)]

    assert twin.both(act, who) == ["ENAMETOOLONG"] * 5 + [b"f"]


def test_a_tree_deeper_than_a_path(twin):
    """By descriptors, as find and rm do; the file at the end is like any other."""
    def act():
        levels, name = 40, "d" * 200
        top = here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        opened = []
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            here = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            opened.append(here)
        fd = os.open("f", os.O_RDWR | os.O_CREAT, dir_fd=here)
        os.write(fd, b"at the bottom")
        os.rename("f", "g", src_dir_fd=here, dst_dir_fd=here)
        os.rename("g", "up", src_dir_fd=here, dst_dir_fd=top)
        os.rename("up", "h", src_dir_fd=top, dst_dir_fd=here)
        seen_there = os.listdir(here), os.stat("h", dir_fd=here).st_size, os.pread(fd, 100, 0)
        by_path = seen(os.stat, "/".join([name] * levels))
        os.unlink("h", dir_fd=here)
        for parent in reversed([top] + opened[:-1]):
            os.rmdir(name, dir_fd=parent)
        return seen_there, by_path, os.listdir(top)

    assert twin.both(act) == ((["h"], 13, b"at the bottom"), "ENAMETOOLONG", [])


def test_a_path_of_4095_bytes(twin):
    """What a path can name just so, one can write, read, rename and remove."""
    def act():
        left = 4095 - len("/f")
        path = "d" * 250
        while len(path) + 251 < left:
            path += "/" + "d" * 250
        path += "/" + "e" * (left - len(path) - 1)
        assert len(path) + 2 == 4095
        os.makedirs(path)
        put(path + "/f", b"far")
        os.rename(path + "/f", path + "/g")
        told = get(path + "/g"), os.stat(path + "/g").st_size
        os.unlink(path + "/g")
        return told, os.listdir(path)

    assert twin.both(act, check=False) == ((b"far", 3), [])


def test_a_name_with_a_slash_at_the_end(twin):
    def act():
        os.mkdir("d/")
        put("f", b"f")
        return seen(os.stat, "f/"), os.path.isdir("d/"), seen(os.mkdir, "d/"), seen(put, "g/", b"")

    assert twin.both(act) == ("ENOTDIR", True, "EEXIST", "EISDIR")


def test_nobody_lists_what_he_may_not(twin, who):
    def prepare():
        os.mkdir("d")
        os.chown("d", OWNER.uid, OWNER.uid)
        os.chmod("d", 0o711)
        make("d/f", b"known by name", mode=0o644)

    twin.both(prepare)
    got = twin.both(lambda: (seen(os.listdir, "d"), get("d/f")), who)
    assert got == ("EACCES" if who is STRANGER else ["f"], b"known by name")
