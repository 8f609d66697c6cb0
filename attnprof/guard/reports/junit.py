"""JUnit XML, which CI systems show as tests: a case for each contract."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from attnprof.guard.check import Check
from attnprof.guard.reports.common import headline
from attnprof.guard.reports.text import render as render_text
from attnprof.guard.results import Result

_UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


def render(check: Check) -> str:
    """One suite; what is broken is a failure, what could not be checked an error."""
    failed = [result for result in check.results if _is_failure(result, check)]
    wrong = [result for result in check.results if result.status in ("misconfigured", "failed")]
    counts = {
        "name": "attnprof guard",
        "tests": str(len(check.results)),
        "failures": str(len(failed)),
        "errors": str(len(wrong)),
        "time": f"{check.seconds:.3f}",
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", counts)
    for result in check.results:
        names = {"classname": result.file, "name": result.name, "file": result.file}
        case = ET.SubElement(suite, "testcase", names | {"line": str(result.line), "time": "0"})
        if result in failed:
            says = "; ".join(headline(breach) for breach in result.breaches)
            failure = ET.SubElement(case, "failure", {"message": _clean(says or result.notes[0])})
            failure.text = _clean(render_text(Check((result,))))
        elif result in wrong:
            ET.SubElement(case, "error", {"message": _clean(result.problem)})
        if result.notes:
            ET.SubElement(case, "system-out").text = _clean("\n".join(result.notes))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _is_failure(result: Result, check: Check) -> bool:
    return result.status == "broken" or (result.status == "undecided" and check.is_strict)


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("�", text)
