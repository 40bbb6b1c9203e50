"""Unpacks kafka-python's tests into FOLDER: they are in its source distribution alone."""

import glob
import os
import subprocess
import sys
import tarfile

from importlib.metadata import version

# The distribution leaves this file out. It starts brokers, which the tests do not do with a running one.
SERVICE = '''
class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    def __init__(self, *args, **kwargs):
        raise NotImplementedError
'''


def main(folder):
    release = version("kafka-python")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*command, "--no-binary", ":all:", "--dest", folder, f"kafka-python=={release}"], check=True)
    (archive,) = glob.glob(os.path.join(folder, f"kafka_python-{release}.tar.gz"))
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            # Without the directory of the release, and nothing but the tests: the client is the installed one.
            _, _, path = member.name.partition("/")
            if ".." not in path and (path == "pyproject.toml" or path.startswith("test/")):
                member.name = path
                files.extract(member, folder)
    for name, text in [("__init__.py", ""), ("service.py", SERVICE)]:
        with open(os.path.join(folder, "test", name), "w") as file:
            file.write(text)


main(*sys.argv[1:])
