"""The services and the commands of Espace, by name: what exists is read here and nowhere else.

Entry points are written `module:attribute` and imported when used, so that `espace --help` loads no service and a
service loads no other.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Service(NamedTuple):
    """One deployable: its application, its worker, its place above the base port."""

    name: str
    port_offset: int
    app: str
    """`create_app(settings) -> Litestar`"""
    work: str | None
    """`async work(settings, stop) -> None`; None when the service only answers."""
    urgent: str | None = None
    """The same, for the part of the work that the rest must never keep waiting: a process of its own."""

    @property
    def migrations(self) -> Path:
        return ROOT / "services" / self.name / "migrations"


class CommandRow(NamedTuple):
    """One noun of the command line; `says` is its line in `espace --help`."""

    name: str
    command: str
    says: str
    is_hidden: bool = False


SERVICES: tuple[Service, ...] = (
    Service("portal", 0, "services.portal.app:create_app", None),
    Service(
        "identity",
        1,
        "services.identity.app:create_app",
        "services.identity.work:work",
        "services.identity.urgent_work:work",
    ),
    Service("adherent", 2, "services.adherent.app:create_app", "services.adherent.work:work"),
    Service("documents", 3, "services.documents.app:create_app", "services.documents.work:work"),
)

ROOT_KEY_PROOF = "services.identity.signing_keys.root_key_proof:prove_root_key"
"""`async prove(db, keys) -> None` for `espace doctor`: whether the root key opens what is sealed."""

COMMANDS: tuple[CommandRow, ...] = (
    CommandRow("up", "libs.common.runtime.up:up", "Tout démarrer sur cette machine, avec la démonstration."),
    CommandRow("serve", "libs.common.runtime.serve:serve", "Servir une application en HTTP."),
    CommandRow("work", "libs.common.runtime.work:work", "Faire le travail de fond d'un service."),
    CommandRow("migrate", "libs.common.runtime.migrate:migrate_all", "Mettre les schémas de la base à jour."),
    CommandRow("doctor", "libs.common.runtime.doctor:doctor", "Examiner cette installation."),
    CommandRow("facts", "libs.common.runtime.facts:facts", "Faits mis de côté : lister, relire."),
    CommandRow("story", "services.demonstration.story:story", "Jouer le parcours de la plaquette."),
    CommandRow("caisse", "services.caisse_opening.commands:caisse", "Caisses : ouvrir, connecter, lister."),
    CommandRow(
        "import",
        "services.legacy_import.commands:import_",
        "Importer l'export d'un ancien logiciel.",
    ),
    CommandRow("letters", "services.identity.letters.commands:letters", "Lettres : lots, réémission."),
    CommandRow(
        "client", "services.identity.openid.commands:client", "Clients OpenID : ajouter, lister, examiner."
    ),
    CommandRow(
        "person", "services.identity.sign_in.commands:person", "Personnes : examiner, suspendre, rétablir."
    ),
    CommandRow(
        "keys",
        "services.identity.signing_keys.commands:keys",
        "Clés : lister, renouveler, révoquer, envelopper.",
    ),
    CommandRow(
        "attestation", "services.documents.attestations.commands:attestation", "Attestations : vérifier."
    ),
    CommandRow(
        "secrets", "libs.common.runtime.deployment:make_secrets", "Générer les secrets d'un déploiement."
    ),
    CommandRow(
        "mail-catcher", "libs.common.runtime.mail_catcher.app:mail_catcher", "Recevoir les mails.", True
    ),
    CommandRow(
        "demonstration", "libs.common.runtime.demonstration:demonstration", "Préparer la démonstration.", True
    ),
)


class NotInstalled(LookupError):
    """The registry names an entry point whose module is not in this distribution."""


def service_named(name: str) -> Service:
    """The service `name`. Raises `LookupError` naming those that exist."""
    for service in SERVICES:
        if service.name == name:
            return service
    known = ", ".join(service.name for service in SERVICES)
    raise LookupError(f"Aucun service ne s'appelle « {name} » (services : {known}).")


def entry_point(path: str) -> Any:
    """Import `module:attribute`. Raises `NotInstalled` when that very module is absent, no other import error."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise NotInstalled(f"{module} ne fait pas partie de cette installation d'Espace.") from error
        raise
