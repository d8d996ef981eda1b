"""`triage worker` that tells what it and its jobs are in truth, for tests: `python -m tests.line.watched_worker worker`.

Into the file that the variable `WATCHED` names, one JSON object a line.
"""

import json
import os
import sys
from typing import Any

WATCHED = "WATCHED"


def main() -> None:
    """The command line of `triage`, with this change."""
    from tests.line import watched_worker
    from triage import cli, worker

    made = worker.make_server

    def make_server(*given: Any) -> Any:
        server = made(*given)
        server.on(
            "worker_started",
            lambda: note(
                of="worker", devmode=server._devmode, models=server._inference_executor is not None, **telemetry()
            ),
        )
        return server

    worker.make_server = make_server
    worker.entry = watched_worker.entry
    cli.main()


async def entry(context: Any) -> None:
    """One job, in its process: told when it begins, and again when it is over."""
    from triage import worker

    note(of="job", recorded=context._telemetry_state is not None, **telemetry())
    await worker.entry(context)
    note(of="job", recorded=context._telemetry_state is not None, **telemetry())


def telemetry() -> dict[str, Any]:
    """What of the library could tell others about a call, in this process."""
    from livekit.agents.inference_runner import _InferenceRunner
    from opentelemetry import trace
    from opentelemetry._logs import _internal as logs
    from opentelemetry.metrics import _internal as metrics

    providers = {"spans": trace._TRACER_PROVIDER, "logs": logs._LOGGER_PROVIDER, "figures": metrics._METER_PROVIDER}
    return {
        "pid": os.getpid(),
        "providers": sorted(name for name, provider in providers.items() if provider is not None),
        "runners": sorted(_InferenceRunner.registered_runners),
        "plugins": sorted(name for name in sys.modules if name.startswith("livekit.plugins.")),
    }


def note(**facts: Any) -> None:
    """One line more."""
    with open(os.environ[WATCHED], "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
