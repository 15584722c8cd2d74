"""A Django site on a media tree: the process that uploads and deletes, and its database."""
import json
import os
import shutil
import subprocess

import mgc


class SiteOf:
    """Owns a tree whose references are the site's database; `pg` is a conninfo or None (SQLite)."""

    def __init__(self, make, pg=None, **settings):
        self.pg = pg
        self.processes = []
        self.tree = make(**settings)
        root = self.tree.root
        os.makedirs(os.path.join(root, "db"))
        os.chown(os.path.join(root, "db"), mgc.WWW, mgc.WWW)
        self.database = os.path.join(root, "db", "site.sqlite3")
        block = (f'type = postgresql  conninfo = "{pg}"' if pg
                 else f'type = sqlite  database = "{self.database}"')
        self.tree.references.append(f"references app {{ {block} }}")
        self.tree.write_conf()
        # The checkout may lie where the web user cannot read.
        self.code = os.path.join(root, "site")
        shutil.copytree(mgc.TRIAL, self.code)
        shutil.copy(os.path.join(os.path.dirname(__file__), "drive.py"), self.code)
        subprocess.run(["chmod", "-R", "a+rX", self.code], check=True)
        self.first = self.process()

    def process(self):
        """A further web process; each has its own database connection."""
        env = dict(os.environ, TRIAL_ROOT=self.tree.root, TRIAL_CODE=self.code,
                   PYTHONDONTWRITEBYTECODE="1")
        env.pop("TRIAL_PG", None)
        if self.pg:
            env["TRIAL_PG"] = self.pg
        one = subprocess.Popen(
            [mgc.PYTHON, os.path.join(self.code, "drive.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/",
            user=mgc.WWW, group=mgc.WWW, extra_groups=[], umask=0o022)
        self.processes.append(one)
        return one

    def do(self, command, process=None, **arguments):
        one = process or self.first
        one.stdin.write(json.dumps(dict(arguments, do=command)) + "\n")
        one.stdin.flush()
        line = one.stdout.readline()
        assert line, f"the web process ended during '{command}'"
        answer = json.loads(line)
        assert "error" not in answer, f"{command}: {answer}"
        return answer

    def close(self):
        for one in self.processes:
            one.stdin.close()
            one.stdout.close()
            one.wait(20)
