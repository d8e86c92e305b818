"""A mail to the merchant's own people, by the SMTP server of an Airflow connection."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from comptoir.errors import AuthError, ConfigError, TransientError
from comptoir.sdk.protocols import Credentials

__all__ = ["Mail", "send_mail"]

_TIMEOUT = 30.0
_SMTPS = 465


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail in plain text."""

    to: Sequence[str]
    sender: str | None
    subject: str
    text: str


def send_mail(mail: Mail, credentials: Credentials | None, connection: str) -> None:
    """Hands a mail to the server: TLS from the first byte on port 465, STARTTLS elsewhere.

    A server without TLS is used only when the connection's extra says `"tls": false`. ConfigError when the connection
    is missing or the server has no TLS, AuthError when it refuses the login, TransientError for everything that may
    pass.
    """
    if credentials is None or not credentials.host:
        raise ConfigError(
            f"there is no mail server: the connection {connection!r} is missing",
            hint=f'Set AIRFLOW_CONN_{connection.upper()} to {{"conn_type": "smtp", "host": ..., "port": 587, '
            '"login": ..., "password": ...}',
            connection=connection,
        )
    message = EmailMessage()
    message["To"] = ", ".join(mail.to)
    message["From"] = mail.sender or credentials.login or mail.to[0]
    message["Subject"] = mail.subject
    message.set_content(mail.text)
    port, plain = credentials.port or 587, credentials.extra.get("tls") is False
    try:
        with _server(credentials.host, port) as server:
            if port != _SMTPS and not plain:
                server.starttls(context=ssl.create_default_context())
            if credentials.login:
                server.login(credentials.login, credentials.password)
            server.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise AuthError(f"{connection}: the mail server refused the login", connection=connection) from None
    except smtplib.SMTPNotSupportedError:
        raise ConfigError(
            f"{connection}: the mail server has no TLS",
            hint='Use another one; on this machine or network alone: "tls": false in the extra of the connection.',
            connection=connection,
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise TransientError(
            f"{connection}: the mail was not taken: {type(error).__name__}", connection=connection, code="mail"
        ) from None


def _server(host: str, port: int) -> smtplib.SMTP:
    if port == _SMTPS:
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=_TIMEOUT)
