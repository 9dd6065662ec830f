"""The report as the local page serves it: only its own scripts run, and edits are saved here."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from utils.report.page import PAGE, SCRIPTS

OWN_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
SAVES_TO = '<meta name="edits-address" content="../edits">'  # read by exports.js


def served_report(path: Path) -> str:
    """Return a report whose *Save edits* sends them to the server."""
    text = path.read_text(encoding="utf-8")
    return OWN_POLICY.sub(SAVES_TO, text, count=1)


@cache
def report_policy() -> str:
    """Return the Content-Security-Policy of a report: no script but those of this version."""
    scripts = " ".join(_digest(PAGE / f"{name}.js") for name in SCRIPTS)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _digest(path: Path) -> str:
    """Return the digest of an inline script as browsers compute it."""
    whole = hashlib.sha256(f"\n{path.read_text(encoding='utf-8')}".encode()).digest()
    return f"'sha256-{base64.b64encode(whole).decode('ascii')}'"
