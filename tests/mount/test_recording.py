"""The catalog is the tree: after whatever the application did, and after a kill -9."""
import os
import random
import sqlite3
import stat
import time

import pytest

from twin import rename2

EXCHANGE = 2
FILE, SYMLINK = 0, 1


def catalog(tree):
    """(directories, {path: kind, size, inode, links}) as the catalog has them, all as bytes."""
    assert tree.status()["mounted"] is True  # a command sees what was answered before it
    db = sqlite3.connect(f"file:{tree.catalog}/catalog.db?mode=ro", uri=True)
    rows = {row[0]: row[1:] for row in db.execute("SELECT id, parent, name FROM dirs")}
    entries = db.execute("SELECT dir, name, kind, size_bytes, ino, nlink FROM entries").fetchall()
    count, size = db.execute("SELECT entries, bytes FROM counters").fetchone()
    db.close()

    def path_of(number):
        parent, name = rows[number]
        return b"" if parent == 0 else path_of(parent) + bytes(name) + b"/"

    found = {path_of(row[0]) + bytes(row[1]): tuple(row[2:]) for row in entries}
    assert len(found) == len(entries) == count, "one row for one name, and they are counted"
    assert sum(row[3] for row in entries) == size
    return {path_of(number) for number in rows}, found


def real(tree):
    """The same, read from the tree through the mount."""
    top = os.fsencode(tree.mountpoint)
    dirs, found = {b""}, {}
    for folder, subdirs, names in os.walk(top):
        for name in subdirs + names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            relative = os.path.relpath(path, top)
            if stat.S_ISDIR(st.st_mode):
                dirs.add(relative + b"/")
            elif stat.S_ISREG(st.st_mode) or stat.S_ISLNK(st.st_mode):
                kind = SYMLINK if stat.S_ISLNK(st.st_mode) else FILE
                found[relative] = kind, st.st_size, st.st_ino, st.st_nlink
    return dirs, found


def same(tree, links=True):
    """links: whether link counts are compared; a change of them is not news of the other names."""
    got, want = catalog(tree), real(tree)
    if not links:
        got, want = ((dirs, {path: row[:3] for path, row in found.items()})
                     for dirs, found in (got, want))
    assert got[0] == want[0]
    assert got[1] == want[1]


def test_files_as_they_come_and_go(tree):
    tree.write("a.txt", b"a")
    tree.write("d/b.txt", b"bb")
    tree.write("d/e/c.txt", b"ccc")
    same(tree)
    tree.write("a.txt", b"longer than before")
    os.truncate(tree.path("d/b.txt"), 1)
    os.unlink(tree.path("d/e/c.txt"))
    os.rmdir(tree.path("d/e"))
    same(tree)


def test_symlinks_are_entries_and_fifos_are_none(tree):
    os.symlink("nowhere", tree.path("s"))
    os.mkfifo(tree.path("p"))
    tree.write("f")
    same(tree)
    assert set(catalog(tree)[1]) == {b"s", b"f"}


def test_renames_of_files(tree):
    for name in "abcd":
        tree.write(f"{name}/f", name.encode() * 10)
    os.rename(tree.path("a/f"), tree.path("a/g"))
    os.rename(tree.path("b/f"), tree.path("c/f"))  # replaces
    os.rename(tree.path("d/f"), tree.path("a/moved"))
    rename2(tree.path("a/g"), tree.path("a/moved"), EXCHANGE)
    same(tree)


def test_renames_of_directories(tree):
    for i in range(4):
        tree.write(f"top{i}/in/f{i}", b"x" * i)
    os.mkdir(tree.path("empty"))
    os.rename(tree.path("top0"), tree.path("renamed"))
    os.rename(tree.path("top1/in"), tree.path("top2/in/deep"))
    os.rename(tree.path("renamed/in"), tree.path("empty"))  # replaces an empty directory
    rename2(tree.path("top2"), tree.path("top3"), EXCHANGE)
    rename2(tree.path("top3/in/deep/f1"), tree.path("empty"), EXCHANGE)  # a file and a directory
    tree.write("top3/in/deep/f1/later", b"written beneath what was exchanged")
    same(tree)


def test_a_file_written_while_its_directory_is_renamed(tree):
    """The path recorded at the close is the one it has then."""
    tree.write("a/b/f", b"")
    with open(tree.path("a/b/f"), "ab") as f:
        f.write(b"first")
        f.flush()
        os.rename(tree.path("a"), tree.path("z"))
        os.rename(tree.path("z/b/f"), tree.path("z/g"))
        f.write(b" and second")
    same(tree)
    assert catalog(tree)[1][b"z/g"][1] == 16


def test_hard_links(tree):
    tree.write("f", b"f")
    os.mkdir(tree.path("d"))
    os.link(tree.path("f"), tree.path("d/g"))
    os.link(tree.path("d/g"), tree.path("h"))
    same(tree, links=False)
    os.unlink(tree.path("f"))
    os.rename(tree.path("h"), tree.path("d/g"))  # one file: nothing happens, and both stay
    same(tree, links=False)
    assert set(catalog(tree)[1]) == {b"d/g", b"h"}


def test_an_unlinked_file_that_is_written_on_does_not_come_back(tree):
    tree.write("f", b"1")
    with open(tree.path("f"), "ab") as f:
        os.unlink(tree.path("f"))
        f.write(b"more")
    tree.write("g", b"")
    with open(tree.path("g"), "ab") as g:
        tree.write("other", b"replaces it")
        os.rename(tree.path("other"), tree.path("g"))
        g.write(b"into the old one")
    same(tree)


def test_names_of_any_bytes_are_recorded(tree):
    names = [bytes([b]) * 2 for b in range(1, 256) if b not in b"./"]
    names += [b"\xff" * 255, "ß".encode()]
    for name in names:
        with open(os.path.join(os.fsencode(tree.mountpoint), name), "wb") as f:
            f.write(name)
    same(tree)


def test_replacing_by_upload_and_rename(tree):
    """What django-like storages and editors do."""
    for i in range(50):
        tree.write(f"page{i % 5}.tmp", b"v" * i)
        os.rename(tree.path(f"page{i % 5}.tmp"), tree.path(f"page{i % 5}.html"))
    same(tree)
    assert len(catalog(tree)[1]) == 5


class Application:
    """Random acts on names; a seed makes the same ones again."""

    def __init__(self, tree, seed):
        self.tree = tree
        self.random = random.Random(seed)
        os.makedirs(tree.path("d0"), exist_ok=True)

    def pick(self, directories):
        found = []
        for folder, dirs, names in os.walk(self.tree.mountpoint):
            found += [os.path.join(folder, name) for name in (dirs if directories else names)]
        return self.random.choice(sorted(found)) if found else None

    def place(self):
        folder = self.random.choice([self.pick(True), self.tree.mountpoint]) or self.tree.mountpoint
        return os.path.join(folder, f"n{self.random.randrange(12)}")

    def step(self):
        act = self.random.choice(
            [self.write] * 5 + [self.mkdir] * 2 + [self.rename] * 3 + [self.rename_directory] * 2 +
            [self.exchange, self.unlink, self.rmdir, self.symlink, self.truncate])
        try:
            act()
        except OSError:
            pass  # not empty, not a directory, into itself: answers, and nothing changed

    def write(self):
        with open(self.place(), "ab") as f:
            f.write(b"x" * self.random.randrange(100))

    def mkdir(self):
        os.mkdir(self.place())

    def rename(self):
        os.rename(self.pick(False) or "", self.place())

    def rename_directory(self):
        os.rename(self.pick(True) or "", self.place())

    def exchange(self):
        rename2(self.pick(self.random.random() < 0.5) or "", self.pick(False) or "", EXCHANGE)

    def unlink(self):
        os.unlink(self.pick(False) or "")

    def rmdir(self):
        os.rmdir(self.pick(True) or "")

    def symlink(self):
        os.symlink("nowhere", self.place())

    def truncate(self):
        os.truncate(self.pick(False) or "", self.random.randrange(50))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("commit_every", ["1ms", "30s"])
def test_random_acts(make, seed, commit_every):
    """Each committed alone, or hundreds merged into one batch."""
    tree = make(catalog={"commit_every": commit_every}).mount()
    application = Application(tree, seed)
    for _ in range(4):
        for _ in range(80):
            application.step()
        same(tree)


def test_names_that_come_back_within_one_batch(make):
    """A directory is renamed away and made anew: what is beneath is not what was beneath before."""
    tree = make(catalog={"commit_every": "30s"}).mount()
    tree.write("a/f", b"first")
    os.rename(tree.path("a"), tree.path("b"))
    tree.write("a/f", b"second one")
    os.unlink(tree.path("a/f"))
    same(tree)
    tree.write("a/f", b"third")
    rename2(tree.path("a"), tree.path("b"), EXCHANGE)
    os.unlink(tree.path("a/f"))
    tree.write("a/f", b"the fourth")
    os.rename(tree.path("a"), tree.path("c"))
    os.rename(tree.path("b"), tree.path("a"))
    os.truncate(tree.path("c/f"), 2)
    same(tree)


@pytest.mark.parametrize("seed", range(3))
def test_random_acts_and_a_kill(tree, seed):
    """What was not committed is found by the verification of the next start."""
    application = Application(tree, 100 + seed)
    for _ in range(3):
        for _ in range(50):
            application.step()
        tree.kill()
        tree.mount()
        tree.verified()
        same(tree)


def test_an_orderly_stop_records_everything(tree):
    application = Application(tree, 7)
    for _ in range(100):
        application.step()
    want = real(tree)
    tree.unmount()
    tree.mount()
    tree.verified()
    assert (catalog(tree), real(tree)) == (want, want)


def test_changes_beneath_the_mount_are_found_by_a_scan(make):
    tree = make(separate=True).mount()
    tree.write("a/f", b"1")
    tree.write("b/g", b"2")
    tree.verified()
    with open(os.path.join(tree.source, "a/beneath"), "wb") as f:
        f.write(b"3")
    os.unlink(os.path.join(tree.source, "b/g"))
    done = tree.rows("scan")[-1]
    assert (done["complete"], done["added"], done["removed"]) == (True, 1, 1), done
    assert set(catalog(tree)[1]) == {b"a/f", b"a/beneath"}


def test_a_scan_skips_directories_that_did_not_change(tree):
    for i in range(6):
        tree.write(f"d{i}/f")
    time.sleep(2.2)  # H9: a change in the same tick as the scan would never be noticed
    first = tree.rows("scan")[-1]
    tree.write("d3/new")
    second = tree.rows("scan")[-1]
    time.sleep(2.2)
    third = tree.rows("scan")[-1]
    fourth = tree.rows("scan")[-1]
    told = [(one["directories"], one["skipped"]) for one in (first, second, third, fourth)]
    assert told == [(7, 0), (7, 6), (7, 6), (7, 7)], told
    assert tree.rows("scan", "--everything")[-1]["skipped"] == 0
    same(tree)
