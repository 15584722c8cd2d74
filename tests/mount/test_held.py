"""H1 and H3: what a run moves while somebody looks at it, what it leaves because somebody writes.

Every uid's upload through a name that a run has just taken away makes a new file; nothing that goes
by the old inode reaches what is held.
"""
import concurrent.futures
import ctypes
import mmap
import os
import time

import pytest

import mgc
from twin import EVERYBODY, LIBC, checked, get, perform, put, seen

CONTENT = b"what is held stays what it was\n" * 300


@pytest.fixture
def site(make):
    """A tree whose only mentioned file is kept.txt, with its source beside it."""
    tree = make(separate=True)
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    tree.mount()
    tree.verified()
    tree.write("kept.txt", b"kept")
    return tree


def old(tree, name="docs/orphan.txt", data=CONTENT):
    """An orphan that everybody may write, in a directory that everybody may write."""
    path = tree.write(name, data)
    os.chmod(path, 0o666)
    os.chmod(os.path.dirname(path), 0o777)
    time.sleep(0.02)  # change times come in ticks of the kernel's clock
    return path


def move(tree, count=1):
    report = tree.reconcile("--apply")
    assert report["moved"] == count, report


def slot(tree):
    """(content, mode, owner, links, mtime) of the one held file, read beneath the mount."""
    (name, data), = tree.slots().items()
    st = os.stat(os.path.join(tree.source, name))
    return data, st.st_mode, st.st_uid, st.st_nlink, st.st_mtime_ns


WRITES = {
    "truncating": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "appending": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "updating": os.O_RDWR | os.O_CREAT,
}


@pytest.mark.parametrize("flags", WRITES.values(), ids=WRITES)
def test_an_upload_through_a_cached_name_makes_a_new_file(site, who, flags):
    path = old(site)

    def upload():
        fd = os.open("docs/orphan.txt", flags, 0o666)
        os.write(fd, b"a new upload")
        os.close(fd)
        return get("docs/orphan.txt"), os.stat("docs/orphan.txt").st_uid

    perform(lambda: get("docs/orphan.txt"), site.mountpoint, who)  # name and pages are cached now
    move(site)
    before = slot(site)
    assert before[0] == CONTENT
    assert perform(upload, site.mountpoint, who) == (b"a new upload", who.uid)
    assert slot(site) == before
    assert os.listdir(os.path.dirname(path)) == ["orphan.txt"]


def test_an_upload_by_a_name_looked_up_again_and_again(site):
    """Somebody keeps the name in the kernel's cache while it is moved."""
    path = old(site)
    pinned = os.open(path, os.O_PATH)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    move(site)
    before = slot(site)
    fd = os.open("orphan.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=folder)
    os.write(fd, b"new")
    for one in (fd, folder, pinned):
        os.close(one)
    assert (slot(site), get(path)) == (before, b"new")


THROUGH = {
    "truncating open": lambda name: os.close(os.open(name, os.O_WRONLY | os.O_TRUNC)),
    "appending open": lambda name: os.write(os.open(name, os.O_WRONLY | os.O_APPEND), b"more"),
    "open for both": lambda name: os.write(os.open(name, os.O_RDWR), b"more"),
    "truncate": lambda name: os.truncate(name, 3),
    "chmod": lambda name: os.chmod(name, 0o4777),
    "chown": lambda name: os.chown(name, 1, 1),
    "utime": lambda name: os.utime(name, ns=(5, 6)),
}


@pytest.mark.parametrize("act", THROUGH.values(), ids=THROUGH)
def test_what_names_the_old_path_finds_nothing(site, act):
    path = old(site)
    os.stat(path)
    move(site)
    before = slot(site)
    assert seen(act, path) == "ENOENT"
    assert seen(os.link, path, path + ".2") == "ENOENT"
    assert seen(os.rename, path, path + ".2") == "ENOENT"
    assert slot(site) == before


def test_what_names_the_old_inode_does_not_reach_it(site):
    """An O_PATH descriptor names the inode whatever became of the name."""
    at_cwd, empty_path = -100, 0x1000
    path = old(site)
    fd = os.open(path, os.O_PATH)
    move(site)
    before = slot(site)
    told = {what: seen(act, f"/proc/self/fd/{fd}") for what, act in THROUGH.items()}
    told["link"] = seen(lambda: checked(
        LIBC.linkat(fd, b"", at_cwd, os.fsencode(path + ".2"), empty_path)))
    os.close(fd)
    assert told == dict.fromkeys(told, "ESTALE")
    assert slot(site) == before


def test_a_reader_goes_on_reading_what_was_moved(site):
    path = old(site)
    with open(path, "rb") as f:
        first = f.read(100)
        move(site)
        assert first + f.read() == CONTENT
        f.seek(0)
        assert f.read() == CONTENT
        before = slot(site)
        told = seen(os.fchmod, f.fileno(), 0o4777), seen(os.fchown, f.fileno(), 1, 1)
    assert slot(site) == before, told


@pytest.mark.parametrize("somebody", EVERYBODY, ids=repr)
def test_uploads_while_a_run_moves(site, somebody):
    """They begin at any moment of a move: each is whole, and so is what is held."""
    names = [f"docs/{i}.txt" for i in range(12)]
    for name in names:
        old(site, name)

    def upload():
        left = list(names)
        end = time.monotonic() + 15
        while left and time.monotonic() < end:
            for name in list(left):
                if seen(os.stat, name) == "ENOENT":
                    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
                    os.write(fd, b"new")
                    os.close(fd)
                    left.remove(name)
        return left

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(perform, upload, site.mountpoint, somebody)
        report = site.reconcile("--apply")
        assert uploads.result() == []
    assert report["moved"] == len(names)
    assert list(site.slots().values()) == [CONTENT] * len(names)
    assert site.files() == {**dict.fromkeys(names, b"new"), "kept.txt": b"kept"}


# ---- H3: writers ----

def stays(tree, path):
    """A run leaves the file alone."""
    assert tree.reconcile("--apply", status=(0, 4))["moved"] == 0
    assert os.path.exists(path) and tree.slots() == {}


def goes(tree, content):
    """Nobody writes any more: now it is moved, with the last that was written."""
    time.sleep(0.02)
    move(tree)
    assert slot(tree)[0] == content


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND])
def test_a_file_open_for_writing_is_not_moved(site, flags):
    path = old(site)
    fd = os.open(path, flags)
    stays(site, path)
    os.pwrite(fd, b"W", 0)
    stays(site, path)
    os.close(fd)
    goes(site, get(path))


def test_a_file_that_was_created_and_is_still_open_is_not_moved(site):
    path = site.path("upload.part")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"half")
    time.sleep(0.02)
    stays(site, path)
    os.write(fd, b" and half")
    os.close(fd)
    goes(site, b"half and half")


def test_a_descriptor_in_another_process_counts(site):
    """The one that opened it has closed it; a child that inherited it writes on."""
    path = old(site)
    read, write = os.pipe()
    fd = os.open(path, os.O_WRONLY)
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os.pwrite(fd, b"C", 0)
        os._exit(0)
    os.close(fd)
    stays(site, path)
    os.close(write), os.close(read)
    os.waitpid(pid, 0)
    goes(site, b"C" + CONTENT[1:])


def test_a_shared_mapping_outlives_its_descriptor(site):
    """A store through it after close(2) must not go into the slot unseen."""
    path = old(site)
    fd = os.open(path, os.O_RDWR)
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    page = LIBC.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    assert page != ctypes.c_void_p(-1).value
    os.close(fd)
    stays(site, path)
    ctypes.memset(page, ord("M"), 5)
    stays(site, path)
    assert get(path)[:6] == b"MMMMM" + CONTENT[5:6]
    assert LIBC.munmap(page, 4096) == 0
    goes(site, b"MMMMM" + CONTENT[5:])


@pytest.mark.parametrize("separate", [False, True], ids=["in place", "beside"])
def test_a_writer_from_before_the_mount_counts(make, separate):
    """Opened on the plain directory, never seen by the mount: the read lease tells."""
    tree = make(separate=separate)
    block, _ = mgc.command_source(tree.root, ["kept.txt"])
    tree.references.append(block)
    tree.write_conf()
    for name, data in (("kept.txt", b"kept"), ("orphan.txt", CONTENT)):
        put(os.path.join(tree.source, name), data)
    fd = os.open(os.path.join(tree.source, "orphan.txt"), os.O_WRONLY)
    tree.mount()
    tree.verified()
    time.sleep(0.02)
    for _ in range(2):
        assert tree.reconcile("--apply", status=(0, 4))["moved"] == 0
        assert get(tree.path("orphan.txt")) == CONTENT
    os.pwrite(fd, b"B", 0)
    os.close(fd)
    time.sleep(0.02)
    move(tree)
    assert list(tree.held()) == ["orphan.txt"]
    tree.unmount()
    assert list(tree.slots().values()) == [b"B" + CONTENT[1:]]


def test_a_reader_does_not_keep_a_file(site):
    path = old(site)
    with open(path, "rb"):
        move(site)
