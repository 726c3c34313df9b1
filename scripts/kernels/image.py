# SPDX-License-Identifier: Apache-2.0
"""What a virtual machine boots: a kernel of Debian, and a file system in memory with the built programs, the tests'
harness, Python, and the modules that pods of namespaces need. Nothing is installed on this machine."""

import lzma
import os
import shutil
import subprocess
from pathlib import Path

from harness.agent import binary
from harness.processes import root_of_repository

# Meta packages of the kernels that Debian 12 has for virtual machines.
PACKAGES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}
_MODULES = ("bridge", "veth", "inet_diag", "tcp_diag", "udp_diag")
_COMMANDS = ("sh", "cat", "mount", "sleep", "rm", "mkdir", "ip", "ss", "nsenter", "unshare", "insmod")
_PYTHON = Path("/usr/bin/python3").resolve()


class Kernel:
    """Downloaded by the package manager of this machine, which checks its signature; kept in .build/kernels."""

    def __init__(self, name):
        self.name = name
        place = root_of_repository() / ".build" / "kernels"
        place.mkdir(parents=True, exist_ok=True)
        package = self._package(PACKAGES[name])
        self.root = place / package
        if not list(self.root.glob("boot/vmlinuz-*")):
            _run("apt-get", "download", package, cwd=place)
            archive, = place.glob(f"{package.replace('+', '*')}_*.deb")
            _run("dpkg-deb", "--extract", archive, self.root)
            archive.unlink()
        self.image, = self.root.glob("boot/vmlinuz-*")
        self.release = self.image.name.removeprefix("vmlinuz-")

    @staticmethod
    def _package(meta):
        """The package that a meta package stands for today."""
        lines = _run("apt-cache", "depends", "--important", meta).splitlines()
        return next(line.split()[-1] for line in lines if "linux-image" in line and "Depends:" in line)

    def modules(self):
        """Files of the modules, each after what it depends on."""
        _run("depmod", "--basedir", self.root, self.release)
        base = self.root / "lib" / "modules" / self.release
        needs = {}
        for line in (base / "modules.dep").read_text().splitlines():
            file, _, rest = line.partition(":")
            needs[Path(file).name.split(".")[0]] = (file, rest.split())
        ordered = []
        for name in _MODULES:
            if name in needs:  # else it is part of the kernel
                file, rest = needs[name]
                ordered += [base / each for each in [*reversed(rest), file]]
        return list(dict.fromkeys(ordered))


class Image:
    """A root file system, and an archive of it for each kernel."""

    def __init__(self, place):
        self.root = place / "root"
        shutil.rmtree(self.root, ignore_errors=True)
        self._files = set()
        for name in ("proc", "sys", "dev", "run", "tmp", "etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in _COMMANDS:
            found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            self._program(Path(found).resolve(), f"usr/bin/{name}")
        self._python()
        self._mesh()

    def _program(self, source, target):
        self._copy(source, target)
        self._libraries(source)

    def _libraries(self, source):
        for line in _run("ldd", source, check=False).splitlines():
            for word in line.split():
                if word.startswith("/"):
                    self._copy(Path(word).resolve(), word.removeprefix("/"))

    def _copy(self, source, target):
        path = self.root / target
        if path not in self._files:
            self._files.add(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)

    def _python(self):
        self._program(_PYTHON, "usr/bin/python3")
        library = Path("/usr/lib") / _PYTHON.name
        target = self.root / str(library).removeprefix("/")
        shutil.copytree(library, target, symlinks=False, ignore_dangling_symlinks=True,
                        ignore=shutil.ignore_patterns("test", "idlelib", "lib2to3", "__pycache__", "config-*"))
        for extension in target.glob("lib-dynload/*.so"):
            self._libraries(extension)
        packages = Path("/usr/lib/python3/dist-packages")
        shutil.copytree(packages / "yaml", self.root / "usr/lib/python3/dist-packages/yaml")

    def _mesh(self):
        """The repository as the harness expects it, at /mesh."""
        repository, mesh = root_of_repository(), self.root / "mesh"
        for name in ("mesh-agent", "mesh-proxy", "meshctl"):
            program = binary(name).resolve()
            target = f"mesh/{program.relative_to(repository)}"
            self._program(program, target)
            _run("strip", self.root / target)
        build = mesh / ".build"
        (build / program.parent.name).symlink_to(program.parent.relative_to(repository / ".build"))
        shutil.copytree(repository / ".build" / "bpf", build / "bpf")
        for name in ("Tests/Integration/harness", "scripts/kernels"):
            shutil.copytree(repository / name, mesh / name, ignore=shutil.ignore_patterns("__pycache__"))
        init = self.root / "init"
        shutil.copy(repository / "scripts/kernels/init.sh", init)
        init.chmod(0o755)

    def archive(self, kernel, to):
        """Writes the file system with the modules of a kernel."""
        modules = self.root / "modules"
        shutil.rmtree(modules, ignore_errors=True)
        modules.mkdir()
        for number, file in enumerate(kernel.modules()):
            content = file.read_bytes()
            content = lzma.decompress(content) if file.suffix == ".xz" else content
            (modules / f"{number:02}-{file.name.split('.')[0]}.ko").write_bytes(content)
        names = "".join(f"{path.relative_to(self.root)}\0" for path in sorted(self.root.rglob("*")))
        with to.open("wb") as out:
            subprocess.run(["cpio", "--quiet", "--create", "--format=newc", "--null", "--owner=0:0"], cwd=self.root,
                           input=names.encode(), stdout=out, check=True)


def _run(*argv, check=True, cwd=None):
    done = subprocess.run([os.fspath(word) for word in argv], capture_output=True, text=True, cwd=cwd)
    if check and done.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed: {' '.join(map(str, argv))}\n{done.stderr}")
    return done.stdout
