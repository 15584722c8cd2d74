"""Reading, writing, mapping, copying and locking of open files."""
import ctypes
import fcntl
import mmap
import os
import threading
import time

import pytest

from twin import EVERYBODY, LIBC, OWNER, STRANGER, checked, get, make, perform, put, seen

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO = 1, 2, 8, 16
PAGE = 4096


def fallocate(fd, mode, offset, count):
    return checked(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(count)))


# ---- writing ----

def test_large_writes_come_back_as_they_were(twin, who):
    def act():
        data = os.urandom(1 << 12) * 700 + b"end"
        put("f", data)
        with open("f", "rb") as f:
            whole = f.read() == data
            f.seek(1000001)
            return whole, f.read(5000) == data[1000001:1005001], os.stat("f").st_size

    got = perform(act, twin.mounted, who)
    assert got == (True, True, (1 << 12) * 700 + 3)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_SYNC])
def test_writes_at_odd_places(twin, flags):
    def act():
        fd = os.open("f", flags | os.O_CREAT)
        for offset in (0, 1, 4095, 4096, 70001, 131071, 131073):
            os.pwrite(fd, b"%d" % offset, offset)
        os.pwritev(fd, [b"a", b"bc"], 10)
        os.close(fd)
        return len(get("f")), get("f")[10:13]

    assert twin.both(act) == (131079, b"abc")


def test_two_writers_append_without_loss(twin):
    """O_APPEND of two descriptors and two processes: every record is there, whole."""
    def act():
        put("log", b"")
        count, children = 300, []
        for name in (b"a", b"b"):
            pid = os.fork()
            if pid == 0:
                fd = os.open("log", os.O_WRONLY | os.O_APPEND)
                for _ in range(count):
                    os.write(fd, name * 99 + b"\n")
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        lines = get("log").split(b"\n")
        return len(lines), {bytes(set(line)): lines.count(line) for line in set(lines)}

    assert twin.both(act, check=False) == (601, {b"a": 300, b"b": 300, b"": 1})


def test_append_ignores_the_place(twin, who):
    def act():
        put("f", b"123")
        fd = os.open("f", os.O_RDWR | os.O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"45")
        place = os.lseek(fd, 0, os.SEEK_CUR)
        other = os.open("f", os.O_WRONLY)
        os.write(other, b"x")
        return place, os.pread(fd, 10, 0)

    assert twin.both(act, who) == (5, b"x2345")


def test_what_one_writes_the_other_reads_at_once(twin):
    """Between two descriptors and a mapping, in both directions."""
    def act():
        put("f", b"." * 8192)
        reader, writer = os.open("f", os.O_RDONLY), os.open("f", os.O_RDWR)
        told = []
        with mmap.mmap(writer, 8192) as both:
            os.pwrite(writer, b"one", 5000)
            told += [os.pread(reader, 3, 5000), both[5000:5003]]
            both[100:103] = b"two"
            told += [os.pread(reader, 3, 100), get("f")[100:103]]
        return told

    assert twin.both(act) == [b"one", b"one", b"two", b"two"]


def test_a_file_open_for_reading_only_is_not_written(twin, who):
    def act():
        put("f", b"f")
        fd = os.open("f", os.O_RDONLY)
        return seen(os.write, fd, b"x"), seen(os.ftruncate, fd, 0), get("f")

    assert twin.both(act, who) == ("EBADF", "EINVAL", b"f")


# ---- space ----

@pytest.mark.parametrize("mode, size", [(0, 9000), (KEEP_SIZE, 3), (PUNCH_HOLE | KEEP_SIZE, 3)])
def test_fallocate(twin, mode, size):
    def act():
        put("f", b"123")
        fd = os.open("f", os.O_RDWR)
        fallocate(fd, mode, 1, 8999)
        return os.fstat(fd).st_size, os.stat("f").st_size, os.pread(fd, 3, 0)

    content = b"1\0\0" if mode & PUNCH_HOLE else b"123"
    assert twin.both(act) == (size, size, content)


def test_a_mode_of_fallocate_that_is_not_to_be_had(twin):
    def act():
        put("f", b"123")
        return seen(fallocate, os.open("f", os.O_RDWR), COLLAPSE, 0, PAGE), get("f")

    assert twin.both(act) == ("ENOTSUP", b"123")


def test_fallocate_counts_blocks(twin):
    def act():
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        counts = [os.fstat(fd).st_blocks]
        fallocate(fd, 0, 0, 1 << 20)
        counts.append(os.fstat(fd).st_blocks)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 1 << 19)
        return counts + [os.fstat(fd).st_blocks]

    assert twin.both(act) == [0, 2048, 1024]


def test_holes_and_data_are_found(twin):
    def act():
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 1 << 20)
        os.pwrite(fd, b"data", 1 << 19)
        os.pwrite(fd, b"data", 0)
        return ([os.lseek(fd, at, os.SEEK_DATA) for at in (0, 10, PAGE, 1 << 19)],
                [os.lseek(fd, at, os.SEEK_HOLE) for at in (0, PAGE, 1 << 19)],
                seen(os.lseek, fd, (1 << 19) + PAGE, os.SEEK_DATA),
                seen(os.lseek, fd, 1 << 21, os.SEEK_HOLE))

    half = 1 << 19
    assert twin.both(act) == ([0, 10, half, half], [PAGE, PAGE, half + PAGE], "ENXIO", "ENXIO")


# ---- copying ----

@pytest.mark.parametrize("count", [0, 10, 200000])
def test_copy_file_range(twin, who, count):
    def act():
        data = bytes(range(256)) * 1000
        put("f", data)
        source, target = os.open("f", os.O_RDONLY), os.open("g", os.O_RDWR | os.O_CREAT)
        copied = 0
        while copied < count:
            got = os.copy_file_range(source, target, count - copied, 1000 + copied, 7 + copied)
            if got == 0:
                break
            copied += got
        return copied, get("g") == b"\0" * 7 * (copied > 0) + data[1000:1000 + copied]

    assert twin.both(act, who) == (count, True)


def test_copy_file_range_at_the_end_copies_what_is_there(twin):
    def act():
        put("f", b"12345")
        source, target = os.open("f", os.O_RDONLY), os.open("g", os.O_RDWR | os.O_CREAT)
        return (os.copy_file_range(source, target, 100, 3, 0),
                os.copy_file_range(source, target, 100, 5, 0), os.pread(target, 10, 0))

    assert twin.both(act) == (2, 0, b"45")


def test_sendfile(twin, who):
    def act():
        data = bytes(range(256)) * 2000
        put("f", data)
        source, target = os.open("f", os.O_RDONLY), os.open("g", os.O_WRONLY | os.O_CREAT)
        sent = 0
        while sent < len(data):
            sent += os.sendfile(target, source, sent, len(data) - sent)
        return get("g") == data

    assert twin.both(act, who) is True


def test_a_mapping_for_reading(twin, who):
    twin.both(lambda: make("f", bytes(range(256)) * 100, mode=0o644))

    def act():
        with open("f", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            return pages[5000:5010], len(pages), pages.find(b"\xff\x00")

    assert twin.both(act, who) == (bytes(range(136, 146)), 25600, 255)


def test_a_private_mapping_changes_nothing(twin):
    def act():
        put("f", b"12345")
        with open("f", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
            pages[0:1] = b"x"
        return get("f")

    assert twin.both(act) == b"12345"


def test_a_shared_mapping_writes(twin):
    def act():
        put("f", b"." * 10000)
        with open("f", "r+b") as f, mmap.mmap(f.fileno(), 0) as pages:
            pages[9000:9004] = b"here"
            pages.flush()
        return get("f")[8999:9005]

    assert twin.both(act) == b".here."


# ---- durability ----

def test_syncs_are_answered(twin, who):
    def act():
        fd = os.open("f", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"f")
        os.fsync(fd), os.fdatasync(fd)
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder), os.fdatasync(folder)
        return get("f")

    assert twin.both(act, who) == b"f"


def test_a_file_too_large_is_refused(twin):
    def act():
        import resource
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        fd = os.open("f", os.O_WRONLY | os.O_CREAT)
        return os.write(fd, b"x" * 2000), seen(os.write, fd, b"x"), seen(os.ftruncate, fd, 2000)

    assert twin.both(act) == (1000, "EFBIG", "EFBIG")


# ---- locks ----

@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf], ids=["flock", "posix"])
def test_a_lock_keeps_another_process_out(twin, who, lock):
    def act():
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        lock(fd, fcntl.LOCK_EX)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            other = os.open("f", os.O_RDWR)
            first = seen(lock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(write, str(first).encode())
            lock(other, fcntl.LOCK_EX)  # waits for the first
            os.write(write, b" then mine")
            os._exit(0)
        told = os.read(read, 100)
        time.sleep(0.02)
        lock(fd, fcntl.LOCK_UN)
        os.waitpid(pid, 0)
        return told + os.read(read, 100)

    assert twin.both(act, who) == b"EAGAIN then mine"


def test_shared_locks_go_together(twin):
    def act():
        put("f", b"")
        fds = [os.open("f", os.O_RDONLY) for _ in range(3)]
        fcntl.flock(fds[0], fcntl.LOCK_SH)
        fcntl.flock(fds[1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        refused = seen(fcntl.flock, fds[2], fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fds[0]), os.close(fds[1])
        return refused, fcntl.flock(fds[2], fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert twin.both(act) == ("EAGAIN", None)


# ---- many at once ----

def test_many_threads_and_users_at_once(twin):
    """Whoever makes a file while others make theirs gets his own: ids and umask are per request."""
    wrong = []

    def load(who, umask):
        def act():
            os.umask(umask)
            found = []
            for i in range(120):
                name = f"{who}-{umask}-{i}"
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o666))
                st = os.lstat(name)
                if (st.st_uid, st.st_gid, st.st_mode & 0o777) != (who.uid, who.uid, 0o666 & ~umask):
                    found.append((name, st.st_uid, oct(st.st_mode)))
            return found

        wrong.extend(perform(act, twin.mounted, who))

    threads = [threading.Thread(target=load, args=(who, umask))
               for who in EVERYBODY for umask in (0o022, 0o077)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(os.listdir(twin.beneath)) == 6 * 120


def test_a_stranger_gets_nothing_through_an_old_descriptor_path(twin):
    """/proc/self/fd opens again with the rights of whoever asks."""
    twin.both(lambda: make("f", b"secret", mode=0o640))

    def act():
        fd = os.open("f", os.O_PATH)
        return seen(lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)) in ("EACCES", "EPERM")

    assert twin.both(act, STRANGER) is True
    assert twin.both(lambda: get("f"), OWNER) == b"secret"
