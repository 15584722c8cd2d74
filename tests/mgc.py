"""What the tests share: a media tree with its configuration, and a PostgreSQL server."""
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("MGC_BUILD", os.path.join(SOURCE, "build", "debug"))
CLI = os.path.join(BUILD, "mediagcfs")
DAEMON = os.path.join(BUILD, "mediagcfsd")
TRIAL = os.path.join(SOURCE, "scripts", "trial")
PYTHON = "/usr/bin/python3"
WWW = pwd.getpwnam("www-data").pw_uid

# All waits off: a test that is about a wait sets it.
QUICK = {
    "reconcile": {
        "every": "off", "grace": "0s", "confirmations": "1", "confirm_over": "0s",
        "hot_for": "0s", "max_share": "off", "max_fall": "off", "fence_for": "5s",
    },
    "quarantine": {"retention": "0s", "min_retention": "0s"},
    "purge": {"every": "off"},
    "catalog": {"commit_every": "50ms", "open_resolution": "1m"},
}


def detach_all(below):
    """Detaches every mount beneath a directory; tells which there were."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        points = [line.split()[4].encode().decode("unicode_escape") for line in f]
    found = [point for point in points if point.startswith(below + "/")]
    for point in reversed(found):
        subprocess.run(["umount", "-l", point], check=False)
    return found


def wait_for(condition, seconds=10.0, what="condition"):
    """Polls until condition() is true and returns its value; fails loudly otherwise."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


class Failed(AssertionError):
    """A command ended with another status than expected."""


class Tree:
    """One media tree with its own configuration, catalog and daemon."""

    def __init__(self, root, references=(), owner=WWW, separate=False, **blocks):
        """separate: the source is another directory, so that a test can look beneath the mount."""
        self.root = root
        self.mountpoint = os.path.join(root, "media")
        self.source = os.path.join(root, "backing") if separate else self.mountpoint
        self.catalog = os.path.join(root, "state", "catalog")
        self.conf = os.path.join(root, "site.conf")
        self.references = list(references)
        self.blocks = {name: dict(keys) for name, keys in QUICK.items()}
        for name, keys in blocks.items():
            self.blocks.setdefault(name, {}).update(keys)
        for path in (self.source, self.mountpoint, os.path.join(root, "state")):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        os.chmod(root, 0o755)
        os.chown(self.source, owner, owner)
        self.pids = []
        self.write_conf()

    def write_conf(self):
        lines = [f'filesystem {{ source = "{self.source}"  mountpoint = "{self.mountpoint}" }}']
        catalog = dict(self.blocks.get("catalog", {}), directory=f'"{self.catalog}"')
        for name, keys in dict(self.blocks, catalog=catalog).items():
            body = "\n".join(f"  {key} = {value}" for key, value in keys.items())
            lines.append(f"{name} {{\n{body}\n}}")
        lines += self.references
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        os.chmod(self.conf, 0o644)

    # ---- commands ----

    def run(self, *args, status=0, user=None, timeout=120, env=None):
        """Runs `mediagcfs -c CONF ...` and checks its exit status; returns the finished process."""
        done = subprocess.run(
            [CLI, "-c", self.conf, *args], capture_output=True, text=True, timeout=timeout,
            user=user, group=user, extra_groups=[] if user else None, errors="surrogateescape",
            env=dict(os.environ, **(env or {})))
        allowed = status if isinstance(status, tuple) else (status,)
        if done.returncode not in allowed:
            raise Failed(f"mediagcfs {' '.join(args)}: exit {done.returncode}, want {status}\n"
                         f"{done.stdout}{done.stderr}{self.daemon_log()}")
        return done

    def rows(self, *args, **more):
        """The JSON objects a command prints."""
        return [json.loads(line) for line in self.run(*args, "--json", **more).stdout.splitlines()]

    def status(self):
        return self.rows("status")[-1]

    def reconcile(self, *args, **more):
        """One run; returns its last line."""
        return self.rows("reconcile", *args, **more)[-1]

    def held(self):
        return {row["path"]: row for row in self.rows("quarantine", "list")}

    def mount(self, *args):
        self.run("mount", *args)
        self.pids.append(self.status()["pid"])
        return self

    def unmount(self, *args):
        self.run("unmount", *args)

    def verified(self):
        """Waits until the verification of the tree is complete."""
        wait_for(lambda: self.status()["scan"] == "complete", 60, "the verification")

    def kill(self):
        """kill -9 of the daemon; returns when it is gone."""
        pid = self.pids[-1]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), what="the end of the daemon")

    def daemon_log(self):
        try:
            with open(os.path.join(self.catalog, "mediagcfsd.log"), encoding="utf-8",
                      errors="replace") as f:
                return "--- daemon\n" + f.read()[-8000:]
        except FileNotFoundError:
            return ""

    def close(self):
        """Ends the daemon and the mount; returns what a sanitizer had to say, or None."""
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
                try:
                    wait_for(lambda p=pid: not alive(p), 20, "the end of the daemon")
                except AssertionError:
                    os.kill(pid, signal.SIGKILL)
        detach_all(self.root)
        log = self.daemon_log()
        bad = ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
               "LeakSanitizer", "assertion failed")
        return log if any(word in log for word in bad) else None

    # ---- the tree ----

    def path(self, *parts):
        return os.path.join(self.mountpoint, *parts)

    def write(self, name, data=b"x", user=None):
        """Writes a file through the mount, as a user; returns its path."""
        path = self.path(name)
        if user is None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)
            return path
        as_user(user, lambda: self.write(name, data))
        return path

    def files(self, below=None):
        """{path: content} of everything in the tree as the mount (or the directory) shows it."""
        top = below or self.mountpoint
        found = {}
        for folder, dirs, names in os.walk(top):
            if ".mediagcfs" in dirs:
                dirs.remove(".mediagcfs")
            for name in names:
                full = os.path.join(folder, name)
                with open(full, "rb") as f:
                    found[os.path.relpath(full, top)] = f.read()
        return found

    def slots(self):
        """{slot: content} of the quarantine, read beneath the mount: unmounted or separate."""
        found = {}
        for path in glob.glob(os.path.join(self.source, ".mediagcfs", "slots", "**"),
                              recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    found[os.path.relpath(path, self.source)] = f.read()
        return found


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def as_user(uid, act):
    """Runs act() in a child with that uid and no supplementary groups; an exception is a failure."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            act()
            status = 0
        except BaseException as error:  # noqa: B902 - a forked child must not go on as pytest
            os.write(2, f"as_user: {error!r}\n".encode())
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the action of uid {uid} failed"


def command_source(root, lines=()):
    """A reference source that prints a file; returns (block, path of that file)."""
    listing = os.path.join(root, "references.txt")
    with open(listing, "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in lines)
    os.chmod(listing, 0o644)
    return f'references list {{ type = command  command = "cat {listing}" }}', listing


class Cluster:
    """PostgreSQL of the distribution in a private directory, reached by its socket only."""

    def __init__(self):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = tempfile.mkdtemp(prefix="mgcpg-", dir="/dev/shm")
        self.user = pwd.getpwnam("postgres").pw_uid
        os.chmod(self.dir, 0o755)
        os.chown(self.dir, self.user, self.user)
        self.data = os.path.join(self.dir, "data")
        self.initialised = False

    def _as_postgres(self, *args, **more):
        return subprocess.run(args, user=self.user, group=self.user, extra_groups=[], check=True,
                              cwd=self.dir, stdout=subprocess.DEVNULL,
                              stderr=subprocess.STDOUT, **more)

    def start(self):
        if not self.initialised:
            self._as_postgres(f"{self.bin}/initdb", "-D", self.data, "-A", "trust", "-U",
                              "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N")
            with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
                f.write(f"listen_addresses = ''\nunix_socket_directories = '{self.dir}'\n"
                        "fsync = off\nmax_prepared_transactions = 10\nshared_buffers = 32MB\n")
            self.initialised = True
        self._as_postgres(f"{self.bin}/pg_ctl", "-D", self.data, "-w", "-l",
                          os.path.join(self.dir, "log"), "start")

    def stop(self, mode="fast"):
        self._as_postgres(f"{self.bin}/pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def sql(self, statement, database="postgres"):
        done = subprocess.run(
            [f"{self.bin}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-U",
             "postgres", "-d", database, "-c", statement],
            check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def database(self, name):
        """A fresh database owned by a plain role of the same name; returns its conninfo."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}"')
        self.sql(f'DROP ROLE IF EXISTS "{name}"')
        self.sql(f'CREATE ROLE "{name}" LOGIN')
        self.sql(f'CREATE DATABASE "{name}" OWNER "{name}"')
        return f"host={self.dir} dbname={name} user={name}"

    def close(self):
        subprocess.run([f"{self.bin}/pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop"],
                       user=self.user, group=self.user, extra_groups=[], check=False,
                       cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        shutil.rmtree(self.dir)
