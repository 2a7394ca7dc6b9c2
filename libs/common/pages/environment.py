"""One way to make a page: strict templates, both languages, the caisse's colours.

Docs: docs/reference/design-system.md.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from litestar.enums import MediaType
from litestar.types import Scope
from markupsafe import Markup

from libs.common.http import csrf
from libs.common.http.problems import Problem, retry_after
from libs.common.pages.brand import DEFAULT_COLOUR, Brand
from libs.common.pages.formats import Language, filters
from libs.common.pages.language import LANGUAGES, choose_language, read_catalogues
from libs.common.pages.static_files import static_url, theme_url
from libs.common.values.sentence import said

UI_LOCALES = "espace.ui_locales"

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"

PLATFORM = Brand(slug="", name="Espace sécurisé", colour=DEFAULT_COLOUR)
"""The brand of a page that belongs to no caisse: the list of caisses, a lost address."""


class Pages:
    """The templates of one service over those of the design system.

    `template_dirs` are searched in order, then the common templates. English sentences come from
    `catalogues/en.po` beside each template folder. `site` is the portal's base address, where the footer's
    pages (help, accessibility, legal notice, privacy) live.
    """

    def __init__(self, template_dirs: Sequence[Path] | Path = (), *, site: str = "") -> None:
        own = [template_dirs] if isinstance(template_dirs, Path) else list(template_dirs)
        folders = [*own, TEMPLATES]
        catalogues = read_catalogues([folder.parent / "catalogues" for folder in folders])
        self._brands: dict[str, Brand] = {}
        self._environments: dict[Language, Environment] = {
            language: _environment(folders, language, catalogues[language], site) for language in LANGUAGES
        }

    def html(self, name: str, *, language: Language = "fr", brand: Brand | None = None, **values: Any) -> str:
        """The page as text. A name the template needs and nobody gave is an error, never a blank."""
        known: dict[str, Any] = {
            "language": language,
            "brand": brand or PLATFORM,
            "csrf_field": "",
            "errors": {},
            "alarm": False,
        }
        return self._environments[language].get_template(name).render({**known, **values})

    def render(
        self,
        name: str,
        request: Request[Any, Any, Any],
        *,
        brand: Brand | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response[str]:
        """The page as an answer, never cached, in the reader's language.

        The template sees `brand`, `language`, `csrf_field` (a hidden input for every form), `errors`
        (field id → sentence, empty unless given) and `values`.
        """
        if brand is not None:
            self.know(brand)
        language = language_of(request)
        values.setdefault("csrf_field", Markup(csrf.field(request)))
        text = self.html(name, language=language, brand=brand, **values)
        return Response(
            text,
            status_code=status_code,
            media_type=MediaType.HTML,
            headers={
                "Cache-Control": "no-store",
                "Content-Language": language,
                **retry_after(status_code),
                **(headers or {}),
            },
        )

    def problem_page(self, request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
        """A refusal as a page: what happened and the way out. Given to `build_application`.

        Whatever failed, the database included, it is dressed as the caisse of the address is: from what is known of it
        in this process.
        """
        slug = request.url.path[1:].partition("/")[0]
        brand = self._brands.get(slug)
        return self.render("problem.html", request, brand=brand, status_code=problem.status, problem=problem)

    def know(self, brand: Brand) -> None:
        """Keep the look of a caisse, for the pages that cannot ask for it."""
        if brand.slug:
            self._brands[brand.slug] = brand


def language_of(request: Request[Any, Any, Any]) -> Language:
    """The reader's language, else French: `ui_locales` of this very address, then of `speak`, then Accept-Language."""
    wished = (request.query_params.get("ui_locales"), request.scope["state"].get(UI_LOCALES))
    return choose_language(" ".join(filter(None, wished)), request.headers.get("accept-language"))


def speak(scope: Scope, ui_locales: str | None) -> None:
    """The languages in which a client wants its people spoken to (OpenID Connect Core §3.1.2.1), for this answer.

    What a person chooses by the address comes before them, and what their browser says after.
    """
    scope["state"][UI_LOCALES] = ui_locales


def _environment(folders: Sequence[Path], language: Language, catalogue: Any, site: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(filters(language))
    environment.filters["told"] = partial(said, gettext=catalogue.gettext)
    known = cast(dict[str, Any], environment.globals)
    known |= {"static_url": static_url, "theme_url": theme_url, "site": site.rstrip("/")}
    known["ui"] = _macros(environment)
    return environment


def _macros(environment: Environment) -> SimpleNamespace:
    """Every macro of the design system, so that a template writes `ui.text_field(…)` without importing."""
    found: dict[str, Any] = {}
    for name in ("forms", "messages", "content"):
        module = environment.get_template(f"macros/{name}.html").module
        found |= {macro: getattr(module, macro) for macro in dir(module) if not macro.startswith("_")}
    return SimpleNamespace(**found)
