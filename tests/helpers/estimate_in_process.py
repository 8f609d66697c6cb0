"""Estimates of custom kernels in the process of the tests, which has imported torch already.

That the results are the same in worker processes is tested in `test_proxy` and `test_cli_faults`.
"""

from __future__ import annotations

from functools import partial

import attnprof

estimate = partial(attnprof.estimate, no_isolation=True)
