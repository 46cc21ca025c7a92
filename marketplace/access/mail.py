"""Notices by mail, where a lab has a mail server; without one they stand on the page only.

A mail says that something waits and where to look, as the notice does; it holds nothing that the
page would not show. A server that is away, or whose certificate nobody vouches for, is tried again
at the next turn; a mail that it refuses is not.
"""

import logging
import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage

from marketplace.access import store
from marketplace.access.store import Notice
from marketplace.db import Database
from marketplace.settings import MailSettings

log = logging.getLogger(__name__)

BATCH = 100
REFUSED = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPNotSupportedError)
"""One mail that is not taken: it would not be the next time, and others wait behind it."""
TIMEOUT_SECONDS = 10


class Mailer:
    """Sends notices that were not sent yet."""

    def __init__(
        self,
        database: Database,
        settings: MailSettings,
        address: Callable[[str], str],
        clock: Callable[[], datetime],
    ) -> None:
        """`address` returns a user's mail address, or an empty text."""
        self._database, self._settings = database, settings
        self._address, self._clock = address, clock

    def deliver(self) -> int:
        """Send what is due; return how many mails left."""
        with self._database.reading() as connection:
            due = store.unmailed(connection, BATCH)
        if not due:
            return 0
        mails = [(n, self._address(n.user)) for n in due]
        done = [n.id for n, to in mails if not to]
        sent = 0
        try:
            sent = self._send([(n, to) for n, to in mails if to], done)
        except (smtplib.SMTPException, OSError) as error:
            log.warning("mail.postponed", extra={"kind": type(error).__name__})
        if done:
            with self._database.writing() as connection:
                time = self._clock().isoformat(timespec="milliseconds")
                store.mark_mailed(connection, done, time)
        return sent

    def _send(self, mails: list[tuple[Notice, str]], done: list[str]) -> int:
        if not mails:
            return 0
        s, sent = self._settings, 0
        with smtplib.SMTP(s.host, s.port, timeout=TIMEOUT_SECONDS) as server:
            if s.starttls:
                server.starttls(context=ssl.create_default_context())
            if s.user:
                server.login(s.user, s.password)
            for notice, to in mails:
                try:
                    server.send_message(_mail(s.sender, to, notice))
                    sent += 1
                except (*REFUSED, ValueError) as error:
                    log.warning("mail.refused", extra={"kind": type(error).__name__})
                done.append(notice.id)
        return sent


def _mail(sender: str, to: str, notice: Notice) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = f"Digital Lab: {notice.event}"
    mail.set_content(f"{notice.zh}\n{notice.en}\n")
    return mail
