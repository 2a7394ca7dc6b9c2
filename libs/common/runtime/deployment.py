"""`espace secrets`: every secret of a deployment, once, as the files that `docker-compose.yml` hands out.

Each service is given its own and no other's. Files that exist are kept: running it again adds what a new version
needs and changes nothing that runs.
"""

from pathlib import Path

import rich_click as click

from libs.common.database.roles import KINDS
from libs.common.runtime import embedded_nats
from libs.common.runtime.child_process import StartRefused
from libs.common.runtime.cli import json_option, print_json
from libs.common.runtime.generated import client_key, random_key, random_password, write_private
from services.registry import SERVICES


@click.command("secrets")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--database", default="postgres:5432/espace", show_default=True, help="Hôte, port et nom de la base."
)
@json_option
def make_secrets(folder: Path, database: str, as_json: bool) -> None:
    """Générer dans FOLDER les secrets d'un déploiement ; ce qui existe est gardé."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise StartRefused(f"Le dossier {folder} ne s'ouvre pas en écriture ({error.strerror}).") from error
    made = [name for name, text in deployment_secrets(folder, database).items() if _keep(folder / name, text)]
    if as_json:
        print_json({"folder": str(folder), "made": made})
    else:
        click.echo(f"{len(made)} fichiers écrits dans {folder}." if made else f"{folder} était complet.")


def deployment_secrets(folder: Path, database: str) -> dict[str, str]:
    """File name → content; derived files agree with the passwords that `folder` already holds."""

    def password(name: str) -> str:
        path = folder / name
        return path.read_text("utf-8").strip() if path.exists() else random_password()

    admin = password("postgres-password")
    files = {
        "postgres-password": admin,
        "admin-dsn": f"postgresql://postgres:{admin}@{database}",
        "key-encryption-key": random_key(),
    }
    users = {user: password(f"nats-{user}") for user in embedded_nats.new_passwords()}
    files |= {f"nats-{user}": secret for user, secret in users.items()}
    files["nats.conf"] = embedded_nats.configuration_text(
        Path("/data"), embedded_nats.NatsServer(4222, 8222, users), listen="0.0.0.0"
    )
    for service in SERVICES:
        for kind in KINDS:
            role = f"{service.name}_{kind}"
            files[f"{service.name}-{kind}-dsn"] = f"postgresql://{role}:{random_password()}@{database}"
        files[f"{service.name}-client-key"] = client_key()
    return files


def _keep(path: Path, text: str) -> bool:
    if path.exists():
        return False
    write_private(path, text)
    # Compose mounts the file as it is, for a user of the container that the host does not know: the folder, closed
    # to all but its owner, is what protects it here.
    path.chmod(0o444)
    return True
