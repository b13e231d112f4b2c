"""Install other products to measure them: `python -m bench.peers.install FOLDER`.

What cannot be installed here is said and left out, and so are the ways that need it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.installed import Installed, Need

_HERE = Path(__file__).parent
_NPM = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
_DEBIAN_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1")  # the server and what it is linked with
_STEP_MAX_S = 300


def main() -> None:
    """Install what is not there yet."""
    installed = Installed(Path(sys.argv[1]))
    steps = {Need.PYTHON: _install_python, Need.NODE: _install_node, Need.REDIS: _unpack_redis}
    for need, install in steps.items():
        if not installed.has(need):
            try:
                install(installed)
            except (OSError, subprocess.SubprocessError) as error:
                sys.stderr.write(f"{need} cannot be installed: {error}\n")
    if not installed.missing(frozenset(Need)):
        (installed.folder / "installed").touch()


def _install_python(installed: Installed) -> None:
    venv = installed.python.parents[1]
    _run(sys.executable, "-m", "venv", "--clear", str(venv))
    _run(str(installed.python), "-m", "pip", "install", "--quiet", "--requirement", str(_HERE / "requirements.txt"))
    (venv / "installed").touch()


def _install_node(installed: Installed) -> None:
    folder = installed.node_packages
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_HERE / "package.json", folder)
    _run(*_NPM, "--prefix", str(folder))
    (folder / "installed").touch()


def _unpack_redis(installed: Installed) -> None:
    folder = installed.redis
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run("apt-get", "download", *_DEBIAN_PACKAGES, cwd=folder)
    except subprocess.SubprocessError:  # the lists of a fresh image are empty
        _run("apt-get", "update", cwd=folder)
        _run("apt-get", "download", *_DEBIAN_PACKAGES, cwd=folder)
    for package in folder.glob("*.deb"):
        _run("dpkg", "-x", package.name, ".", cwd=folder)
        package.unlink()


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=_STEP_MAX_S
    )


if __name__ == "__main__":
    main()
