"""What an event waits for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.imagery.waits import Wait


def scene_lines(wait: Wait) -> list[str]:
    """What the last look made of each scene, in a sentence."""
    return [f"{looked.scene_id}: {looked.reason}" for looked in wait.scenes]


def wait_lines(wait: Wait | None) -> list[str]:
    """Sentences about a wait, for people; none where there is none."""
    if wait is None:
        return []
    since = f"{wait.since:%Y-%m-%d %H:%M} UTC: {wait.reason}"
    if wait.next_look_at is None:
        ended = "enough was seen" if wait.outcome == "seen" else "the deadline passed"
        return [
            f"waited for clear imagery since {since}",
            f"over {wait.ended_at:%Y-%m-%d %H:%M} UTC: {ended}",
        ]
    return [
        f"waits for clear imagery since {since}",
        f"next look {wait.next_look_at:%Y-%m-%d %H:%M} UTC by `scarp up`, or now by the same "
        f"command; what is seen by {wait.deadline:%Y-%m-%d %H:%M} UTC must do",
    ]
