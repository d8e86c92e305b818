"""The only wiring: settings, connectors, database, ports -> a Hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comptoir.app.booking import check_booking
from comptoir.app.config import ConfigFile, ConnectionSettings, RouteSettings, Settings, load_with_file
from comptoir.app.connectors import load_connector, own_mappings
from comptoir.app.credentials import EnvSecrets
from comptoir.app.stage import check_database, check_writing, stage_of
from comptoir.app.system import SystemClock, SystemIds, SystemRandom, SystemTransport, ThreadTasks
from comptoir.domain.accounts import AccountMap
from comptoir.engine.hub import Hub, Link, Route
from comptoir.engine.limits import BUCKET, Bucket, ConnectionGate, MemoryBucket, StoreBuckets
from comptoir.engine.paused import paused_error
from comptoir.engine.ports import Ports, Secrets
from comptoir.errors import ConfigError
from comptoir.mapping import Mapping as RecordMapping
from comptoir.mapping import load_mapping
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.sdk.http import HttpClient
from comptoir.sdk.manifest import CallBudget, Manifest
from comptoir.sdk.protocols import Company, Connector, ConnectorContext, Credentials
from comptoir.store.database import Database
from comptoir.store.limits import ConnectionStates
from comptoir.store.vault import Vault

__all__ = [
    "Installation",
    "budget_of",
    "check_installation",
    "company_of",
    "connector_of",
    "database_url",
    "gate_of",
    "home_of",
    "hub_of",
    "mapping_folders",
    "open_hub",
    "open_installation",
    "system_ports",
]


@dataclass(frozen=True, slots=True)
class Installation:
    """A configuration whose every part was checked, before anything is opened."""

    settings: Settings
    file: ConfigFile
    classes: Mapping[str, type[Connector]]
    configs: Mapping[str, Any]
    accounts: AccountMap

    @property
    def base_dir(self) -> Path:
        """Relative paths of the configuration start here."""
        return self.settings.path.parent

    @property
    def home(self) -> Path:
        """Where the installation keeps its data."""
        return home_of(self.settings.path)


def home_of(config: Path) -> Path:
    """`.comptoir` beside the configuration."""
    return config.resolve().parent / ".comptoir"


def system_ports(secrets: Secrets | None = None) -> Ports:
    """The real ports."""
    return Ports(
        clock=SystemClock(),
        ids=SystemIds(),
        random=SystemRandom(),
        tasks=ThreadTasks(),
        transport=SystemTransport(),
        secrets=secrets or EnvSecrets(os.environ),
    )


def check_installation(
    config: Path, load: Callable[[str, Path | None], type[Connector]] = load_connector
) -> Installation:
    """Reads and checks everything that needs neither database nor remote. ConfigError with file, line and key.

    `load` finds a connector's class by its key, as `load_connector` does.
    """
    settings, file = load_with_file(config)
    classes: dict[str, type[Connector]] = {}
    configs: dict[str, Any] = {}
    for name, connection in settings.connections.items():
        try:
            classes[name] = load(connection.connector, settings.path.parent)
        except ConfigError as error:
            if error.code == "declared":  # it names its own file and line
                raise
            raise file.error(("connections", name, "connector"), error.message, error.hint) from None
        configs[name] = _connector_config(file, name, classes[name], connection.own)
    manifests = {name: cls.manifest for name, cls in classes.items()}
    for name, route in settings.routes.items():
        for source in route.sources:
            if source != "hub" and not _can(manifests[source].entities.get(route.entity), "pull"):
                raise file.error(
                    ("routes", name, "from"),
                    f"{source} ({manifests[source].name}) cannot give {route.entity.value}; it gives: "
                    + _listed(manifests[source], "pull"),
                )
        for target in route.targets:
            capability = manifests[target].entities.get(route.entity)
            if not _can(capability, "push") and not _can(capability, "publishes"):
                raise file.error(
                    ("routes", name, "to"),
                    f"{target} ({manifests[target].name}) cannot take {route.entity.value}; it takes: "
                    + _listed(manifests[target], "push"),
                )
        _check_options(file, name, route, manifests)
        if route.sources == ("hub",) and route.entity is not EntityName.JOURNAL_ENTRY:
            raise file.error(
                ("routes", name, "entity"),
                f'the hub derives no {route.entity.value}; allowed with from = "hub": journal_entry',
            )
    check_booking(settings, file, manifests)
    _check_sources(settings, file, configs)
    return Installation(settings, file, classes, configs, _accounts(settings, file, manifests))


def _check_sources(settings: Settings, file: ConfigFile, configs: Mapping[str, Any]) -> None:
    """Several channels of one target must be told apart by it."""
    for target, config in configs.items():
        routes = [r for r in settings.routes.values() if target in r.targets and r.entity is EntityName.ORDER]
        try:
            config.check_sources(sorted({source for route in routes for source in route.sources}))
        except ValueError as error:
            raise file.error(("connections", target), str(error)) from None


def _can(capability: Any, verb: str) -> bool:
    return bool(capability is not None and getattr(capability, verb))


def _listed(manifest: Any, verb: str) -> str:
    able = [e for e, c in manifest.entities.items() if getattr(c, verb) or (verb == "push" and c.publishes)]
    return ", ".join(e.value for e in able) or "nothing"


#: Which options of a route belong to which entities.
_OPTIONS = {
    "match": (EntityName.ITEM, EntityName.STOCK, EntityName.CUSTOMER),
    "create": (EntityName.ITEM, EntityName.CUSTOMER),
    "fields": (EntityName.ITEM, EntityName.CUSTOMER),
    "price_list": (EntityName.ITEM,),
    "buffer": (EntityName.STOCK,),
    "locations": (EntityName.STOCK,),
    "take_over": (EntityName.STOCK,),
}


def _check_options(file: ConfigFile, name: str, route: RouteSettings, manifests: Mapping[str, Any]) -> None:
    """Options that this entity or these targets do not know."""
    for option, entities in _OPTIONS.items():
        if option in route.model_fields_set and route.entity not in entities:
            allowed = " and ".join(e.value for e in entities)
            raise file.error(
                ("routes", name, option),
                f"{option} belongs to routes of {allowed}; this one has {route.entity.value}",
            )
    for target in route.targets:
        known = manifests[target].entities[route.entity].publishes
        for field in route.fields:
            if field not in known:
                raise file.error(
                    ("routes", name, "fields"),
                    f"{target} ({manifests[target].name}) cannot keep {field!r} of {route.entity.value} up to date; "
                    f"allowed: {', '.join(known) or 'none'}",
                )


def _connector_config(file: ConfigFile, name: str, connector: type[Connector], own: dict[str, Any]) -> Any:
    try:
        return connector.config_model.model_validate(own)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = [str(part) for part in problem["loc"]]
        allowed = ", ".join([*ConnectionSettings.model_fields, *connector.config_model.model_fields])
        message = {
            "missing": "this setting is missing",
            "extra_forbidden": f"unknown setting; allowed: {allowed}",
        }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        raise file.error(("connections", name, *key), message) from None


def _accounts(settings: Settings, file: ConfigFile, manifests: Mapping[str, Manifest]) -> AccountMap:
    given = settings.accounting
    channels = [
        name
        for name, c in settings.connections.items()
        if c.invoicing in ("self", "hub") and EntityName.ORDER in manifests[name].entities
    ]
    if len(channels) == 1:
        # Nothing to tell apart: the shop's own numbers are the piece numbers.
        own = given.get("channels", {}) if isinstance(given.get("channels", {}), dict) else {}
        channel = {"piece_prefix": "", **own.get(channels[0], {})}
        given = {**given, "channels": {**own, channels[0]: channel}}
    try:
        accounts = AccountMap.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ["accounting", *(str(part) for part in problem["loc"])]
        raise file.error(key, problem["msg"].removeprefix("Value error, ")) from None
    return accounts.for_company(country=settings.company.country, currency=settings.company.currency)


@contextmanager
def open_hub(
    config: Path | str,
    *,
    ports: Ports | None = None,
    secrets: Secrets | None = None,
    connectors: Callable[[str], Connector] | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[Hub]:
    """A ready Hub: its database runs and is migrated. Closed, and the embedded server let go, at the end.

    Raises ConfigError, DatabaseUnavailable.
    """
    installation = check_installation(Path(config))
    with open_installation(installation, ports=ports, secrets=secrets, connectors=connectors, log=log) as hub:
        yield hub


@contextmanager
def open_installation(
    installation: Installation,
    *,
    ports: Ports | None = None,
    secrets: Secrets | None = None,
    connectors: Callable[[str], Connector] | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[Hub]:
    """Like `open_hub`, for a configuration that was checked already."""
    real = ports or system_ports(secrets)
    with database_url(installation.home, log) as url:
        from comptoir.store.schema import upgrade

        before = upgrade(url)
        if before is None and log is not None:
            log("The database was created.")
        # A lease that is lost with the machine costs a second's calls at most.
        database, limits = Database(url), Database(url, durable=False)
        try:
            check_database(database, stage_of(installation.base_dir))
            yield hub_of(installation, real, database, StoreBuckets(limits, real.tasks), connectors)
        finally:
            database.close()
            limits.close()


@contextmanager
def database_url(home: Path, log: Callable[[str], None] | None = None) -> Iterator[str]:
    """The URL of the store: COMPTOIR_DATABASE_URL, else the embedded server, held for the block."""
    url = os.environ.get("COMPTOIR_DATABASE_URL")
    if url:
        yield url
        return
    from comptoir.store.embedded import EmbeddedServer

    if log is not None and not (home / "pg").exists():
        log("Preparing the embedded PostgreSQL (first use only) ...")
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        yield server.url("comptoir")


def hub_of(
    installation: Installation,
    ports: Ports,
    database: Database,
    buckets: StoreBuckets,
    connectors: Callable[[str], Connector] | None,
) -> Hub:
    """The hub of an installation on these ports and this database, which the caller closes."""
    settings = installation.settings
    company = company_of(installation)
    stage = stage_of(installation.base_dir)
    opened: dict[str, Connector] = {}
    gates: dict[str, ConnectionGate] = {}

    def opener(name: str) -> Callable[[], Connector]:
        def open_connector() -> Connector:
            # Asked each time: another process may have paused it, or was asked to leave the remote alone, meanwhile.
            with database.errors():
                pause, blocked = ConnectionStates(database.session()).opened(name, BUCKET)
            if pause is not None:
                raise paused_error(pause)
            if name not in opened:
                gates[name] = gate_of(installation, name, ports, buckets.of(name))
                opened[name] = (
                    connectors(name)
                    if connectors is not None
                    else connector_of(installation, name, company, ports, gates[name])
                )
            gates[name].known_pause(blocked)
            return opened[name]

        return open_connector

    def closer(name: str) -> Callable[[float], AbstractContextManager[None]]:
        def until(moment: float) -> AbstractContextManager[None]:
            return gates[name].until(moment)  # made when the connector was opened

        return until

    links = {}
    for name, connection in settings.connections.items():
        config = installation.configs[name]
        links[name] = Link(
            name=name,
            manifest=_configured(installation, name),
            settings=config.model_dump(),
            cutover=connection.cutover,
            invoicing=connection.invoicing,
            open=opener(name),
            may_write=partial(check_writing, stage, name, ports.secrets),
            until=closer(name),
        )
    routes = {
        name: Route(
            name,
            r.entity,
            r.sources,
            r.targets,
            r.schedule,
            r.triggers,
            r.match,
            r.create,
            r.fields,
            r.price_list,
            r.buffer,
            r.locations,
            r.take_over,
        )
        for name, r in settings.routes.items()
    }
    folders = mapping_folders(installation)

    def load(platform: str, entity: EntityName, direction: str) -> RecordMapping:
        return load_mapping(platform, entity.value, direction, folders)

    home = installation.home
    return Hub(
        ports=ports,
        database=database,
        vault=Vault.open(home, os.environ.get("COMPTOIR_RAW_KEY"), ports.random.bytes),
        company=company,
        links=links,
        routes=routes,
        accounts=installation.accounts,
        load_mapping=load,
        gateway_url=settings.gateway.url,
    )


def company_of(installation: Installation) -> Company:
    """The merchant as connectors see him."""
    company = installation.settings.company
    return Company(
        name=company.name,
        country=company.country,
        currency=company.currency,
        siren=company.siren,
        time_zone=company.zone,
    )


def mapping_folders(installation: Installation) -> list[Path]:
    """Where mappings are looked for: the merchant's, the repository's, then the connectors' own packages."""
    own = sorted({own_mappings(cls) for cls in installation.classes.values()})
    return [installation.base_dir / "mappings", mappings_dir(), *own]


def _configured(installation: Installation, name: str) -> Manifest:
    """The manifest with what the configuration says otherwise."""
    manifest, config = installation.classes[name].manifest, installation.configs[name]
    given = installation.settings.connections[name].requests_in_flight
    if hasattr(config, "pages_in_flight"):
        manifest = manifest.model_copy(update={"pages_in_flight": config.pages_in_flight})
    return manifest if given is None else manifest.model_copy(update={"requests_in_flight": given})


def budget_of(installation: Installation, name: str) -> CallBudget | None:
    """How often a connection may be called: what the configuration says, else its connector; None: no bound."""
    budget = installation.classes[name].manifest.budget
    given = installation.settings.connections[name].calls_per_minute
    if given is None:
        return budget
    return CallBudget.model_validate({"calls_per_minute": given}) if budget is None else budget.at(given)


def gate_of(installation: Installation, name: str, ports: Ports, bucket: Bucket | None = None) -> ConnectionGate:
    """The gate of a connection; without a shared bucket, with one of this process."""
    manifest = _configured(installation, name)
    given = installation.settings.connections[name].requests_in_flight
    return ConnectionGate(
        name,
        clock=ports.clock,
        tasks=ports.tasks,
        in_flight=given or max(manifest.pages_in_flight, manifest.requests_in_flight),
        budget=budget_of(installation, name),
        bucket=bucket or MemoryBucket(ports.clock),
    )


def connector_of(
    installation: Installation, name: str, company: Company, ports: Ports, gate: ConnectionGate | None = None
) -> Connector:
    """One connector with its context. Without a gate it gets one that other processes do not share."""
    credentials = ports.secrets.get(name) or Credentials()
    cls = installation.classes[name]
    context = ConnectorContext(
        connection=name,
        http=HttpClient(
            connection=name,
            transport=ports.transport,
            clock=ports.clock,
            random=ports.random,
            secrets=(credentials.password, credentials.login),
            gate=gate or gate_of(installation, name, ports),
        ),
        credentials=credentials,
        clock=ports.clock,
        random=ports.random,
        tasks=ports.tasks,
        company=company,
        base_dir=installation.base_dir,
        logger=logging.getLogger(f"comptoir.connector.{name}"),
    )
    return cls(installation.configs[name], context)
