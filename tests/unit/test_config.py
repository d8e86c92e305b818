"""comptoir.toml: the example loads, and whatever is wrong is named by file, line and key."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.app.bootstrap import check_installation
from comptoir.app.config import load
from comptoir.app.init import EXAMPLE, write_example
from comptoir.errors import ComptoirError, ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.toml_lines import key_lines

GOOD = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
cutover = "2026-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "*/5 * * * *"
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
schedule = "17 * * * *"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a configuration whose exchange folder exists."""
    (tmp_path / "exchange" / "ebp").mkdir(parents=True)
    return tmp_path / "comptoir.toml"


def refused(path: Path, text: str) -> ConfigError:
    """The error of a text, after everything that can be checked without database and remote."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check_installation(path)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_example_loads_exactly(path: Path) -> None:
    path.write_text(GOOD)
    settings = load(path)
    assert (settings.company.name, settings.company.country, settings.company.currency) == (
        "Maison Exemple",
        "FR",
        "EUR",
    )
    assert settings.company.zone == "Europe/Paris"
    assert settings.company.year_end == "12-31"
    assert list(settings.connections) == ["boutique", "gesco"]
    boutique, gesco = settings.connections.values()
    assert (boutique.connector, boutique.cutover, boutique.invoicing) == ("woocommerce", date(2026, 1, 1), "gesco")
    assert (gesco.connector, gesco.cutover, gesco.invoicing) == ("ebp", None, None)
    assert gesco.own == {"folder": "exchange/ebp"}
    orders = settings.routes["orders"]
    assert (orders.entity, orders.sources, orders.targets) == (EntityName.ORDER, ("boutique",), ("gesco",))
    assert (orders.schedule, orders.triggers) == ("*/5 * * * *", ("webhook",))
    assert settings.path == path
    assert check_installation(path).base_dir == path.parent


def test_what_init_writes_can_be_used_as_it_is(tmp_path: Path) -> None:
    path = write_example(tmp_path)
    settings = check_installation(path).settings
    assert set(settings.routes) == {"orders", "customers"}
    with pytest.raises(ConfigError, match="exists already"):
        write_example(tmp_path)
    assert path.read_text() == EXAMPLE


def test_one_name_stands_for_a_list_of_one(path: Path) -> None:
    path.write_text(GOOD.replace('to = ["gesco"]', 'to = "gesco"'))
    assert load(path).routes["orders"].targets == ("gesco",)


@pytest.mark.parametrize("text", ["\ufeff" + GOOD, GOOD.replace("\n", "\r\n")])
def test_what_windows_editors_write_is_read(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    assert load(path).company.country == "FR"


def test_a_toml_date_is_a_date_too(path: Path) -> None:
    path.write_text(GOOD.replace('"2026-01-01"', "2026-01-01"))
    assert load(path).connections["boutique"].cutover == date(2026, 1, 1)


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "0 5 * * 1-5", "*/15 6-22 * * *", "0,30 * 1,15 * *", "0 0 * JAN,jul MON-FRI", "0 22-23/1 * * 7",
     "@hourly", "@daily", "@weekly", "@monthly", "0/10 * * * *"],
)  # fmt: skip
def test_usual_schedules(path: Path, cron: str) -> None:
    path.write_text(GOOD.replace("17 * * * *", cron))
    assert load(path).routes["customers"].schedule == cron


def without(line: str) -> str:
    assert GOOD.count(line + "\n") >= 1
    return GOOD.replace(line + "\n", "", 1)


def put(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


#: What is wrong, the text, line and key of the message, words that must be in it.
WRONG: list[tuple[str, str, int, str, tuple[str, ...]]] = [
    ("unknown section", GOOD + "\n[conections.x]\nconnector = 'ebp'\n", 28, "conections",
     ("unknown setting; allowed: company, connections, routes, accounting",)),
    ("unknown top key", "lang = 'fr'\n" + GOOD, 1, "lang", ("unknown setting",)),
    ("a key of ours", "path = 'x'\n" + GOOD, 1, "path", ("unknown setting; allowed: company",)),
    ("no company", GOOD.split("\n\n", 1)[1], 1, "company", ("this setting is missing",)),
    ("company is no table", "company = 'Maison'\n" + GOOD.split("\n\n", 1)[1], 1, "company", ("a table", "'Maison'")),
    ("no company name", without('name = "Maison Exemple"'), 1, "company.name", ("missing",)),
    ("empty company name", put("Maison Exemple", " "), 2, "company.name", ("at least 1 character",)),
    ("unknown company key", put("[company]\n", "[company]\nvat = 'FR1'\n"), 2, "company.vat",
     ("unknown setting; allowed: name, country, currency, siren, time_zone, year_end",)),
    ("no country", without('country = "FR"'), 1, "company.country", ("missing",)),
    ("wrong country", put('"FR"', '"France"'), 3, "company.country", ("'France'", "[A-Z]{2}")),
    ("no currency", without('currency = "EUR"'), 1, "company.currency", ("missing",)),
    ("wrong currency", put('"EUR"', '"EURO"'), 4, "company.currency", ("unknown currency 'EURO'",)),
    ("wrong siren", put("[company]\n", "[company]\nsiren = '12345'\n"), 2, "company.siren", ("'12345'",)),
    ("wrong zone", put("[company]\n", "[company]\ntime_zone = 'Paris'\n"), 2, "company.time_zone",
     ("Europe/Paris", "'Paris'")),
    ("zone outside", put("[company]\n", "[company]\ntime_zone = '../etc/passwd'\n"), 2, "company.time_zone", ("IANA",)),
    ("wrong year end", put("[company]\n", "[company]\nyear_end = '31-12'\n"), 2, "company.year_end",
     ("MM-DD", "'31-12'")),
    ("a week for the year end", put("[company]\n", "[company]\nyear_end = 'W52-7'\n"), 2, "company.year_end",
     ("MM-DD", "'W52-7'")),
    ("no connector", without('connector = "woocommerce"'), 6, "connections.boutique.connector", ("missing",)),
    ("unknown connector", put('"woocommerce"', '"shopify2"'), 7, "connections.boutique.connector",
     ("'shopify2'", "allowed: ", "ebp, ", "woocommerce")),
    ("connector is a number", put('"woocommerce"', "5"), 7, "connections.boutique.connector", ("string", "5")),
    ("wrong date", put("2026-01-01", "01/01/2026"), 8, "connections.boutique.cutover",
     ('a date such as "2026-01-01"', "'01/01/2026'")),
    ("no such day", put("2026-01-01", "2026-02-30"), 8, "connections.boutique.cutover", ("'2026-02-30'",)),
    ("a number for a date", put('"2026-01-01"', "86400"), 8, "connections.boutique.cutover", ("a date such as",)),
    ("a moment for a date", put('"2026-01-01"', "2026-01-01T08:00:00Z"), 8, "connections.boutique.cutover",
     ("a date such as",)),
    ("unknown authority", put('invoicing = "gesco"', 'invoicing = "gescom"'), 9, "connections.boutique.invoicing",
     ("'gescom' is not allowed; allowed: gesco, self, hub",)),
    ("unknown connector setting", put('folder = "exchange/ebp"', 'folder = "exchange/ebp"\nformat = "x"'), 14,
     "connections.gesco.format",
     ("unknown setting; allowed: connector, cutover, invoicing, calls_per_minute, requests_in_flight", ", folder, ")),
    ("missing connector setting", without('folder = "exchange/ebp"'), 11, "connections.gesco.folder", ("missing",)),
    ("wrong connector setting", put('cutover = "2026-01-01"', "pages_in_flight = 99"), 8,
     "connections.boutique.pages_in_flight", ("less than or equal to 8",)),
    ("inner connector setting", GOOD + "\n[connections.gesco.default_customer]\ncode = 'X'\n", 28,
     "connections.gesco.default_customer.name", ("missing",)),
    ("name in capitals", GOOD.replace("boutique", "Boutique"), 6, "connections.Boutique", ("small letters",)),
    ("name with a dash", GOOD.replace("ns.gesco", "ns.ge-sco"), 11, "connections.ge-sco", ("digits",)),
    ("name is hub", GOOD.replace("gesco", "hub"), 11, "connections.hub", ("hub or self",)),
    ("route named self", GOOD.replace("routes.orders", "routes.self"), 15, "routes.self", ("hub or self",)),
    ("name too long", GOOD.replace("gesco", "g" * 41), 11, "connections." + "g" * 41, ("a name has",)),
    ("unknown entity", put('"order"', '"invoice"'), 16, "routes.orders.entity",
     ("'invoice' is not allowed; allowed: 'item', 'stock', 'order', 'customer'",)),
    ("no entity", without('entity = "order"'), 15, "routes.orders.entity", ("missing",)),
    ("no source", without('from = "boutique"'), 15, "routes.orders.from", ("missing",)),
    ("empty source", put('from = "boutique"', "from = []"), 17, "routes.orders.from", ("at least 1 item",)),
    ("unknown source", put('from = "boutique"', 'from = "shop"'), 17, "routes.orders.from",
     ("there is no connection 'shop'; allowed: boutique, gesco, hub",)),
    ("source twice", put('from = "boutique"', 'from = ["boutique", "boutique"]'), 17, "routes.orders.from",
     ("'boutique' stands twice",)),
    ("hub and another", put('from = "boutique"', 'from = ["hub", "boutique"]'), 17, "routes.orders.from", ("alone",)),
    ("hub gives orders", put('from = "boutique"', 'from = "hub"'), 16, "routes.orders.entity",
     ("the hub derives no order", "journal_entry")),
    ("unknown target", put('["gesco"]', '["gescom"]'), 18, "routes.orders.to",
     ("there is no connection 'gescom'; allowed: boutique, gesco",)),
    ("target twice", put('["gesco"]', '["gesco", "gesco"]'), 18, "routes.orders.to", ("'gesco' stands twice",)),
    ("target is hub", put('["gesco"]', '["hub"]'), 18, "routes.orders.to", ("there is no connection 'hub'",)),
    ("own source", put('["gesco"]', '["boutique"]'), 18, "routes.orders.to", ("its own source",)),
    ("source cannot give", put('"boutique"\nto = ["gesco"]', '"gesco"'), 17, "routes.orders.from",
     ("cannot give order; it gives: item, stock, customer",)),
    ("target cannot take", put('"order"', '"item"'), 18, "routes.orders.to",
     ("cannot take item; it takes: order, refund, customer, journal_entry",)),
    ("wrong cron", put("*/5 * * * *", "every 5 minutes"), 19, "routes.orders.schedule",
     ("five cron fields", "'every 5 minutes'")),
    ("six cron fields", put("*/5 * * * *", "0 */5 * * * *"), 19, "routes.orders.schedule", ("five cron fields",)),
    ("minute 60", put("*/5 * * * *", "60 * * * *"), 19, "routes.orders.schedule", ("'60' is no minute", "0 to 59")),
    ("every 0", put("*/5 * * * *", "*/0 * * * *"), 19, "routes.orders.schedule", ("'*/0' is no minute",)),
    ("hours backwards", put("*/5 * * * *", "0 22-6 * * *"), 19, "routes.orders.schedule", ("'22-6' is no hour",)),
    ("no such day of the week", put("*/5 * * * *", "0 0 * * LUN"), 19, "routes.orders.schedule",
     ("'LUN' is no day of the week",)),
    ("nothing", put("*/5 * * * *", ""), 19, "routes.orders.schedule", ("five cron fields",)),
    ("unknown trigger", put('["webhook"]', '["webhook", "mail"]'), 20, "routes.orders.triggers.1",
     ("'mail' is not allowed; allowed: 'webhook'",)),
    ("unknown route setting", put('triggers = ["webhook"]', "retries = 3"), 20, "routes.orders.retries",
     ("unknown setting; allowed: entity, from, to, schedule, triggers",)),
    ("wrong accounting", GOOD + "\n[accounting]\ntolerances = 'x'\n", 29, "accounting.tolerances", ("Extra inputs",)),
    ("a password", put('folder = "exchange/ebp"', 'folder = "exchange/ebp"\npassword = "geheim"'), 14,
     "connections.gesco.password", ("secrets do not belong",)),
    ("a consumer secret", put("[company]\n", "[company]\nconsumer_secret = 'geheim'\n"), 2, "company.consumer_secret",
     ("secrets do not belong",)),
    ("a numeric password", put('folder = "exchange/ebp"', 'folder = "exchange/ebp"\npwd = 4711'), 14,
     "connections.gesco.pwd", ("secrets do not belong",)),
    ("a password in an address", put('folder = "exchange/ebp"', 'folder = "smb://me:geheim@nas/ebp"'), 13,
     "connections.gesco.folder", ("secrets do not belong",)),
    ("an inner token", put('folder = "exchange/ebp"', 'api = { token = "geheim" }'), 13, "connections.gesco.api.token",
     ("secrets do not belong",)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_setting_is_named(path: Path, text: str, line: int, key: str, words: tuple[str, ...]) -> None:
    error = refused(path, text)
    assert error.message.startswith(f"comptoir.toml:{line}: {key}: "), error.message
    assert error.field == key
    for word in words:
        assert word in error.message
    shown = f"{error.message} {error.hint}"
    assert "geheim" not in shown
    assert "4711" not in shown


def test_a_secret_names_the_variable_it_belongs_into(path: Path) -> None:
    error = refused(path, put('folder = "exchange/ebp"', 'folder = "exchange/ebp"\napi_key = "geheim"'))
    assert error.hint is not None
    assert "AIRFLOW_CONN_GESCO" in error.hint


def test_several_wrong_settings_are_counted(path: Path) -> None:
    error = refused(path, put('"FR"', '"France"').replace('"EUR"', '"EURO"'))
    assert error.hint == "1 more settings are wrong."


@pytest.mark.parametrize(
    ("text", "line"),
    [("[company\nname = 1\n", 1), ("[company]\nname = \n", 2), (GOOD + "\n[company]\n", 28), ('\n\na = "x', 3),
     ("a = 1\nb = [1,\n\n", 2)],
)  # fmt: skip
def test_what_is_no_toml_names_the_line(path: Path, text: str, line: int) -> None:
    assert refused(path, text).message.startswith(f"comptoir.toml:{line}: no valid TOML")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no") as caught:
        load(tmp_path / "comptoir.toml")
    assert caught.value.code == "no_config"
    assert "comptoir init" in str(caught.value.hint)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes("[company]\nname = 'Café'".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "latin.toml")


@given(st.text(st.sampled_from("ab=[]{}'\"\n.#, 1-"), max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text)
    with pytest.raises(ComptoirError):
        load(path)


# -- lines of keys -----------------------------------------------------------------------------------------------


def test_lines_of_keys() -> None:
    text = '\n'.join([
        'top = 1',
        '# """ a comment with quotes',
        '[a]',
        'x = """',
        'y = 2',
        '[not.a.table]',
        '"""',
        'b.c = 3',
        '"d e" = 4',
        '[[list]]',
        'z = [',
        '  1,',
        ']',
        "  [ a . 'q' ]",
        'name = "line\u2028separator"',
        'last = 1',
    ])  # fmt: skip
    assert key_lines(text) == {
        ("top",): 1,
        ("a",): 3,
        ("a", "x"): 4,
        ("a", "b"): 8,
        ("a", "b", "c"): 8,
        ("a", "d e"): 9,
        ("list",): 10,
        ("list", "z"): 11,
        ("a", "q"): 14,
        ("a", "q", "name"): 15,
        ("a", "q", "last"): 16,
    }


# -- [gateway] -----------------------------------------------------------------------------------------------------


def test_the_gateway_has_bounds_without_being_named(path: Path) -> None:
    path.write_text(GOOD, encoding="utf-8")
    gateway = load(path).gateway
    assert (gateway.url, gateway.max_bytes, gateway.slow_seconds, gateway.replay_hours) == (None, 2 << 20, 10.0, 72.0)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://hooks.example.com/", "https://hooks.example.com"),
        ("https://hub.example.com/comptoir", "https://hub.example.com/comptoir"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090"),
    ],
)
def test_the_gateways_address_is_kept_without_its_slash(path: Path, written: str, kept: str) -> None:
    path.write_text(f'{GOOD}\n[gateway]\nurl = "{written}"\n', encoding="utf-8")
    assert load(path).gateway.url == kept


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('url = "http://hooks.example.com"', "expected https"),
        ('url = "hooks.example.com"', "expected a web address"),
        ('url = "ftp://hooks.example.com"', "expected a web address"),
        ('url = "https://hooks.example.com?a=b"', "expected a web address"),
        ('url = "https://hooks.example.com:99999"', "expected a web address"),
        ('url = "https://"', "expected a web address"),
        ("max_bytes = 10", "greater than or equal to 1024"),
        ("max_bytes = 100000000000", "less than or equal to"),
        ("slow_seconds = 0", "greater than 0"),
        ("slow_seconds = 3600", "less than or equal to 120"),
        ("replay_hours = 0.1", "greater than or equal to 1"),
        ('replay_hours = "long"', "valid number"),
        ("port = 8090", "allowed: url, max_bytes, slow_seconds, replay_hours"),
    ],
)
def test_a_wrong_gateway_setting_is_named(path: Path, line: str, words: str) -> None:
    error = refused(path, f"{GOOD}\n[gateway]\n{line}\n")
    number = GOOD.count("\n") + 3
    assert f"comptoir.toml:{number}: gateway.{line.split(' ')[0]}" in error.message
    assert words in error.message


def test_a_secret_of_the_gateway_is_not_taken_from_the_file(path: Path) -> None:
    error = refused(path, f'{GOOD}\n[gateway]\nwebhook_secret = "abcdefghijklmnop"\n')
    assert "secrets do not belong into this file" in error.message
    assert "abcdefghijklmnop" not in str(error) + str(error.hint)
