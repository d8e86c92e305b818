"""Trial imports: what a program was seen to take is kept, asked for before production, and asked again on a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from comptoir.app.batches import list_batches, withdraw
from comptoir.app.check import check_connections
from comptoir.app.promote import promote
from comptoir.app.trial_imports import FILE, TrialImport, list_trials, merged, record, waive
from comptoir.errors import ConfigError
from comptoir.testing import FakeClock
from comptoir_ebp.documents import CAPTIONS, MANDATORY

from tests.support.merchant import SELF_CONFIG, Merchant, request_json, simple_order

CLOCK = FakeClock()


@pytest.fixture
def handed_over(merchant: Merchant) -> tuple[Merchant, str]:
    """A merchant whose orders lie in a file, and the end of the batch's id."""
    request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()
    (batch,) = list_batches(merchant.config)
    return merchant, str(batch.id)[-8:]


def _stage(merchant: Merchant, stage: str) -> None:
    # Only what promote makes of it is looked at here; the orders were written before.
    (merchant.folder / "stage.toml").write_text(f'stage = "{stage}"\n')


def _states(merchant: Merchant) -> dict[tuple[str, str], str]:
    return {(s.connection, s.layout.writes): s.state for s in list_trials(merchant.config)}


def test_a_check_asks_until_somebody_has_seen_an_import(handed_over: tuple[Merchant, str]) -> None:
    merchant, batch = handed_over
    # No route gives this connection entries: nothing is asked of those.
    assert _states(merchant) == {("gesco", "orders"): "never"}
    (item,) = [i for i in check_connections(merchant.config, "gesco")["gesco"] if i.name.startswith("trial")]
    assert item.ok and "never imported" in item.detail and "comptoir trial record" in (item.hint or "")

    kept = record(merchant.config, batch, product="EBP Gestion PRO", version="25.1", by="Anne", note="5 orders")
    (known,) = list_batches(merchant.config)
    assert kept.files == tuple(known.files) and kept.sha256 == tuple(known.sha256) and kept.files
    assert _states(merchant) == {("gesco", "orders"): "imported"}
    (item,) = [i for i in check_connections(merchant.config, "gesco")["gesco"] if i.name.startswith("trial")]
    assert "EBP Gestion PRO 25.1" in item.detail and "Anne" in item.detail and item.hint is None

    # Other columns are another file: the one that was seen says nothing of it.
    columns = json.dumps([c for c in CAPTIONS if c in MANDATORY])
    merchant.edit_config('folder = "exchange/ebp"', f'folder = "exchange/ebp"\ncolumns = {columns}')
    assert _states(merchant) == {("gesco", "orders"): "changed"}
    (state,) = list_trials(merchant.config)
    assert "changed since its trial import" in state.words and state.asked


def test_promotion_is_refused_without_and_carries_what_was_seen(
    handed_over: tuple[Merchant, str], tmp_path: Path
) -> None:
    merchant, batch = handed_over
    production = tmp_path / "production"
    _stage(merchant, "staging")
    with pytest.raises(ConfigError, match=r"nobody has seen these files imported:\ngesco, orders \(ebp\)") as refused:
        promote(merchant.config, production, CLOCK)
    assert "comptoir trial record" in (refused.value.hint or "") and "trial waive gesco" in (refused.value.hint or "")
    assert not production.exists()
    (merchant.folder / "stage.toml").unlink()
    record(merchant.config, batch, product="EBP Gestion PRO", version="25.1")
    _stage(merchant, "staging")
    done = promote(merchant.config, production, CLOCK)
    assert FILE in {step.path for step in done.steps}
    # What production has seen by itself is no change by hand, and stays.
    there = json.loads((production / FILE).read_bytes())
    there.append({**there[0], "writes": "entries", "product": "EBP Compta"})
    (production / FILE).write_text(json.dumps(there))
    promote(merchant.config, production, CLOCK)
    assert {k["writes"] for k in json.loads((production / FILE).read_bytes())} == {"orders", "entries"}


def test_who_goes_without_says_why(handed_over: tuple[Merchant, str], tmp_path: Path) -> None:
    merchant, batch = handed_over
    with pytest.raises(ConfigError, match="say why"):
        waive(merchant.config, "gesco", because=" ")
    with pytest.raises(ConfigError, match="there is no connection 'gescom'"):
        waive(merchant.config, "gescom", because="the copy is not there yet")
    waive(merchant.config, "gesco", because="the copy is not there yet", by="Paul")
    assert _states(merchant) == {("gesco", "orders"): "waived"}
    with pytest.raises(ConfigError, match="owes no trial import"):
        waive(merchant.config, "gesco", because="again")
    _stage(merchant, "staging")
    assert promote(merchant.config, tmp_path / "production", CLOCK).done
    (merchant.folder / "stage.toml").unlink()
    record(merchant.config, batch, product="EBP Gestion PRO", version="25.1")
    assert _states(merchant) == {("gesco", "orders"): "imported"}


def test_only_what_was_there_to_be_imported_is_recorded(handed_over: tuple[Merchant, str]) -> None:
    merchant, batch = handed_over
    today = merchant.today
    with pytest.raises(ConfigError, match=r"no batch is called 'COMMANDES_999999\.CSV'"):
        record(merchant.config, "COMMANDES_999999.CSV", product="EBP", version="25")
    for day in (today - timedelta(days=3), today + timedelta(days=1)):
        with pytest.raises(ConfigError, match=f"an import on {day}"):
            record(merchant.config, batch, product="EBP", version="25", on=day)
    with pytest.raises(ConfigError, match="version"):
        record(merchant.config, batch, product="EBP", version="")
    withdraw(merchant.config, [batch], because="wrong folder")
    with pytest.raises(ConfigError, match="was withdrawn"):
        record(merchant.config, batch, product="EBP", version="25")
    assert not (merchant.folder / FILE).exists()


@pytest.mark.parametrize(("hour", "day"), [("22:30", "2026-07-15"), ("21:30", "2026-07-14")])
def test_the_day_of_an_import_is_the_companys(merchant: Merchant, hour: str, day: str) -> None:
    """Who imports past midnight in Paris does it on the new day, whatever day it still is in UTC."""
    merchant.clock = FakeClock(datetime.fromisoformat(f"2026-07-14T{hour}+00:00"))
    request_json(merchant.shop(), "POST", "/orders", simple_order())
    merchant.run()
    (batch,) = list_batches(merchant.config)
    tomorrow = date.fromisoformat(day) + timedelta(days=1)
    with pytest.raises(ConfigError, match=f"The file was written on {day}, and today is {day}"):
        record(merchant.config, str(batch.id), product="EBP", version="25", on=tomorrow, ports=merchant.ports())
    kept = record(merchant.config, str(batch.id), product="EBP", version="25", ports=merchant.ports())
    assert str(kept.on) == day


def test_a_profile_of_ones_own_travels_and_its_witness_counts(
    make_merchant: Callable[..., Merchant], tmp_path: Path
) -> None:
    merchant = make_merchant(
        SELF_CONFIG.replace('connector = "ebp"', 'connector = "ciel"\nprofile = "ciel-maison.toml"')
    )
    merchant.shop()
    text = resources.files("comptoir_ciel").joinpath("profiles", "ximport.toml").read_text()
    own = merchant.folder / "ciel-maison.toml"
    own.write_text(text)
    assert _states(merchant) == {("compta", "entries"): "never"}
    own.write_text(text + '\n[witnessed]\nproduct = "Ciel Compta"\nversion = "23"\nimported_on = 2026-11-20\n')
    (state,) = list_trials(merchant.config)
    assert (state.state, state.layout.source) == ("witnessed", "ciel-maison.toml")
    assert state.words == "imported into Ciel Compta 23 on 2026-11-20, says the profile"
    _stage(merchant, "staging")
    assert "ciel-maison.toml" in {s.path for s in promote(merchant.config, tmp_path / "production", CLOCK).steps}
    assert (tmp_path / "production" / "ciel-maison.toml").read_bytes() == own.read_bytes()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be understood"),
        ('[{"connection": "gesco"}]', "cannot be understood: Field required"),
        ("[" * 100_000, "cannot be understood"),
        (" " * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_a_list_that_is_broken_is_said(merchant: Merchant, text: str, says: str) -> None:
    (merchant.folder / FILE).write_text(text)
    with pytest.raises(ConfigError, match=f"{FILE}.*{says}"):
        list_trials(merchant.config)
    assert not check_connections(merchant.config, "gesco")["gesco"][-1].ok


def test_of_two_lists_the_newest_word_on_a_layout_counts() -> None:
    def kept(day: int, version: str, digest: str = "0" * 16) -> bytes:
        one = TrialImport(
            connection="gesco", writes="orders", source="ebp", digest=digest, on=date(2026, 11, day), by="Anne",
            product="EBP", version=version,
        )  # fmt: skip
        return b"[" + one.model_dump_json(exclude_defaults=True).encode() + b"]"

    there, here = kept(20, "there"), kept(19, "here")
    assert [k["version"] for k in json.loads(merged(there, here, Path()))] == ["there"]
    assert [k["version"] for k in json.loads(merged(kept(20, "there"), kept(20, "here"), Path()))] == ["here"]
    assert len(json.loads(merged(there, kept(19, "here", "1" * 16), Path()))) == 2
    assert json.loads(merged(there, None, Path())) == json.loads(there)
    with pytest.raises(ConfigError, match="cannot be understood"):
        merged(b"nothing", None, Path("production"))
