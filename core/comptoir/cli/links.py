"""`comptoir match ...` and `comptoir plan`: which record is which, and what would be written."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["match_app", "plan"]

match_app = typer.Typer(
    help="Records that exist on both sides: review what is the same, say what is to be made.", no_args_is_help=True
)

Reference = Annotated[str, typer.Argument(help="The proposal's id (its end is enough), a SKU or an external id.")]
Target = Annotated[str | None, typer.Option("--target", help="Only this connection.")]


@match_app.command("list")
def match_list(
    target: Target = None,
    linked: Annotated[bool, typer.Option("--linked", help="Links that stand, instead of what waits.")] = False,
    limit: Annotated[int, typer.Option(help="How many lines.", min=1)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """What waits for review: proposals with their evidence, and records without match."""
    from comptoir.app.links import list_links, row

    states = ("linked",) if linked else ("suggested", "unmatched")
    found = list_links(STATE.config, states=states, target=target, limit=limit)
    if as_json:
        print_json([row(link) for link in found])
        return
    table(
        ["id", "from", "record", "to", "perhaps", "score", "because"],
        [
            (
                str(link.id)[-8:],
                link.source,
                f"{link.source_key} {link.source_name}",
                link.target,
                f"{link.target_key} {link.target_name}" if link.target_key else "(no match)",
                f"{link.score:.2f}" if link.target_key else "",
                ", ".join(link.evidence) + (f" - {link.note}" if link.note else ""),
            )
            for link in found
        ],
    )
    if not linked:
        say("comptoir match accept REF | reject REF | create REF | link ROUTE SOURCE TARGET")


@match_app.command("accept")
def match_accept(
    reference: Annotated[str | None, typer.Argument(help="The proposal's id, a SKU or an external id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every proposal that nothing else contradicts.")] = False,
    at_least: Annotated[float, typer.Option(help="With --all: the least score.", min=0, max=1)] = 0.7,
    target: Target = None,
) -> None:
    """Say that two records are the same."""
    from comptoir.app.links import accept, accept_all

    if (reference is None) == (not everything):
        raise typer.BadParameter("name a proposal, or use --all")
    if reference is not None:
        say(accept(STATE.config, reference))
    else:
        say(f"{accept_all(STATE.config, target, at_least)} proposals accepted.")


@match_app.command("reject")
def match_reject(reference: Reference) -> None:
    """Say that two records are not the same; undoes a link."""
    from comptoir.app.links import reject

    say(reject(STATE.config, reference))


@match_app.command("link")
def match_link(
    route: Annotated[str, typer.Argument(help="The route between the two.")],
    source: Annotated[str, typer.Argument(help="SKU or external id at the source.")],
    target: Annotated[str, typer.Argument(help="SKU or external id at the target.")],
) -> None:
    """Link two records that nothing proposed."""
    from comptoir.app.links import link

    say(link(STATE.config, route, source, target))


@match_app.command("create")
def match_create(
    reference: Annotated[str | None, typer.Argument(help="The record's id, SKU or external id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything without match.")] = False,
    target: Target = None,
) -> None:
    """Approve that records without match are made at the target."""
    from comptoir.app.links import create

    count = create(STATE.config, reference, everything=everything, target=target)
    say(f"{count} queued; they are made by the next run.")


def plan(
    route: Annotated[str, typer.Argument(help="The route's name in comptoir.toml.")],
    limit: Annotated[int, typer.Option(help="How many lines.", min=1)] = 200,
    as_json: JsonFlag = False,
) -> None:
    """Show what a route would write: each value as it is and as it will be."""
    from comptoir.app.links import show_plan

    lines = show_plan(STATE.config, route, limit=limit)
    if as_json:
        print_json(lines)
        return
    table(
        ["to", "record", "state", "change", "why it waits"],
        [
            (
                line["target"],
                line["record"],
                line["state"],
                "\n".join(f"{key}: {_shown(a)} -> {_shown(b)}" for key, (a, b) in line["changes"].items()),
                line["reason"],
            )
            for line in lines
        ],
    )
    if any(line["state"] == "held" for line in lines):
        say(f"Approve it: comptoir deliver {route} --approve")


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
