"""Sage 100's tables on the embedded PostgreSQL: the same names, columns and types as far as PostgreSQL has them, and
rows as a folder has them (accents, padded references, 1753-01-01 for no date, depots, gammes, price categories).

`datetime2` is a type of SQL Server; a domain of that name lets the packaged queries run as they stand. That SQL Server
itself understands them was never tried: none runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from comptoir.sdk import Credentials
from comptoir.sdk.sql import Driver, Link, Server

__all__ = ["DRIVER", "SageDatabase", "credentials", "fill"]

_TABLES = Path(__file__).resolve().parents[1] / "data" / "sage" / "tables.sql"


def _connect(server: Server) -> Link:
    """The embedded server lets one login in; `login/role` goes on as a role that may do less."""
    login, _, role = server.login.partition("/")
    link = psycopg.connect(
        host=server.host, port=server.port or "", dbname=server.database, user=login, password=server.password
    )
    if role:
        link.execute(f"set role {role}".encode())
        link.commit()
    return _Streaming(link)


class _Streaming:
    """A connection whose cursors fetch as they are asked, as those of SQL Server's driver do."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._count = 0

    def cursor(self) -> Any:
        return _Cursor(self._link)

    def close(self) -> None:
        self._link.close()


class _Cursor:
    def __init__(self, link: Any) -> None:
        self._link = link
        self._cursor: Any = link.cursor()

    @property
    def description(self) -> Any:
        return self._cursor.description

    def execute(self, operation: str, parameters: Any) -> None:
        if operation.startswith("SELECT * FROM ("):
            self._cursor.close()
            self._cursor = self._link.cursor(name="comptoir")
        self._cursor.execute(operation, parameters)

    def fetchmany(self, size: int) -> Any:
        return self._cursor.fetchmany(size)

    def close(self) -> None:
        if not self._link.broken:
            self._cursor.close()


def _prepare(link: Any, run: Callable[[str], Sequence[Any] | None]) -> None:
    del link
    run("set transaction isolation level repeatable read, read only")


def _trouble(error: Exception) -> Any:
    state = str(getattr(error, "sqlstate", None) or "")
    known = {"28": "login", "3D": "login", "42501": "rights", "42P01": "unknown", "42703": "unknown", "57014": "busy"}
    if not state and any(said in str(error) for said in ("does not exist", "pg_hba.conf", "authentication failed")):
        return "login", ""
    return known.get(state) or known.get(state[:2]) or "reach", state


DRIVER = Driver(
    "postgresql",
    _connect,
    lambda: (psycopg.Error,),
    _prepare,
    "select case when has_table_privilege(lower(%s), 'update') then 1 else 0 end",
    _trouble,
)


def credentials(url: str, **changes: Any) -> Credentials:
    """The credentials of a connection that reads this database."""
    info = psycopg.conninfo.conninfo_to_dict(url)
    values: dict[str, Any] = {
        "host": str(info["host"]), "port": int(str(info["port"])) if info.get("port") else None,
        "schema": str(info["dbname"]), "login": str(info["user"]), "password": str(info.get("password") or ""),
        "extra": {"driver": "postgresql"},
    } | changes  # fmt: skip
    return Credentials(**values)


class SageDatabase:
    """The tables of one folder; what its users do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.at = "2026-11-20 10:00:00.123"
        self.run(_TABLES.read_text(encoding="utf-8"))

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement of a user, or of Sage itself."""
        with psycopg.connect(self.url, autocommit=True) as link:
            cursor = link.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def item(self, ref: str, name: str, price: str = "10", **columns: Any) -> None:
        """A card of an item without variants, in stock, priced without tax."""
        values: dict[str, Any] = {
            "AR_Ref": ref, "AR_Design": name, "FA_CodeFamille": "MAISON", "AR_CodeBarre": "",
            "AR_PrixVen": Decimal(price), "AR_PrixTTC": 0, "AR_UniteVen": 1, "AR_PoidsNet": 0, "AR_UnitePoids": 3,
            "AR_SuiviStock": 2, "AR_Sommeil": 0, "AR_Publie": 1, "AR_Gamme1": 0, "AR_Gamme2": 0, "AR_Pays": "",
            "cbModification": self.at,
        } | columns  # fmt: skip
        self.insert("F_ARTICLE", values)

    def stock(
        self, ref: str, depot: int = 1, real: Any = 0, reserved: Any = 0, prepared: Any = 0, ordered: Any = 0
    ) -> None:
        """What is counted of an item at a depot now."""
        self.run("delete from F_ARTSTOCK where AR_Ref = %s and DE_No = %s", ref, depot)
        self.insert(
            "F_ARTSTOCK",
            {
                "AR_Ref": ref, "DE_No": depot, "AS_QteSto": real, "AS_QteRes": reserved, "AS_QtePrepa": prepared,
                "AS_QteCom": ordered, "cbModification": self.at,
            },
        )  # fmt: skip

    def variant(self, ref: str, first: tuple[int, str], second: tuple[int, str] | None = None, **columns: Any) -> None:
        """A variant of an item with gammes."""
        for number, label in (first, *([second] if second else [])):
            if not self.run("select 1 from F_ARTGAMME where AR_Ref = %s and AG_No = %s", ref, number):
                self.insert("F_ARTGAMME", {"AR_Ref": ref, "AG_No": number, "EG_Enumere": label})
        values = {
            "AR_Ref": ref, "AG_No1": first[0], "AG_No2": second[0] if second else 0, "AE_Ref": "", "AE_CodeBarre": "",
            "AE_Sommeil": 0, "cbModification": self.at,
        } | columns  # fmt: skip
        self.insert("F_ARTENUMREF", values)

    def customer(self, number: str, name: str, **columns: Any) -> None:
        """A card of a customer."""
        values: dict[str, Any] = {
            "CT_Num": number, "CT_Intitule": name, "CT_Type": 0, "CT_Qualite": "", "CT_Contact": "", "CT_Adresse": "",
            "CT_Complement": "", "CT_CodePostal": "", "CT_Ville": "", "CT_CodeRegion": "", "CT_Pays": "",
            "CT_Telephone": "", "CT_EMail": "",
            "CT_Siret": "", "CT_Identifiant": "", "CT_Ape": "", "N_CatTarif": 1, "N_CatCompta": 1, "CT_Sommeil": 0,
            "CT_Prospect": 0, "cbModification": self.at,
        } | columns  # fmt: skip
        self.insert("F_COMPTET", values)

    def document(self, piece: str, web: str, kind: int = 1, **columns: Any) -> None:
        """A sales document as Sage writes it when it imports an order."""
        values = {"DO_Domaine": 0, "DO_Type": kind, "DO_Piece": piece, "DO_NoWeb": web, "DO_Date": self.at,
                  "DO_DateLivr": "1753-01-01", "cbModification": self.at} | columns  # fmt: skip
        self.insert("F_DOCENTETE", values)

    def insert(self, table: str, values: dict[str, Any]) -> None:
        """A row."""
        marks = ", ".join(["%s"] * len(values))
        self.run(f"insert into {table} ({', '.join(values)}) values ({marks})", *values.values())


def fill(sage: SageDatabase) -> None:
    """A small folder with everything that the lists have to tell apart."""
    sage.item("MUG-001", "Mug émaillé « cœur » ; 35 cl", "12.5", AR_CodeBarre="3760123456784", AR_PoidsNet=350)
    for category, price, gross, customer in ((1, "11.90", 0, ""), (2, "14.90", 1, ""), (0, "9.00", 0, "CDUPONT")):
        sage.insert(
            "F_ARTCLIENT",
            {"AR_Ref": "MUG-001", "AC_Categorie": category, "AC_PrixVen": price, "AC_PrixTTC": gross, "AC_Devise": 0,
             "CT_Num": customer, "cbModification": "2026-11-21 18:30:00"},
        )  # fmt: skip
    sage.stock("MUG-001", 1, "7.25", 2, 1, 30)
    sage.stock("MUG-001", 2, 3)
    sage.item("THE-VRAC", "Thé vert en vrac", "48", AR_PrixTTC=1, AR_UniteVen=2, FA_CodeFamille="EPICERIE",
              AR_UnitePoids=2, AR_PoidsNet=1, AR_Pays="Chine")  # fmt: skip
    sage.insert("F_ARTCOMPTA", {"AR_Ref": "THE-VRAC", "ACP_Type": 0, "ACP_Champ": 1, "ACP_ComptaCPT_Taxe1": "C55"})
    sage.stock("THE-VRAC", 1, "-0.5", "0.125")
    sage.item("TSHIRT", "T-shirt bio", "19.9", AR_Gamme1=1, AR_Gamme2=2)
    sage.variant("TSHIRT", (11, "Écru"), (21, "M"), AE_Ref="TSHIRT-EC-M", AE_CodeBarre="3760123456791")
    sage.variant("TSHIRT", (11, "Écru"), (22, "L/XL"), AE_Sommeil=1, cbModification="2026-11-21 09:00:00")
    sage.insert("F_GAMSTOCK", {"AR_Ref": "TSHIRT", "AG_No1": 11, "AG_No2": 21, "DE_No": 1, "GS_QteSto": 4,
                               "GS_QteRes": 1, "GS_QtePrepa": 0, "GS_QteCom": 0})  # fmt: skip
    # The sum that Sage keeps of all variants: no stock of anything that can be sold.
    sage.stock("TSHIRT", 1, 4, 1)
    sage.item("PORT", "Frais de port", "0", AR_SuiviStock=0)
    sage.item("VIEUX", "Modèle retiré", "5", AR_Sommeil=1, FA_CodeFamille="ANCIEN", AR_CodeBarre="12345",
              cbModification="1753-01-01")  # fmt: skip
    sage.customer("CDUPONT", "Dupont & Fils", CT_Qualite="Société", CT_Contact="Anaïs Dupont",
                  CT_Adresse="12 rue de l'Église", CT_Complement="Bât. B", CT_CodePostal="25000", CT_Ville="Besançon",
                  CT_Pays="FRANCE", CT_Ape="4719B", CT_Telephone="03 81 00 00 00",
                  CT_EMail="contact@dupont.example",
                  CT_Siret="30326504500018", CT_Identifiant="FR83 303 265 045", N_CatTarif=2)  # fmt: skip
    sage.customer("CLEFEVRE", "Lefèvre Zoé", CT_Qualite="Madame", CT_Ville="Liège", CT_Pays="Belgique",
                  CT_EMail="deux adresses; ici", CT_Sommeil=1)  # fmt: skip
    sage.customer("CATLANTIS", "Comptoir d'ailleurs", CT_Ville="Atlantis", CT_Pays="Outre-mer", N_CatTarif=0)
    sage.customer("PROSPECT", "Pas encore client", CT_Prospect=1)
    sage.customer("FMOULIN", "Moulin, fournisseur", CT_Type=1)
