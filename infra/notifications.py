"""Who is told of what: automations that call the blocks an operator named `scarp`.

A block holds an address and its secrets, encrypted, in the Prefect server; it is made in Prefect's
UI or by `prefect block create`. Every one named `scarp` that can notify (Slack, Teams, e-mail, a
custom webhook …), and the plain `webhook`, is told of each of `NEWS`.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from infra.blocks import Email
from infra.programs import last_line

PUBLISHED = "scarp.inventory.created"
FAILED = "scarp.response.failed"
NO_IMAGERY, OVERDUE = "scarp.imagery.missing", "scarp.imagery.overdue"
UNMANNED = "scarp.pool.unmanned"
LOOKED, LOOK_FAILED = "scarp.watch.looked", "scarp.watch.failed"

BLOCK = "scarp"
SILENT = timedelta(minutes=45)

_EVENT = "{{ event.resource['scarp.event_id'] }}"
_REASON = "{{ event.payload.reason }}"


@dataclass(frozen=True)
class News:
    """Something people want to be told: the events that say so, and the words, as templates.

    With `missing`, it is news that none of the events came within the time after one of `after`.
    """

    name: str
    events: frozenset[str]
    subject: str
    body: str
    missing: timedelta | None = None
    after: frozenset[str] = frozenset()


NEWS = (
    News(
        "an inventory was published",
        frozenset({PUBLISHED}),
        f"Landslides of {_EVENT} are mapped",
        f"Version {{{{ event.payload.version }}}} of the inventory of {_EVENT} is stored.",
    ),
    News(
        "a response was given up",
        frozenset({FAILED}),
        f"The response to {_EVENT} failed",
        f"{_REASON}. It is not tried again before `scarp runs replay {_EVENT}`.",
    ),
    News(
        "there is no clear imagery",
        frozenset({NO_IMAGERY}),
        f"No clear imagery of {_EVENT}",
        f"{_REASON}.",
    ),
    News(
        "imagery is overdue",
        frozenset({OVERDUE}),
        f"Too little of {_EVENT} was seen in time",
        f"{_REASON}.",
    ),
    News(
        "a pool has no worker",
        frozenset({UNMANNED}),
        "Runs wait for a worker",
        f"{_REASON}.",
    ),
    News(
        "a watcher is silent",
        frozenset({LOOKED}),
        "A feed is not being watched",
        f"No look at {{{{ event.resource.id }}}} succeeded for {SILENT.seconds // 60} minutes; "
        "see the runs of `watch` in Prefect's UI.",
        missing=SILENT,
        after=frozenset({LOOKED, LOOK_FAILED}),
    ),
)


def apply(client: SyncPrefectClient) -> list[BlockDocument]:
    """Have every block named `scarp` told of all news; without one, nobody is told anything.

    Returns:
        The blocks.
    """
    Email.register_type_and_schema()
    told = [one for one in client.read_block_documents(limit=200) if _can_be_told(one)]
    for news in NEWS:
        name = f"tell: {news.name}"
        stored = client.read_automations_by_name(name)
        if not told:
            for one in stored:
                client.delete_automation(one.id)
            continue
        wanted = AutomationCore(
            name=name, trigger=_trigger(news), actions=[_action(block, news) for block in told]
        )
        if stored:
            client.update_automation(stored[0].id, wanted)
        else:
            client.create_automation(wanted)
    return told


def try_out(document: BlockDocument) -> None:
    """Send a word through a block.

    Raises:
        Exception: whatever the block raises where the word does not get through.
    """
    subject, body = "Scarp can reach you", "This is how news of responses will arrive."
    block: Any = Block.load_from_ref(document.id)
    if "notify" in block.get_block_capabilities():
        with block.raise_on_failure():
            block.notify(body, subject)
    else:
        words = {"news": "test", "event_id": "", "subject": subject, "body": body}
        asyncio.run(block.call(json.dumps(words))).raise_for_status()


def why(error: Exception) -> str:
    """What a block says of a word that did not get through; Apprise says it in a log alone."""
    logged = last_line(getattr(error, "log", ""))
    said = str(error) or re.sub(r"^\[[A-Z]+\]: ", "", logged)
    return f"{type(error).__name__}: {said}".removesuffix(": ")


def _can_be_told(document: BlockDocument) -> bool:
    schema, kind = document.block_schema, document.block_type
    notifies = schema is not None and "notify" in schema.capabilities
    webhook = kind is not None and kind.slug == "webhook"
    return document.name == BLOCK and (notifies or webhook)


def _trigger(news: News) -> EventTrigger:
    proactive = news.missing is not None
    return EventTrigger(
        expect=set(news.events),
        after=set(news.after),
        match=ResourceSpecification({"prefect.resource.id": "scarp.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive if proactive else Posture.Reactive,
        threshold=1,
        within=news.missing or timedelta(),
    )


def _action(block: BlockDocument, news: News) -> SendNotification | CallWebhook:
    if block.block_type is not None and block.block_type.slug == "webhook":
        words = {
            "news": json.dumps(news.name),
            "event_id": "{{ event.resource['scarp.event_id'] | default('') | tojson }}",
            "subject": _quoted(news.subject),
            "body": _quoted(news.body),
        }
        payload = ", ".join(f'"{name}": {value}' for name, value in words.items())
        return CallWebhook(block_document_id=block.id, payload=f"{{{payload}}}")
    return SendNotification(block_document_id=block.id, subject=news.subject, body=news.body)


def _quoted(template: str) -> str:
    """A template whose result is a JSON string, whatever is filled in."""
    return f"{{% filter tojson %}}{template}{{% endfilter %}}"
