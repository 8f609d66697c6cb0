"""JUnit XML, which CI systems show as test results: one test case per contract."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from attnprof.guard.check import Check
from attnprof.guard.reports.common import headline
from attnprof.guard.reports.text import render as render_text
from attnprof.guard.results import Result

_UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow."""


def render(check: Check) -> str:
    """One suite; a broken contract is a failure, one that could not be checked an error."""
    failures = [result for result in check.results if _is_failure(result, check)]
    errors = [result for result in check.results if result.status in ("misconfigured", "failed")]
    counts = {
        "name": "attnprof guard",
        "tests": str(len(check.results)),
        "failures": str(len(failures)),
        "errors": str(len(errors)),
        "time": f"{check.seconds:.3f}",
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", counts)
    for result in check.results:
        attributes = {"classname": result.file, "name": result.name, "file": result.file}
        attributes |= {"line": str(result.line), "time": "0"}
        case = ET.SubElement(suite, "testcase", attributes)
        if result in failures:
            message = "; ".join(map(headline, result.breaches)) or result.notes[0]
            failure = ET.SubElement(case, "failure", {"message": _clean(message)})
            failure.text = _clean(render_text(Check((result,))))
        elif result in errors:
            ET.SubElement(case, "error", {"message": _clean(result.problem)})
        if result.notes:
            ET.SubElement(case, "system-out").text = _clean("\n".join(result.notes))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _is_failure(result: Result, check: Check) -> bool:
    return result.status == "broken" or (result.status == "undecided" and check.is_strict)


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("�", text)
