"""The life of a batch on this machine.

claiming -> claimed -> placing -> placed -> (importing ->) taken; aside of it unclear, refused, returning -> returned.

| killed at | what the next start does |
|---|---|
| claiming | asks again: the hub knows that the batch is ours, or says that it is not |
| claimed | fetches again into pending files that nobody sees |
| placing | a file that is no longer pending was shown, also when it was taken since; the others follow |
| placed | looks what became of the files |
| importing | nobody knows what the command did: **unclear**; no other command runs until the hub says what happened |
| returning | gives the other files back too; one that was taken meanwhile is reported |
| taken, refused, unclear, returned | says it again until the hub has it |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from comptoir_agent.commands import prepared, run
from comptoir_agent.config import Connection, Importing
from comptoir_agent.errors import ConfigurationError, HubRefused, LocalTrouble
from comptoir_agent.folder import Exchange, digest_of, safe_name
from comptoir_agent.hub import Hub
from comptoir_agent.state import Batch, File, Stage, State

__all__ = ["Batches"]

_log = logging.getLogger("comptoir_agent")

_MOST_FILES = 50
_LARGEST_FILE = 2_000_000_000


class Batches:
    """The batches of one connection."""

    def __init__(
        self,
        connection: Connection,
        state: State,
        hub: Hub,
        environment: Mapping[str, str],
        trouble: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._state = state
        self._hub = hub
        self._environment = environment
        self._trouble = trouble
        self.exchange = Exchange(connection.name, connection.folder)
        #: How often in a row a file was missing: a share that blinks is no import.
        self._missing: dict[str, int] = {}

    def recover(self) -> None:
        """What was being imported when this program was killed, or could not write on: nobody knows how it ended.

        Commands are waited for, so none of ours is under way here.
        """
        for key, batch in self._ours():
            if batch.stage == "importing":
                _log.warning("%s: the import of the batch %s was interrupted", self._connection.name, key)
                self._set(batch, "unclear", detail="the agent was stopped while the command ran")

    def turn(self, work: Mapping[str, Any]) -> None:
        """One turn with what the hub said. HubAway ends it; LocalTrouble of one batch does not stop the others."""
        self.exchange.check()
        self.recover()
        told = {str(known.get("id")): known for known in _dicts(work.get("held"))}
        for key, batch in self._ours():
            self._guarded(key, self._go_on, batch, told.get(key, {}))
        for offered in _dicts(work.get("offered")):
            key = str(offered.get("id"))
            if key in self._state.finished:
                # The hub was brought back from an older copy.
                self._guarded(key, self._tell_again)
            elif key not in self._state.batches:
                self._guarded(key, self._claim, offered)

    def _ours(self) -> list[tuple[str, Batch]]:
        return [(k, b) for k, b in self._state.batches.items() if b.connection == self._connection.name]

    def _guarded(self, key: str, step: Callable[..., None], *given: Any) -> None:
        try:
            step(key, *given)
        except (LocalTrouble, ConfigurationError) as error:
            self._trouble(str(error))
        except HubRefused as error:
            if error.status == 401:
                raise
            self._trouble(f"{self._connection.name}: batch {key}: {error}")

    def _set(
        self, batch: Batch, stage: Stage, *, detail: str = "", code: int | None = None, next_: int | None = None
    ) -> None:
        """Writes down how far a batch is; when the disk does not take it, it is not so far."""
        before = batch.stage, batch.detail, batch.exit_code, batch.next
        batch.stage, batch.detail, batch.exit_code = stage, detail, code
        batch.next = batch.next if next_ is None else next_
        try:
            self._state.save()
        except LocalTrouble:
            batch.stage, batch.detail, batch.exit_code, batch.next = before
            raise

    def _tell_again(self, key: str) -> None:
        self._hub.report(key, {"state": "taken", "detail": "it was taken before", "exit_code": None, "marks": []})

    # -- fetching ----------------------------------------------------------------------------------------------

    def _claim(self, key: str, offered: Mapping[str, Any]) -> None:
        batch = Batch(self._connection.name, "claiming", _files(offered))
        self._state.batches[key] = batch
        try:
            self._state.save()
        except LocalTrouble:
            del self._state.batches[key]
            raise
        self._go_on(key, batch, {})

    def _go_on(self, key: str, batch: Batch, told: Mapping[str, Any]) -> None:
        if batch.stage == "claiming" and not self._claimed(key, batch):
            return
        if told.get("recalled") and batch.stage in ("claimed", "placing", "placed", "unclear", "refused"):
            self._give_back(key, batch)
        if batch.stage == "returning":
            self._return(key, batch)
        if batch.stage == "claimed":
            self._fetch(key, batch)
        if batch.stage == "placing":
            self._place(key, batch)
        if batch.stage in ("unclear", "refused"):
            self._decided(key, batch, told)
            if batch.stage not in ("unclear", "refused"):
                told = {}  # what the hub knew of it is not so any more
        if batch.stage == "placed":
            self._watch(key, batch)
        if batch.stage in ("taken", "returned", "unclear", "refused"):
            self._report(key, batch, told)

    def _claimed(self, key: str, batch: Batch) -> bool:
        try:
            self._hub.report(key, {"state": "claimed"})
        except HubRefused as error:
            # Withdrawn, or another machine has it: nothing of it was ever here.
            _log.info("%s: batch %s is not ours: %s", self._connection.name, key, error)
            del self._state.batches[key]
            self._state.save()
            return False
        self._set(batch, "claimed")
        return True

    def _fetch(self, key: str, batch: Batch) -> None:
        for number, file in enumerate(batch.files):
            safe_name(file.name)
            pending = self.exchange.pending(key, number)
            with self.exchange.errors():
                if pending.is_file() and pending.stat().st_size == file.bytes and digest_of(pending) == file.sha256:
                    continue
                try:
                    self._hub.download(key, number, pending, bytes_=file.bytes, sha256=file.sha256)
                except HubRefused as error:
                    if error.status != 410:
                        raise
                    # Somebody took it on the hub's side: it is theirs.
                    self.exchange.drop_pending(key, len(batch.files))
                    self._set(batch, "returned", detail="its file is no longer at the hub")
                    return
                except OSError:
                    pending.unlink(missing_ok=True)
                    raise
        for file in batch.files:
            if not self.exchange.is_free(file):
                raise LocalTrouble(f"{self._connection.name}: {file.name} still lies there and is not overwritten")
        self._set(batch, "placing")

    def _place(self, key: str, batch: Batch) -> None:
        for number, file in enumerate(batch.files):
            if self.exchange.where(key, number, file) == "pending":
                self.exchange.place(key, number, file)
        _log.info("%s: %s lies there", self._connection.name, ", ".join(file.name for file in batch.files))
        self._set(batch, "placed")

    def _give_back(self, key: str, batch: Batch) -> None:
        """The hub wants it back: only when no file of it was taken."""
        places = [self.exchange.where(key, number, file) for number, file in enumerate(batch.files)]
        if batch.stage in ("placing", "placed") and any(place in ("marked", "gone", "other") for place in places):
            return  # it was taken: that is what will be reported
        self._set(batch, "returning")

    def _return(self, key: str, batch: Batch) -> None:
        """Moves everything away from the program; a user who was quicker is heard."""
        taken = False
        for number, file in enumerate(batch.files):
            place = self.exchange.where(key, number, file)
            if place == "there":
                self.exchange.take_aside(key, file)
            # What was never shown is not missing: it is dropped below.
            taken = taken or place in ("marked", "gone")
        shown = any(self.exchange.where(key, n, file) == "aside" for n, file in enumerate(batch.files))
        self.exchange.drop_pending(key, len(batch.files))
        if taken and shown:
            self._set(batch, "unclear", detail="a part of it was taken while it was given back")
        else:
            self._set(batch, "returned", detail="given back")

    # -- importing ---------------------------------------------------------------------------------------------

    def _watch(self, key: str, batch: Batch) -> None:
        places = [self.exchange.where(key, number, file) for number, file in enumerate(batch.files)]
        rules = [self._rule(file) for file in batch.files]
        if None in rules and any(rules):
            raise ConfigurationError(
                f"{self._connection.name}: agent.toml has an import for one file of a batch and none for "
                f"{batch.files[rules.index(None)].name}: give all of them one, or none"
            )
        for number, (file, place, rule) in enumerate(zip(batch.files, places, rules, strict=True)):
            if place == "other":
                raise LocalTrouble(f"{self._connection.name}: {file.name} was changed since it was put there")
            if place == "there" and rule is not None and number >= batch.next:
                self._import(key, batch, number, rule)
                if batch.stage != "placed":
                    return
        places = [self.exchange.where(key, number, file) for number, file in enumerate(batch.files)]
        if all(place in ("marked", "gone") or n < batch.next for n, place in enumerate(places)):
            if "gone" in places and batch.next < len(batch.files):
                self._missing[key] = self._missing.get(key, 0) + 1
                if self._missing[key] < 2:
                    return
            self._taken(key, batch, "taken by the program or its user")
        else:
            self._missing.pop(key, None)

    def _rule(self, file: File) -> Importing | None:
        return next((rule for rule in self._connection.imports if fnmatchcase(file.name, rule.files)), None)

    def _import(self, key: str, batch: Batch, number: int, rule: Importing) -> None:
        stopped = [k for k, other in self._ours() if other.stage == "unclear"]
        if stopped:
            raise LocalTrouble(
                f"{self._connection.name}: {batch.files[number].name} waits: nobody knows how the import of the batch "
                f"{stopped[0]} ended (the hub's operator says: comptoir agent settle)"
            )
        file = batch.files[number]
        target = self.exchange.target(file)
        arguments = prepared(rule.command, target, self._environment)
        self._hub.report(key, {"state": "importing"})
        self._set(batch, "importing", next_=number)
        _log.info("%s: %s is imported", self._connection.name, file.name)
        log = self.exchange.root / ".agent" / "logs" / f"{key}-{number}.txt"
        ended = run(
            arguments, folder=self._connection.folder, log=log, seconds=rule.timeout_seconds, shown=rule.command
        )
        _log.info("%s: %s: %s", self._connection.name, file.name, ended.words)
        self._after_import()
        if ended.code is not None and ended.code in rule.success:
            self._set(batch, "placed", code=ended.code, next_=number + 1)
            if batch.next == len(batch.files):
                self._taken(key, batch, ended.words, code=ended.code)
        elif not ended.began or ended.code in rule.nothing_done:
            self._set(batch, "refused", detail=ended.words, code=ended.code)
        else:
            self._set(batch, "unclear", detail=ended.words, code=ended.code)

    def _after_import(self) -> None:
        if self._connection.name not in self._state.after_import:
            self._state.after_import.append(self._connection.name)

    def _decided(self, key: str, batch: Batch, told: Mapping[str, Any]) -> None:
        """What a person, or the program's own list, has said of an import that nobody knew the end of."""
        if told.get("state") != batch.stage:
            return
        decision = told.get("decision")
        if decision == "imported":
            if batch.next + 1 < len(batch.files):
                # The decision is spent: another one is needed for another file.
                self._hub.report(key, {"state": "importing"})
                self._set(batch, "placed", next_=batch.next + 1)
            else:
                self._taken(key, batch, "imported, as the hub's operator says")
        elif decision == "again":
            self._hub.report(key, {"state": "importing"})
            self._set(batch, "placed")

    def _taken(self, key: str, batch: Batch, words: str, code: int | None = None) -> None:
        for file in batch.files:
            with self.exchange.errors():
                marked = self.exchange.marked(file)
            # Found again after a restart: once it was filed away nothing else is.
            file.mark = file.mark if marked is None else marked.name
        self._missing.pop(key, None)
        self._after_import()
        self._set(batch, "taken", detail=words, code=code)
        for file in batch.files:
            # At once, and not when the hub knows: it may be away, and nobody is to import the file a second time.
            self.exchange.file_away(key, file)

    # -- telling -----------------------------------------------------------------------------------------------

    def _report(self, key: str, batch: Batch, told: Mapping[str, Any]) -> None:
        if batch.stage in ("unclear", "refused") and told.get("state") == batch.stage:
            return  # known there; a person decides
        body = {
            "state": batch.stage,
            "detail": batch.detail,
            "exit_code": batch.exit_code,
            "marks": [file.mark for file in batch.files],
        }
        self._hub.report(key, body)
        if batch.stage == "taken":
            for file in batch.files:
                self.exchange.file_away(key, file)
            self._state.finish(key)
        elif batch.stage == "returned":
            self.exchange.forget(key)
            del self._state.batches[key]
            self._state.save()


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _files(offered: Mapping[str, Any]) -> list[File]:
    try:
        files = [File(str(f["name"]), str(f["sha256"]), int(f["bytes"])) for f in offered["files"]]
    except (KeyError, TypeError, ValueError):
        raise HubRefused("the hub does not say what is in it", 0) from None
    names = [safe_name(file.name) for file in files]
    if not files or len(files) > _MOST_FILES or len({str(n).upper() for n in names}) != len(names):
        raise HubRefused("the hub names no files, too many, or one twice", 0)
    if any(not 0 <= file.bytes <= _LARGEST_FILE for file in files):
        raise HubRefused("the hub's files are too large", 0)
    return files
