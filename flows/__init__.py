"""When things happen: Prefect flows over the plain functions in `tasks`."""

import os

import models  # noqa: F401  # before anything loads OpenMP
from infra.settings import Settings

# Prefect reads these when it is first imported. Nothing is reported to anyone. Without a server of
# its own to talk to, a command runs on an ephemeral one that keeps its state in SCARP_HOME and its
# log lines to itself: the command's own sentence says what went wrong.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
if "PREFECT_API_URL" not in os.environ:
    os.environ.setdefault("PREFECT_HOME", str(Settings().home / "prefect"))
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
# Where the system does not tell its physical cores, scikit-learn's joblib prints a traceback.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(os.cpu_count() or 1))
