"""What may be installed: dependencies pinned by hash, from one registry, under a known licence.

Reads `uv.lock` and what is installed; asks nobody. `make check` runs it. With a folder of
advisories in the OSV format, one JSON file each, as https://osv.dev gives them out, it also refuses
versions that are known to be unsafe:

    python scripts/audit_dependencies.py --advisories FOLDER
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
REGISTRY = "https://pypi.org/simple"
HASH = re.compile(r"sha256:[0-9a-f]{64}")
# A licence is fine if one of these stands in what the package says of itself. None of them asks
# anything of who only runs or ships the package beside their own code.
LICENCES = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|MPL|Mozilla|PSF|Python Software Foundation|PostgreSQL|Unlicense|"
    r"CC0|LGPL|GNU Lesser|Zlib|HPND|The Unlicense)\b",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(r"\b(AGPL|Affero|SSPL|BUSL|Business Source|Commons Clause)\b", re.IGNORECASE)


def packages(lock: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the lock file lists, but for this project itself."""
    return [p for p in lock["package"] if "editable" not in p["source"]]


def unpinned(lock: Mapping[str, Any]) -> Iterator[str]:
    """What is not from the registry, or has a file without a hash."""
    for package in packages(lock):
        name = f"{package['name']} {package.get('version', '')}"
        if package["source"] != {"registry": REGISTRY}:
            yield f"{name}: comes from {package['source']}, not from {REGISTRY}."
            continue
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        if not files:
            yield f"{name}: has no file."
        for file in files:
            if not HASH.fullmatch(file.get("hash", "")):
                yield f"{name}: {file['url'].rsplit('/', 1)[1]} has no SHA-256."


def licence_of(name: str) -> str | None:
    """What an installed package says of its licence; None where it is not installed here."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    told = [(about.get_all(field) or [""])[0][:200] for field in ("License-Expression", "License")]
    told += [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    return " ".join(filter(None, told)).strip()


def unlicensed(names: Sequence[str]) -> Iterator[str]:
    """What is installed under a licence that nobody has agreed to."""
    for name in names:
        told = licence_of(name)
        if told is None:
            continue  # for another system or version of Python
        if FORBIDDEN.search(told) or not LICENCES.search(told):
            yield f"{name}: its licence is {told or 'not said'!r}."


def unsafe(lock: Mapping[str, Any], advisories: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Locked versions that an advisory is about."""
    for package in packages(lock):
        for advisory in advisories:
            if advisory.get("withdrawn"):
                continue
            for affected in advisory.get("affected", ()):
                about = affected.get("package", {})
                if about.get("ecosystem") != "PyPI" or plain(about.get("name", "")) != plain(
                    package["name"]
                ):
                    continue
                if is_hit(package["version"], affected):
                    told = advisory.get("summary") or "see the advisory"
                    yield f"{package['name']} {package['version']}: {advisory['id']}, {told}."


def plain(name: str) -> str:
    """A name as the registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_hit(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether a version is among those affected: named, or in a range."""
    if version in affected.get("versions", ()):
        return True
    ours = Version(version)
    for span in affected.get("ranges", ()):
        if span.get("type") != "ECOSYSTEM":
            continue
        inside = False
        for event in span.get("events", ()):
            (kind, at), *_ = event.items()
            try:
                reached = at == "0" or ours >= Version(at)
            except InvalidVersion:
                continue
            if kind == "introduced" and reached:
                inside = True
            elif (kind == "fixed" and reached) or (kind == "last_affected" and ours > Version(at)):
                inside = False
        if inside:
            return True
    return False


def findings(lock: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Everything that is wrong."""
    files = [] if folder is None else sorted(folder.glob("*.json"))
    advisories = [json.loads(path.read_bytes()) for path in files]
    return [
        *unpinned(lock),
        *unlicensed([package["name"] for package in packages(lock)]),
        *unsafe(lock, advisories),
    ]


def main() -> int:
    """Say what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--advisories", type=Path, help="a folder of OSV files")
    folder: Path | None = parser.parse_args().advisories
    if folder is not None and not folder.is_dir():
        print(f"{folder} is no folder.", file=sys.stderr)
        return 2
    found = findings(tomllib.loads((ROOT / "uv.lock").read_text()), folder)
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
