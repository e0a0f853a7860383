"""Whether what is installed here has known vulnerabilities, asked of OSV by pip-audit.

Exit code 1 if one is known. Where nobody answers, a line says that it was skipped and the exit code is 0: lint needs no
network. pip-audit's own exit code does not tell the two apart, so the service is asked once by itself first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SERVICE = "https://api.osv.dev/v1/query"
PATIENCE = 5.0  # seconds for one answer
LONGEST = 300.0  # seconds for all of them
LEFT_OUT = {"bract", "pip"}  # the project itself, in no index; and what came with Python, and only installs the others


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--service", default=SERVICE, help=f"where OSV answers (default: {SERVICE})")
    parser.add_argument("--path", help="a folder of packages in place of this environment's")
    options = parser.parse_args()
    pins = list(installed(options.path))
    if not answers(options.service):
        return skipped(options.service)
    with tempfile.TemporaryDirectory() as folder:
        listed, result = Path(folder) / "pins.txt", Path(folder) / "result.json"
        listed.write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        try:
            said = audit(options.service, listed, result)
        except subprocess.TimeoutExpired:
            return skipped(options.service)
        if result.exists():
            return report(json.loads(result.read_text(encoding="utf-8")))
    if not answers(options.service):  # it went away meanwhile
        return skipped(options.service)
    print(f"vulnerabilities: pip-audit failed:\n{said}", file=sys.stderr)
    return 1


def installed(path: str | None) -> Iterator[str]:
    """A pin for each package; of torch 2.13.0+cpu that of 2.13.0, as OSV knows no local builds."""
    found = {
        package.name.lower(): package.version.partition("+")[0]
        for package in (distributions(path=[path]) if path else distributions())
    }
    return (f"{name}=={version}" for name, version in sorted(found.items()) if name not in LEFT_OUT)


def answers(service: str) -> bool:
    """Whether the service answers a question as OSV does."""
    question = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "26.0"}).encode()
    request = urllib.request.Request(service, question)  # noqa: S310 - http or https, from here
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:  # noqa: S310
            return isinstance(json.load(reply), dict)
    except (OSError, HTTPException, ValueError):
        return False


def audit(service: str, listed: Path, result: Path) -> str:
    """Let pip-audit write what it finds; what it said. No file if it could not ask for all."""
    words = ["--requirement", str(listed), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    words += ["--vulnerability-service", "osv", "--osv-url", service, "--timeout", f"{PATIENCE:.0f}"]
    words += ["--format", "json", "--output", str(result)]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, timeout=LONGEST, check=False
    )
    return "\n".join(done.stderr.splitlines()[-5:])


def report(result: Mapping[str, Any]) -> int:
    """A line for each vulnerability, with the releases that mend it; the exit code."""
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in result["dependencies"]
        for fault in package.get("vulns", [])
    ]
    for line in found:
        print(f"vulnerabilities: {line}", file=sys.stderr)
    if not found:
        print(f"vulnerabilities: none known in {len(result['dependencies'])} packages")
    return bool(found)


def skipped(service: str) -> int:
    """Say so; the exit code."""
    print(f"vulnerabilities: skipped, {service} does not answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
