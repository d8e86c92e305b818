"""`comptoir agent ...`: the machines beside the accounting programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

if TYPE_CHECKING:
    from comptoir.app.agents import NewToken

__all__ = ["agent_app"]

agent_app = typer.Typer(help="Machines beside Sage, EBP or Ciel that fetch and import files.", no_args_is_help=True)

Machine = Annotated[str, typer.Argument(help="The machine's name.")]
Reference = Annotated[str, typer.Argument(help="The end of a batch's id, or the name of its file.")]
Because = Annotated[str, typer.Option("--because", help="How you know: it is kept with your name.")]
Imported = Annotated[
    bool | None,
    typer.Option("--imported/--not-imported", help="Whether the program has imported it.", show_default=False),
]


@agent_app.command("add")
def agent_add(
    machine: Machine,
    connections: Annotated[
        list[str], typer.Option("--connection", help="A connection that the machine works for; several times.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Make a machine and its token, which is shown this once."""
    from comptoir.app.agents import add_agent

    _show(add_agent(STATE.config, machine, connections), as_json=as_json)


@agent_app.command("rotate")
def agent_rotate(
    machine: Machine,
    hours: Annotated[float, typer.Option(help="How long the old token still holds.", min=0, max=24 * 14)] = 24.0,
    new_machine: Annotated[
        bool, typer.Option("--new-machine", help="Another computer, or a lost state folder: the old token ends now.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Give a machine a new token, which is shown this once."""
    from comptoir.app.agents import rotate_agent

    _show(rotate_agent(STATE.config, machine, hours=hours, new_machine=new_machine), as_json=as_json)


@agent_app.command("revoke")
def agent_revoke(machine: Machine) -> None:
    """End a machine's tokens at once."""
    from comptoir.app.agents import revoke_agent

    held = revoke_agent(STATE.config, machine)
    say(f"{machine} is not let in any more.")
    for batch in held:
        say(f"It holds the batch {str(batch.batch)[-8:]} for {batch.target} ({batch.state}): comptoir todo")


@agent_app.command("list")
def agent_list(as_json: JsonFlag = False) -> None:
    """Every machine: what it works for, when it was seen, what troubles it."""
    from comptoir.app.agents import list_agents

    found = list_agents(STATE.config)
    if as_json:
        print_json([{k: v for k, v in asdict(row).items() if not k.endswith("_hash")} for row in found])
        return
    if not found:
        say("There is no machine. Make one: comptoir agent add NAME --connection CONNECTION")
        return
    table(
        ["machine", "connections", "seen", "version", "state", "troubles"],
        [
            (
                row.name,
                ", ".join(row.connections),
                f"{row.seen_at:%Y-%m-%d %H:%M}" if row.seen_at else "never",
                row.version,
                "revoked" if row.revoked_at else "",
                "\n".join(row.troubles),
            )
            for row in found
        ],
    )


@agent_app.command("show")
def agent_show(machine: Machine) -> None:
    """Everything known of one machine, with its newest batches."""
    from comptoir.app.agents import show_agent

    print_json(show_agent(STATE.config, machine))


@agent_app.command("settle")
def agent_settle(reference: Reference, because: Because, imported: Imported = None) -> None:
    """Say how an import ended that nobody knows the end of; the machine goes on accordingly."""
    from comptoir.app.agents import settle_batch

    batch = settle_batch(STATE.config, reference, imported=_said(imported), because=because)
    say(f"{batch.agent} hears it with its next question: {'it is imported' if imported else 'it is imported again'}.")


@agent_app.command("release")
def agent_release(reference: Reference, because: Because, imported: Imported = None) -> None:
    """Take a batch from a machine that is gone (revoked, or a new program under its name)."""
    from comptoir.app.agents import release_batch

    batch = release_batch(STATE.config, reference, imported=_said(imported), because=because)
    say(f"The batch for {batch.target} {'counts as imported' if imported else 'may be fetched by another machine'}.")


def _said(imported: bool | None) -> bool:
    if imported is None:
        raise typer.BadParameter("say which it is: --imported or --not-imported")
    return imported


def _show(new: NewToken, *, as_json: bool) -> None:
    """The token is the result, so it goes to standard output."""
    if as_json:
        print_json(asdict(new))
        return
    print(f"The token of {new.machine}, shown this once:\n\n  {new.token}\n")
    print("agent.toml, to begin with (docs/agent.md):\n")
    print(f'hub = "{new.hub or "https://ADDRESS-OF-THE-GATEWAY"}"\ntoken_file = "token"')
    for connection in new.connections:
        print(f"\n[connections.{connection}]\nfolder = 'C:\\Comptoir\\{connection}'")
