"""The tables of who may do what in the console, and of what they did."""

from typing import Literal

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Table, Text

from tasks.inventory.tables import metadata, now, one_of

Role = Literal["viewer", "reviewer", "operator"]
Outcome = Literal["begun", "done", "refused"]

token = Table(
    "token",
    metadata,
    Column("name", Text, primary_key=True, comment="Whose token it is; reviews carry this name."),
    Column("digest", Text, nullable=False, unique=True, comment="SHA-256 of the token."),
    Column(
        "role",
        Text,
        nullable=False,
        comment="viewer reads; reviewer reviews as well; operator does everything.",
    ),
    now("created_at", "When it was made."),
    Column("expires_at", DateTime(timezone=True), nullable=False, comment="From when it is void."),
    Column("revoked_at", DateTime(timezone=True), comment="When it was taken back."),
    one_of("role", Role),
    comment="Who may use the console. The tokens themselves are kept nowhere.",
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Identity."),
    now("at", "When it was asked for."),
    Column("who", Text, nullable=False, comment="Name of the token."),
    Column("role", Text, nullable=False, comment="Role of the token."),
    Column("address", Text, nullable=False, comment="Where the request came from."),
    Column("action", Text, nullable=False, comment="What was asked for."),
    Column("subject", Text, nullable=False, comment="The event or name it was about."),
    Column("detail", Text, nullable=False, comment="What was said with it; may be empty."),
    Column(
        "outcome",
        Text,
        nullable=False,
        comment="begun, then done or refused; begun for good where the console was killed.",
    ),
    Column("reason", Text, nullable=False, server_default="", comment="Why it was refused."),
    one_of("outcome", Outcome),
    Index("audit_subject_idx", "subject"),
    comment="Every change that was asked for through the console.",
)
