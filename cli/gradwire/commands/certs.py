"""`gradwire certs`: makes, checks and takes back the certificates of a run's server, workers, observers and admins."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gradwire.help import PlainApp

app = PlainApp(help="Make, check and revoke certificates, so that only those you name can call a server.")

Certs = Annotated[Path, typer.Option(metavar="DIR", help="folder of the authority and the kits that it made")]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", help="worker, observer or admin")]
Days = Annotated[int | None, typer.Option(metavar="INT", help="days that the certificate is valid for")]


@app.command()
def init(
    host: Annotated[list[str], typer.Option(metavar="HOST", help="name or number that the server is called by")],
    certs: Certs = Path("certs"),
) -> None:
    """Make an authority, and the kits of a server and of an admin."""
    from gradwire_common.identity import kits

    authority, *made = kits.init(certs, host, _now())
    print(f"{authority}: the authority; its key makes certificates, so it stays here, where you issue them")
    for kit in made:
        print(f"{kit}: a kit, to copy to the {kit.name}'s machine")


@app.command()
def issue(
    role: RoleName,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="names; a worker's is its worker id")],
    certs: Certs = Path("certs"),
    days: Days = None,
    renew: Annotated[bool, typer.Option("--renew", help="put another certificate into a kit that is there")] = False,
) -> None:
    """Make kits, and let those that they are for call the server; `issue server HOST` renews the server's."""
    from gradwire_common.identity import kits
    from gradwire_common.identity.names import Identity

    if role == kits.SERVER_FOLDER:
        print(f"{kits.renew_server(certs, names, _now(), days)}: has another certificate")
        return
    for identity in [Identity.parse(role, name) for name in names]:
        print(f"{kits.issue(certs, identity, _now(), days, renew=renew)}: the kit of {identity}")
    print(f"{certs / kits.SERVER_FOLDER}/allowed.txt has them now; copy it to the server's machine if that is another")


@app.command()
def revoke(
    role: RoleName,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="names")],
    certs: Annotated[
        Path, typer.Option(metavar="DIR", help="folder of the kits, the server's kit, or a file of tokens")
    ] = Path("certs"),
) -> None:
    """Let somebody call the server no more, with any certificate that was issued so far."""
    from gradwire_common.identity import kits
    from gradwire_common.identity.names import Identity

    for identity in [Identity.parse(role, name) for name in names]:
        print(f"{kits.revoke(certs, identity)}: {identity} may call no more")


@app.command()
def token(
    role: RoleName,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="names; a worker's is its worker id")],
    tokens: Annotated[Path, typer.Option(metavar="FILE", help="the server's file of hashes")] = Path("tokens.txt"),
) -> None:
    """Make tokens, NAME.token each, for a server behind a proxy that ends TLS: `gradwire server --tokens FILE`."""
    from gradwire_common.identity.names import Identity
    from gradwire_common.identity.tokens import issue_token

    for identity in [Identity.parse(role, name) for name in names]:
        issue_token(identity, Path(f"{identity.name}.token"), tokens)
        print(f"{identity.name}.token: the token of {identity}; {tokens} has its hash")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a kit: a worker's, an admin's, the server's ...")],
    address: Annotated[
        str | None, typer.Argument(metavar="[HOST[:PORT]]", help="server to try a handshake with")
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="that the server of this kit is called by")] = None,
) -> None:
    """Say who a kit is of and until when it is valid; or which of its files is wrong, and why."""
    from gradwire.commands.checked_kit import check_kit

    print(check_kit(folder, address, host, _now()))


def _now() -> datetime:
    return datetime.now(UTC)
