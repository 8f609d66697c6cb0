"""Estimates of one's own modules in the process of the tests, which has imported torch already.

That the answers are the same in processes of their own is tested in `test_apart` and
`test_cli_faults`.
"""

from __future__ import annotations

from functools import partial

import attnprof

estimate = partial(attnprof.estimate, no_isolation=True)
