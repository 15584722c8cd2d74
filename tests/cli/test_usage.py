"""Commands, help, exit statuses, and the documents that describe them."""
import json
import os
import pty
import re
import subprocess

import pytest

import mgc

COMMANDS = ("mount unmount status scan reconcile orphans missing suspects explain quarantine purge "
            "hold resume log config").split()


def run(*args, env=None):
    return subprocess.run([mgc.CLI, *args], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **(env or {})))


def test_help_lists_every_command_and_each_has_its_own():
    listed = run("--help")
    assert listed.returncode == 0
    assert re.findall(r"^  ([a-z]+) +", listed.stdout, re.M) == COMMANDS
    for name in COMMANDS:
        for form in ((name, "--help"), ("help", name)):
            one = run(*form)
            assert one.returncode == 0 and f"mediagcfs [-c FILE] {name}" in one.stdout


def test_the_readme_names_every_command():
    with open(os.path.join(mgc.SOURCE, "README.md"), encoding="utf-8") as f:
        readme = f.read()
    table = readme.split("## Commands")[1].split("## Not yet")[0]
    for name in COMMANDS:
        assert re.search(rf"`{name}\b", table), f"README's table lacks '{name}'"


@pytest.mark.parametrize("args, named", [
    ((), "usage:"),
    (("frobnicate",), "frobnicate"),
    (("--frobnicate", "status"), "--frobnicate"),
    (("status", "--frobnicate"), "--frobnicate"),
    (("status", "superfluous"), "superfluous"),
    (("log", "--since"), "--since"),
    (("log", "--since", "yesterday-ish"), "yesterday-ish"),
    (("hold", "--for", "a while"), "a while"),
    (("reconcile", "--approve", "0123456789abcdef"), "--apply"),
    (("quarantine",), "list, show"),
    (("quarantine", "burn"), "burn"),
    (("quarantine", "restore"), "--all"),
    (("quarantine", "restore", "1", "--all"), "one of"),
    (("explain",), "PATH"),
    (("config", "dump"), "config check"),
])
def test_wrong_usage_is_status_2_and_names_the_argument(make, args, named):
    tree = make()
    done = run("-c", tree.conf, *args)
    assert done.returncode == 2, done
    assert named in done.stderr, done.stderr
    assert done.stdout == ""


def test_options_may_stand_anywhere_after_the_command(tree):
    first = tree.run("log", "--json", "--since", "1h").stdout
    assert tree.run("log", "--since=1h", "--json").stdout == first
    assert [json.loads(line)["v"] for line in first.splitlines()]


def test_status_without_a_daemon_says_so(make):
    tree = make()
    status = tree.rows("status")
    assert len(status) == 1
    assert status[0]["mounted"] is False and status[0]["v"] == 1


def test_status_has_the_promised_fields(tree):
    status = tree.rows("status")
    assert len(status) == 1, "status prints exactly one object"
    for field in ("mounted", "entries", "bytes", "held", "held_bytes", "scan", "last_run", "hold"):
        assert field in status[0], field
    assert status[0]["mounted"] is True
    assert tree.run("status").stdout.startswith("mount ")


@pytest.mark.parametrize("command", [
    ("scan",), ("reconcile",), ("orphans",), ("quarantine", "list"), ("purge",), ("log",),
    ("hold",), ("resume",)])
def test_without_a_daemon_the_remedy_is_named(make, command):
    tree = make(references=['references none { type = command  command = "true" }'])
    done = tree.run(*command, status=1)
    assert "mediagcfs mount" in done.stderr and "--offline" in done.stderr


def test_mount_keeps_nothing_of_its_caller(make):
    tree = make()
    read, write = os.pipe()
    os.set_inheritable(write, True)
    subprocess.run([mgc.CLI, "-c", tree.conf, "mount"], check=True, close_fds=False, timeout=60,
                   stdout=write, stderr=subprocess.DEVNULL)
    tree.pids.append(tree.status()["pid"])
    os.close(write)
    assert os.read(read, 1) == b"", "the pipe is closed although the daemon runs"
    os.close(read)
    tree.unmount()
    assert not mgc.alive(tree.pids[-1]), "unmount returns when the daemon has ended"
    assert tree.status()["mounted"] is False


def test_children_of_the_schedule_do_not_name_the_configuration(make):
    tree = make(references=['references slow { type = command  command = "sleep 3" }'],
                reconcile={"every": "1s"})
    tree.mount()
    tree.verified()

    def scheduled():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    line = f.read()
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == tree.pids[-1] and b"reconcile" in line:
                found.append(line)
        return found

    lines = mgc.wait_for(scheduled, 30, "a scheduled run")
    assert all(tree.conf.encode() not in line for line in lines)


def test_progress_is_for_terminals_only(make):
    tree = make(references=['references list { type = command  command = "sleep 1; echo a.txt" }'])
    tree.mount()
    tree.write("a.txt")
    tree.verified()
    shown = b""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(mgc.CLI, [mgc.CLI, "-c", tree.conf, "reconcile"])
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"\rreferences: " in shown.replace(b"\x1b[K", b""), shown
    assert "\r" not in tree.run("reconcile").stderr
