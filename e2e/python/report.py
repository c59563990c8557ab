"""One JSON line per check on stdout, so that the test that started the script can say which failed."""

import json
import sys
import time
import traceback

DEADLINE = 20.0


class Report:
    """Runs checks one after another; one that fails does not stop the next."""

    def __init__(self, where):
        self.where = where
        self.failed = 0

    def check(self, name, run, *arguments):
        """Calls `run`; an exception is a failure and its text the detail."""
        try:
            run(*arguments)
            line = {"check": f"{name} ({self.where})", "ok": True, "detail": ""}
        except Exception:  # noqa: BLE001 - whatever went wrong is what we report
            self.failed += 1
            detail = traceback.format_exc(limit=-3)
            line = {"check": f"{name} ({self.where})", "ok": False, "detail": detail}
        print(json.dumps(line), flush=True)


def equal(seen, wanted):
    """Fails with both values, cut to a readable length."""
    if seen != wanted:
        raise AssertionError(f"seen {short(seen)}, wanted {short(wanted)}")


def short(value):
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)} characters)"


def until(what, probe):
    """Asks again until `probe` gives something true, with a deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {DEADLINE} s")
        time.sleep(0.02)


def finish(*reports):
    """Ends the program: 1 if any check failed."""
    sys.exit(1 if any(report.failed for report in reports) else 0)
