"""Access: tokens of the console, and an audit of what was changed through it."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "token",
        _text("name", "Whose token it is; reviews carry this name."),
        _text("digest", "SHA-256 of the token."),
        _text("role", "viewer reads; reviewer reviews as well; operator does everything."),
        _time("created_at", "When it was made.", now=True),
        _time("expires_at", "From when it is void."),
        _time("revoked_at", "When it was taken back.", nullable=True),
        sa.PrimaryKeyConstraint("name", name="token_pkey"),
        sa.UniqueConstraint("digest", name="token_digest_key"),
        sa.CheckConstraint("role IN ('viewer', 'reviewer', 'operator')", name="token_role_check"),
        schema="scarp",
        comment="Who may use the console. The tokens themselves are kept nowhere.",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), comment="Identity."),
        _time("at", "When it was asked for.", now=True),
        _text("who", "Name of the token."),
        _text("role", "Role of the token."),
        _text("address", "Where the request came from."),
        _text("action", "What was asked for."),
        _text("subject", "The event or name it was about."),
        _text("detail", "What was said with it; may be empty."),
        _text(
            "outcome",
            "begun, then done or refused; begun for good where the console was killed.",
        ),
        _text("reason", "Why it was refused.", server_default=""),
        sa.PrimaryKeyConstraint("id", name="audit_pkey"),
        sa.CheckConstraint("outcome IN ('begun', 'done', 'refused')", name="audit_outcome_check"),
        schema="scarp",
        comment="Every change that was asked for through the console.",
    )
    op.create_index("audit_subject_idx", "audit", ["subject"], schema="scarp")


def downgrade() -> None:
    """Undo; every token is void."""
    op.drop_table("audit", schema="scarp")
    op.drop_table("token", schema="scarp")


def _text(name: str, comment: str, server_default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=server_default, comment=comment)


def _time(
    name: str, comment: str, *, nullable: bool = False, now: bool = False
) -> sa.Column[datetime]:
    default = sa.func.now() if now else None
    kind = sa.DateTime(timezone=True)
    return sa.Column(name, kind, nullable=nullable, server_default=default, comment=comment)
