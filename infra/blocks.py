"""What Prefect's own blocks lack: e-mail through any server, by Apprise."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlencode

from prefect.blocks.notifications import AbstractAppriseNotificationBlock
from pydantic import Field, SecretStr


class Email(AbstractAppriseNotificationBlock):
    """Sends notifications as e-mail through an SMTP server."""

    _block_type_name = "Scarp E-mail"
    _block_type_slug = "scarp-email"

    host: str = Field(description="SMTP server.", examples=["smtp.example.org"])
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="How the connection is secured."
    )
    username: str = Field("", description="Empty where the server asks for none.")
    password: SecretStr = Field(SecretStr(""), description="Kept encrypted in the Prefect server.")
    sender: str = Field(description="Address it comes from.")
    recipients: list[str] = Field(min_length=1, description="Addresses it goes to.")

    def block_initialization(self) -> None:
        """Make ready to send."""
        secure = self.security != "none"
        query = {"from": self.sender, "to": ",".join(self.recipients), "smtp": self.host}
        if secure:
            query["mode"] = self.security
        login = ""
        if self.username:
            secret = quote(self.password.get_secret_value(), safe="")
            login = f"{quote(self.username, safe='')}:{secret}@"
        scheme = "mailtos" if secure else "mailto"
        url = f"{scheme}://{login}{self.host}:{self.port}/?{urlencode(query)}"
        self._start_apprise_client(SecretStr(url))
