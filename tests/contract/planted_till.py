"""Faults planted in the demonstration till's connector: those that only a connector of files can have."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from comptoir_demofiles.connector import DemoFilesConnector

from comptoir.sdk import Acknowledgement, EntityName, RawItem

from tests.contract.demofiles_kit import DemoFilesKit

__all__ = ["TILL_FAULTS"]

#: Rule -> kits with a planted fault.
TILL_FAULTS: list[tuple[str, type[DemoFilesKit]]] = []


def connector(rule: str) -> Callable[[type[DemoFilesConnector]], type[DemoFilesConnector]]:
    """The class is a connector with a fault against this rule."""

    def plant(faulty: type[DemoFilesConnector]) -> type[DemoFilesConnector]:
        TILL_FAULTS.append((rule, type(faulty.__name__, (DemoFilesKit,), {"connector": faulty})))
        return faulty

    return plant


@connector("K00")
class SaysThatItSpeaksHttp(DemoFilesConnector):
    manifest = DemoFilesConnector.manifest.model_copy(update={"transport": "http"})


@connector("K12")
class ReadsOnlyItsFirstExport(DemoFilesConnector):
    def newest(self, since: datetime | None) -> Path | None:
        return super().newest(None) if since is None else None


@connector("K31")
class HandsOverTwice(DemoFilesConnector):
    def is_there(self, op: Any, there: Counter[str]) -> bool:
        return False


@connector("K34")
class FindsNothing(DemoFilesConnector):
    def handed_over(self) -> Counter[str]:
        super().handed_over()
        return Counter()


@connector("K38")
class WritesQuestionMarks(DemoFilesConnector):
    def row(self, op: Any) -> list[str]:
        name = str(op.payload["name"]).encode("cp1252", "replace").decode("cp1252")
        fields = {**op.payload, "name": name}
        return super().row(type(op)(**{**{n: getattr(op, n) for n in op.__slots__}, "payload": fields}))


@connector("K86")
class FilesAwayWhileReading(DemoFilesConnector):
    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        for report, said in super().acknowledgements():
            self.acknowledged(report)
            yield report, said


@connector("K86")
class ForgetsTheReason(DemoFilesConnector):
    def words(self, path: Path) -> list[list[str]]:
        return [[key, state, ""] for key, state, _ in super().words(path)]


@connector("K87")
class NeverForgives(DemoFilesConnector):
    def handed_over(self) -> Counter[str]:
        self._refused = {key for path in (self._folder / "ack").glob("done/*.csv") for key, *_ in self.words(path)}
        return super().handed_over()

    def row(self, op: Any) -> list[str]:
        from comptoir_demofiles.connector import Unfit

        if op.natural_key in self._refused:
            raise Unfit("number", f"{op.natural_key} was refused before")
        return super().row(op)


@connector("K90")
class ReadsHalfFiles(DemoFilesConnector):
    def is_settled(self, file: Path) -> bool:
        return True


@connector("K91")
class DoesNotWait(DemoFilesConnector):
    def is_settled(self, file: Path) -> bool:
        return file.read_bytes().endswith(b"\n")


@connector("K92")
class CountsColumns(DemoFilesConnector):
    def item(self, file: Path, number: int, head: Sequence[str], cells: Sequence[str]) -> RawItem:
        return super().item(file, number, ["code", "name", "price"], cells[:3])


@connector("K93")
class MakesUpACode(DemoFilesConnector):
    def items(self, file: Path) -> Iterator[RawItem]:
        head, *lines = self.text(file).splitlines() or [""]
        for number, line in enumerate(lines, start=2):
            row = dict(zip(head.split(";"), line.split(";"), strict=False))
            yield RawItem(EntityName.ITEM, row.get("code", f"row-{number}"), row)


@connector("K94")
class ReplacesBytes(DemoFilesConnector):
    def text(self, file: Path) -> str:
        return file.read_bytes().decode(self._charset, "replace")


@connector("K95")
class FollowsLinks(DemoFilesConnector):
    def is_ours(self, path: Path) -> bool:
        return True


@connector("K96")
class MakesTheFolder(DemoFilesConnector):
    def want_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)


@connector("K97")
class PassesOverBrokenRows(DemoFilesConnector):
    def items(self, file: Path) -> Iterator[RawItem]:
        return (item for item in super().items(file) if "fault" not in item.payload)


@connector("K98")
class TakesAnEmptyFileForNothing(DemoFilesConnector):
    def items(self, file: Path) -> Iterator[RawItem]:
        return super().items(file) if file.stat().st_size else iter(())


@connector("K99")
class WritesInPlace(DemoFilesConnector):
    def write(self, name: str, text: str) -> None:
        lines = text.splitlines(keepends=True)
        handle = os.open(self._folder / "in" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o664)
        try:
            for line in lines:
                os.write(handle, line.encode(self._charset))
            os.fsync(handle)
        finally:
            os.close(handle)
