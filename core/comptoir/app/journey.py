"""The journey of one record, in sentences: what came from where, what was decided, sent and answered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from comptoir.app.bootstrap import open_hub
from comptoir.errors import ConfigError
from comptoir.store.history import Fact, History, Subject

__all__ = ["LANGUAGES", "Journey", "journeys", "language"]

_ENTITIES = {
    "en": {
        "order": "Order",
        "refund": "Refund",
        "customer": "Customer",
        "item": "Item",
        "payout": "Payout",
        "z_report": "Z closing",
        "supplier_invoice": "Supplier invoice",
    },
    "fr": {
        "order": "Commande",
        "refund": "Remboursement",
        "customer": "Client",
        "item": "Article",
        "payout": "Versement",
        "z_report": "Clôture Z",
        "supplier_invoice": "Facture fournisseur",
    },
}

#: One sentence for each fact that the store knows.
LANGUAGES: dict[str, dict[str, str]] = {
    "en": {
        "received": "received from {connection}",
        "changed": "received again from {connection}, changed (version {version})",
        "skipped": "not passed on: {reason}",
        "planned": "planned for {target}",
        "sent": "sent to {target} as {key} (attempt {attempt})",
        "confirmed_unknown": "handed over to {target} as {key}; {target} has not reported back yet",
        "confirmed_accepted": "accepted by {target} as {external_id}",
        "confirmed_rejected": "refused by {target} after it was handed over: {reason}",
        "refused": "not delivered to {target}: {reason}",
        "waits_held": "waits for approval (comptoir deliver ROUTE --approve)",
        "waits_in_doubt": "it is not known whether {target} has it; looked up at the next run: {reason}",
        "waits_pending": "waits for {target}: {reason}",
        "parked": "set aside: {message}. {hint}",
        "resolved": "settled: {because}",
        "booked": "booked in {journal} as {piece} ({kind}), {total} {currency}",
        "entry_sent": "entry {piece} handed over to {target}",
        "refunded": "refund {number} of {amount} {currency}",
        "opening": "listed for the opening account: names {names}",
        "hinted": "a webhook of {connection} said: {kind}",
        "hint_unchanged": "read again from {connection}: nothing had changed",
        "hint_gone": "{connection} does not have it any more",
        "hint_loop": "webhook not followed: it came again and again without a change",
        "hint_older": "left out: {connection} gave an older state than the one known",
        "link_linked": "is {external_id} on {other} (by rule: {evidence})",
        "link_linked_by_hand": "is {external_id} on {other} (decided by {by})",
        "link_suggested": "is perhaps {external_id} on {other} ({evidence}; {note}): comptoir match accept",
        "link_unmatched": "has no match on {other}; it is made there when somebody asks for it (comptoir match create)",
        "link_rejected": "is not {external_id} on {other}",
        "link_rejected_by_hand": "is not {external_id} on {other} (decided by {by})",
        "link_broken": "was {external_id} on {other}, which does not exist any more",
        "written": "written to {target}: {changes}",
        "value_due": "to be written to {target}: {changes}",
        "value_held": "waits for approval: {changes} on {target} ({reason})",
        "value_sent": "sent to {target}, no answer yet: {changes}; sent again at the latest {due:%H:%M:%S}",
        "value_refused": "not written to {target}: {changes} ({reason})",
    },
    "fr": {
        "received": "reçu de {connection}",
        "changed": "reçu à nouveau de {connection}, modifié (version {version})",
        "skipped": "non transmis : {reason}",
        "planned": "prévu pour {target}",
        "sent": "envoyé à {target} sous {key} (essai {attempt})",
        "confirmed_unknown": "remis à {target} sous {key} ; {target} n'a pas encore répondu",
        "confirmed_accepted": "accepté par {target} sous {external_id}",
        "confirmed_rejected": "refusé par {target} après la remise : {reason}",
        "refused": "non livré à {target} : {reason}",
        "waits_held": "attend une approbation (comptoir deliver ROUTE --approve)",
        "waits_in_doubt": "on ne sait pas si {target} l'a ; vérifié au prochain passage : {reason}",
        "waits_pending": "attend {target} : {reason}",
        "parked": "mis de côté : {message}. {hint}",
        "resolved": "réglé : {because}",
        "booked": "comptabilisé dans {journal}, pièce {piece} ({kind}), {total} {currency}",
        "entry_sent": "écriture {piece} remise à {target}",
        "refunded": "remboursement {number} de {amount} {currency}",
        "opening": "à reprendre dans les comptes d'ouverture : cite {names}",
        "hinted": "un webhook de {connection} annonce : {kind}",
        "hint_unchanged": "relu sur {connection} : rien n'avait changé",
        "hint_gone": "{connection} ne l'a plus",
        "hint_loop": "webhook non suivi : il revenait sans cesse sans changement",
        "hint_older": "ignoré : {connection} a donné un état plus ancien que celui connu",
        "link_linked": "est {external_id} sur {other} (par règle : {evidence})",
        "link_linked_by_hand": "est {external_id} sur {other} (décidé par {by})",
        "link_suggested": "est peut-être {external_id} sur {other} ({evidence} ; {note}) : comptoir match accept",
        "link_unmatched": "n'a pas d'équivalent sur {other} ; il y est créé sur demande (comptoir match create)",
        "link_rejected": "n'est pas {external_id} sur {other}",
        "link_rejected_by_hand": "n'est pas {external_id} sur {other} (décidé par {by})",
        "link_broken": "était {external_id} sur {other}, qui n'existe plus",
        "written": "écrit sur {target} : {changes}",
        "value_due": "à écrire sur {target} : {changes}",
        "value_held": "attend une approbation : {changes} sur {target} ({reason})",
        "value_sent": "envoyé à {target}, sans réponse : {changes} ; renvoyé au plus tard à {due:%H:%M:%S}",
        "value_refused": "non écrit sur {target} : {changes} ({reason})",
    },
}


@dataclass(frozen=True, slots=True)
class Journey:
    """One record's journey, in one language."""

    subject: Subject
    title: str
    sentences: Sequence[tuple[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "entity": self.subject.entity,
            "connection": self.subject.connection,
            "external_id": self.subject.external_id,
            "number": self.subject.number,
            "events": [{"at": at, "text": text} for at, text in self.sentences],
        }


def language(wanted: str | None) -> str:
    """The language asked for, else that of the environment, else English; ConfigError for an unknown one."""
    if wanted is None:
        wanted = (os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or "en")[:2]
        return wanted if wanted in LANGUAGES else "en"
    if wanted not in LANGUAGES:
        raise ConfigError(f"{wanted!r} is not spoken; allowed: {', '.join(LANGUAGES)}", code="usage")
    return wanted


def journeys(config: Path, reference: str, *, lang: str | None = None) -> list[Journey]:
    """The journeys of every record that `reference` names; ConfigError when nothing is known under it."""
    spoken = language(lang)
    with open_hub(config) as hub, hub.database.transaction() as session:
        history = History(session)
        subjects = history.find(reference)
        if not subjects:
            raise ConfigError(
                f"nothing is known under {reference!r}",
                hint="Give an order or refund number, an external id, a SKU or an e-mail address.",
                code="not_found",
            )
        zone = ZoneInfo(hub.company.time_zone)
        return [_tell(s, history.of(s), spoken, zone) for s in subjects]


def _tell(subject: Subject, facts: Sequence[Fact], lang: str, zone: ZoneInfo) -> Journey:
    texts = LANGUAGES[lang]
    sentences = [
        (f"{fact.at.astimezone(zone):%Y-%m-%d %H:%M:%S}", texts[fact.what].format_map(_Known(fact.about)).strip())
        for fact in facts
    ]
    word = _ENTITIES[lang].get(subject.entity, subject.entity)
    return Journey(subject, f"{word} {subject.number} ({subject.connection})", sentences)


class _Known(dict[str, Any]):
    """What a sentence may name; something unknown is said so instead of failing."""

    def __missing__(self, key: str) -> str:
        return "?"
