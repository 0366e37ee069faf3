"""Install Tradewind into its own folder: uv into .tools, everything else into .venv.

Needs a Python (3.11 or newer) and a package index, nothing more: neither pip nor venv nor rights
beyond this folder. Package indexes, proxies and certificates are those that pip or uv are set up
with. Safe to repeat, to interrupt and to run twice at once.
"""

import configparser
import fcntl
import hashlib
import html.parser
import os
import platform
import shutil
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
UV_MIN = (0, 9)
DOWNLOAD_TIMEOUT_S = 60


class InstallError(Exception):
    """The installation cannot go on; the text says why and what to do."""


def main() -> None:
    """Install what is missing."""
    os.chdir(ROOT)
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        uv = find_uv() or install_uv()
        if STAMP.exists() and STAMP.read_text() != str(ROOT):
            say("removing .venv, which was made for another folder")
            shutil.rmtree(VENV)
        sync(uv)
        STAMP.write_text(str(ROOT))


# -- uv


def find_uv() -> Path | None:
    """The uv of this project, if it is there and works."""
    for place in (TOOLS / "uv" / "bin" / "uv", TOOLS / "bin" / "uv"):
        if works(place):
            return place
    return None


def works(uv: Path) -> bool:
    """Whether this is a uv that is new enough and runs on this machine."""
    try:
        told = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout
        version = told.split()[1].split(".")
        return (int(version[0]), int(version[1])) >= UV_MIN
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return False


def install_uv() -> Path:
    """Get uv by whatever this Python can do: venv and pip, pip alone, or neither."""
    say("installing uv into .tools")
    for way in (by_venv, by_pip, by_hand):
        try:
            way()
        except (OSError, subprocess.CalledProcessError, InstallError) as error:
            complaint = getattr(error, "stderr", None) or error
            failure = f"{way.__name__.replace('_', ' ')}: {str(complaint).strip()[-500:]}"
            print(f"  not {failure.splitlines()[0]}", file=sys.stderr)
            continue
        uv = find_uv()
        if uv is not None:
            return uv
        failure = f"{way.__name__}: it does not run here"
    raise InstallError(
        f"uv could not be installed; the last try said: {failure}\n"
        "Check that the package index can be reached (PIP_INDEX_URL, HTTPS_PROXY), or put a uv "
        "into .tools/bin/uv yourself."
    )


def requirement() -> str:
    """What to ask an index for."""
    return f"uv>={UV_MIN[0]}.{UV_MIN[1]},<1"


def by_venv() -> None:
    """A virtual environment of its own, with pip in it."""
    folder = TOOLS / "uv"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        quietly([sys.executable, "-m", "venv", str(folder)])
        quietly([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", requirement()])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def by_pip() -> None:
    """The pip of this Python, where venv is missing."""
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
        quietly([*pip, requirement()])
        put_in_place(Path(folder, "bin", "uv").read_bytes())


def by_hand() -> None:
    """The wheel from the index, where pip is missing too."""
    name, url, digest = newest_wheel()
    say(f"fetching {name}")
    content = fetch(url)
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise InstallError(f"{url} does not have the checksum that the index gives")
    with tempfile.TemporaryFile(dir=TOOLS) as file:
        file.write(content)
        with zipfile.ZipFile(file) as wheel:
            inside = [n for n in wheel.namelist() if n.endswith(".data/scripts/uv")]
            put_in_place(wheel.read(inside[0]))


def put_in_place(program: bytes) -> None:
    """Make .tools/bin/uv this program."""
    place = TOOLS / "bin" / "uv"
    place.parent.mkdir(exist_ok=True)
    draft = place.with_name("uv.new")
    draft.write_bytes(program)
    draft.chmod(0o755)
    draft.replace(place)


def quietly(command: list[str]) -> None:
    """Run a command; what it says is kept for the error."""
    subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)


# -- the package index, without pip


class Links(html.parser.HTMLParser):
    """The addresses on a page of the simple index."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link that may be used."""
        given = dict(attrs)
        if tag == "a" and given.get("href") and "data-yanked" not in given:
            self.found.append(str(given["href"]))


def newest_wheel() -> tuple[str, str, str]:
    """Name, address and SHA-256 of the newest uv for this machine."""
    page = index_url().rstrip("/") + "/uv/"
    links = Links()
    links.feed(fetch(page).decode(errors="replace"))
    candidates = []
    for link in links.found:
        url, _, fragment = urllib.parse.urljoin(page, link).partition("#")
        name = urllib.parse.unquote(url.rpartition("/")[2])
        version = version_of(name)
        if version and UV_MIN <= version[:2] < (1, 0):
            digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
            candidates.append((version, name, url, digest))
    if not candidates:
        raise InstallError(f"{page} has no uv for {sysconfig.get_platform()}")
    return max(candidates)[1:]


def version_of(name: str) -> tuple[int, ...] | None:
    """The version in the name of a wheel that runs here; None for all others."""
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) != 5 or parts[0] != "uv":
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin":
        kind, machine = "macosx", machine.replace("aarch64", "arm64")
    else:
        kind = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    if not any(tag.startswith(kind) and tag.endswith(machine) for tag in parts[4].split(".")):
        return None
    numbers = parts[1].split(".")
    return tuple(map(int, numbers)) if all(n.isdigit() for n in numbers) else None


def fetch(url: str) -> bytes:
    """What is at an address. Proxies come from the environment."""
    context = ssl.create_default_context()
    certificates = configured("cert", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    if certificates and Path(certificates).is_file():
        context.load_verify_locations(certificates)
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*"})
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if parts.username:  # an index with a password in its address
        keys = urllib.request.HTTPPasswordMgrWithPriorAuth()
        bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        password = urllib.parse.unquote(parts.password or "")
        user = urllib.parse.unquote(parts.username)
        keys.add_password(None, bare, user, password, is_authenticated=True)
        handlers.append(urllib.request.HTTPBasicAuthHandler(keys))
        request = urllib.request.Request(bare, headers={"Accept": "text/html, */*"})
    with urllib.request.build_opener(*handlers).open(request, timeout=DOWNLOAD_TIMEOUT_S) as reply:
        return bytes(reply.read())


def index_url() -> str:
    """The package index: the one that uv or pip is told to use, else that of the lock file."""
    return configured_index() or locked_index()


def configured_index() -> str:
    """The index of this machine's configuration; empty when there is none of its own."""
    return configured("index-url", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


def locked_index() -> str:
    """The index that the lock file was made from."""
    for line in (ROOT / "uv.lock").read_text(encoding="utf-8").splitlines():
        _, mark, rest = line.partition('source = { registry = "')
        if mark:
            return rest.partition('"')[0]
    raise InstallError("uv.lock names no package index")


def configured(option: str, *variables: str) -> str:
    """A value from the environment, else from pip's configuration files."""
    for variable in variables:
        if os.environ.get(variable):
            return os.environ[variable]
    home = Path(os.path.expanduser("~"))
    files = [
        Path("/etc/pip.conf"),
        *(
            Path(p, "pip", "pip.conf")
            for p in os.environ.get("XDG_CONFIG_DIRS", "").split(":")
            if p
        ),
        Path("/etc/xdg/pip/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf"),
        Path(os.environ.get("PIP_CONFIG_FILE", os.devnull)),
    ]
    found = ""
    for file in files:  # later files win, as pip has it
        settings = configparser.RawConfigParser()
        try:
            settings.read(file, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            found = settings.get(section, option, fallback=found)
    return found.strip()


# -- everything else


def sync(uv: Path) -> None:
    """Make .venv what the lock file says, byte for byte."""
    say("installing what uv.lock lists into .venv")
    environment = surroundings()
    index = configured_index()
    if not index or same(index, locked_index()):
        run([uv, "sync", "--frozen", "--quiet", "--python", sys.executable], environment)
        return
    # A mirror: the lock file's addresses are elsewhere, its names, versions and hashes still hold.
    environment["UV_DEFAULT_INDEX"] = index
    python = VENV / "bin" / "python"
    if not python.exists():
        run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], environment)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        wanted = Path(folder, "requirements.txt")
        export: list[str | Path] = [
            uv,
            "export",
            "--frozen",
            "--quiet",
            "--no-emit-project",
            "--all-groups",
        ]
        run([*export, "--output-file", wanted], environment)
        pip = ["--quiet", "--python", str(python)]
        run([uv, "pip", "sync", *pip, "--require-hashes", str(wanted)], environment)
        run([uv, "pip", "install", *pip, "--no-deps", "--editable", "."], environment)


def surroundings() -> dict[str, str]:
    """The environment for uv: this folder's .venv, this Python, this machine's certificates."""
    environment = dict(os.environ)
    for name in ("UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_FROZEN", "UV_LOCKED", "UV_NO_DEV"):
        environment.pop(name, None)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    certificates = configured("cert", "PIP_CERT")
    if certificates and Path(certificates).is_file():
        environment.setdefault("SSL_CERT_FILE", certificates)
    if "UV_CACHE_DIR" not in environment and not cache_can_be_used():
        environment["UV_CACHE_DIR"] = str(TOOLS / "cache")
    return environment


def cache_can_be_used() -> bool:
    """Whether uv may keep its downloads in the home folder, as it does by default."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache"))
    try:
        (place / "uv").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place / "uv"):
            return True
    except OSError:
        return False


def same(one: str, other: str) -> bool:
    """Whether two addresses of an index mean the same one."""
    return one.rstrip("/") == other.rstrip("/")


def run(command: list[str | Path], environment: dict[str, str]) -> None:
    """Run uv, whose own messages are good."""
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise InstallError(
            f"uv {command[1]} failed; its lines above say why. If a package could not be fetched, "
            "check the network, the proxy or PIP_INDEX_URL, and run the command again."
        )


def say(text: str) -> None:
    """Tell what takes a moment."""
    print(f"  {text} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except InstallError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
