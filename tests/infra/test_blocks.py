"""E-mail through a true SMTP server on loopback."""

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult

from infra.ports import free_port


class Inbox(Message):
    def __init__(self):
        super().__init__()
        self.letters = []
        self.logins = []

    def let_in(self, server, session, envelope, mechanism, login):
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=True)

    def handle_message(self, message):
        self.letters.append(message)


@pytest.fixture
def inbox():
    port = free_port()
    inbox = Inbox()
    told = {"authenticator": inbox.let_in, "auth_require_tls": False}
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **told)
    controller.start()
    yield inbox, port
    controller.stop()


def test_a_letter_that_cannot_be_sent_says_why():
    from infra.blocks import Email
    from infra.notifications import why

    mail = Email(host="127.0.0.1", port=9, sender="a@example.org", recipients=["no address"])
    with mail.raise_on_failure(), pytest.raises(Exception) as refused:
        mail.notify("Version 1 is stored.")
    assert why(refused.value) == "NotificationError: There are no Email recipients to notify"


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_no_letter_goes_in_the_open_that_is_to_be_secured(inbox, security):
    from prefect.blocks.abstract import NotificationError

    from infra.blocks import Email

    letters, port = inbox
    mail = Email(
        host="127.0.0.1",
        port=port,
        security=security,
        username="ann",
        password="secret",
        sender="scarp@example.org",
        recipients=["ann@example.org"],
    )
    with mail.raise_on_failure(), pytest.raises(NotificationError):
        mail.notify("Version 1 is stored.")
    assert letters.letters == letters.logins == []


def test_a_letter_reaches_everyone_it_is_for(inbox):
    from infra.blocks import Email

    letters, port = inbox
    Email(
        host="127.0.0.1",
        port=port,
        security="none",
        username="ann@example.org",
        password="p@ss/w:rd",
        sender="scarp@example.org",
        recipients=["ann@example.org", "bo@example.org"],
    ).notify("Version 1 is stored.", "Landslides of storm are mapped")
    assert {letter["X-RcptTo"] for letter in letters.letters} == {
        "ann@example.org",
        "bo@example.org",
    }
    assert set(letters.logins) == {("ann@example.org", "p@ss/w:rd")}
    letter = letters.letters[0]
    assert "scarp@example.org" in letter["From"]
    assert letter["Subject"] == "Landslides of storm are mapped"
    assert "Version 1 is stored." in letter.as_string()
