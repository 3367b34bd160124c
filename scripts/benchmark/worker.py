"""One framework in a process of its own: it computes when it is asked, and sleeps otherwise.

Requests and answers are JSON lines on standard input and output. Only the standard library is imported
here, so that any interpreter that has the framework can run it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """What is timed."""

    run: Callable[[], Any]


def serve(prepare: dict[str, Callable[..., Job]], ask: dict[str, Callable[..., Any]]) -> None:
    """Answers until standard input ends.

    prepare: builds the job of a kind; it is run once, and what compiles compiles.
    time: runs a job for about `seconds`, at least `calls` times after one that does not count.
    ask: whatever else there is to know.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    jobs: dict[str, Job] = {}

    def answer(request: dict[str, Any]) -> Any:
        verb, options = request.pop("verb"), request.pop("options", {})
        if verb == "prepare":
            job = prepare[request["kind"]](**options)
            job.run()
            jobs[request["job"]] = job
            return None
        if verb == "forget":
            return jobs.clear()
        if verb == "time":
            return _time(jobs[request["job"]], request["seconds"], request["calls"])
        return ask[verb](**options)

    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line))}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers, flush=True)


def _time(job: Job, seconds: float, calls: int) -> dict[str, Any]:
    """Seconds of each call, and the CPU seconds that this process took meanwhile, uncounted call included."""
    cpu = time.process_time()
    job.run()
    times: list[float] = []
    while len(times) < calls or (sum(times) < seconds and len(times) < 500):
        start = time.perf_counter()
        job.run()
        times.append(time.perf_counter() - start)
    return {"times": times, "cpu": time.process_time() - cpu}
