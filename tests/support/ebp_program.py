"""EBP's command line as a program of its own: `ebp_program.py HOME /Import=FILE;ENTITY;FORMAT` or `/Export=FILE;WHAT`.

What it holds is kept in HOME between two starts (EBP's database). `HOME/mood` plays its whims: `refuse` (code 2,
nothing is imported), `crash` (code 9 after the import), `hang` (imports, then does not end as long as that lasts).
"""

from __future__ import annotations

import pickle
import sys
import time
from decimal import Decimal
from pathlib import Path

from comptoir_ebp.sandbox import EbpBooks


def books_in(home: Path) -> EbpBooks:
    """What EBP holds."""
    path = home / "books.pickle"
    if path.is_file():
        found = pickle.loads(path.read_bytes())
        assert isinstance(found, EbpBooks)
        return found
    books = EbpBooks()
    books.catalogue.seed([("MUG-001", "Mug", Decimal("10.00"), Decimal("12.00"), Decimal(20), "", Decimal(50))])
    return books


def mood_in(home: Path) -> str:
    """The whim of the moment; a program whose home is gone has none."""
    return (home / "mood").read_text() if (home / "mood").is_file() else ""


def keep(home: Path, books: EbpBooks) -> None:
    """Commits it, at once."""
    part = home / "books.part"
    part.write_bytes(pickle.dumps(books))
    part.replace(home / "books.pickle")


def main() -> int:
    home = Path(sys.argv[1])
    verb, _, rest = sys.argv[2].partition("=")
    mood = mood_in(home)
    file = Path(rest.split(";")[0])
    with (home / "starts").open("a") as log:
        log.write(f"{verb} {file.name}\n")
    books = books_in(home)
    if verb == "/Import":
        print("Zoé Lefèvre: imported")  # what a program prints may be personal
        if mood == "refuse":
            return 2
        books.import_file(file.name, file.read_bytes())
        keep(home, books)
        if mood == "crash":
            return 9
        while mood_in(home) == "hang":
            time.sleep(0.05)
    elif rest.endswith(";Documents"):
        file.write_bytes(books.document_list())
    elif rest.endswith(";Stock"):
        file.write_bytes(books.catalogue.stock_file())
    else:
        file.write_bytes(books.catalogue.items_file())
    return 0


if __name__ == "__main__":
    sys.exit(main())
