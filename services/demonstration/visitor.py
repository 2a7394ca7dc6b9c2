"""A visitor without a browser: follows links, fills forms, keeps cookies; sees only what a person is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar, DefaultCookiePolicy
from http.cookies import SimpleCookie
from ssl import SSLContext
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

MOST_REDIRECTS = 12
SILENT = frozenset({"style", "script", "head", "template"})
BLOCKS = frozenset(
    {"p", "li", "dt", "dd", "tr", "div", "h1", "h2", "h3", "h4", "section", "label", "legend", "td", "th"}
)


class NotAsShown(Exception):
    """The page lacks what a visitor was told to find there; the message says what and where."""


@dataclass
class ShownForm:
    """A form as shown: where it goes and what it holds before anyone types."""

    id: str
    action: str
    method: str
    fields: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    choices: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The values offered by radio buttons, boxes and lists, by field name."""
    buttons: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    names: set[str] = field(default_factory=set[str])


@dataclass
class Page:
    """What came back: its address after redirects, its text and its forms."""

    url: str
    status: int
    title: str
    text: str
    forms: list[ShownForm]
    links: list[tuple[str, str]]
    """(address, words) of each link, in order."""

    def form_with(self, *names: str) -> ShownForm:
        """The first form that has all these fields. Raises `NotAsShown`."""
        for form in self.forms:
            if form.names.issuperset(names):
                return form
        shown = [sorted(form.names) for form in self.forms]
        raise NotAsShown(
            f"no form with {names} at {self.url} ({self.status} « {self.title} »); shown: {shown}"
        )

    def form_to(self, ending: str) -> ShownForm:
        """The first form whose address ends so. Raises `NotAsShown`."""
        for form in self.forms:
            if urlsplit(form.action).path.endswith(ending):
                return form
        shown = [form.action for form in self.forms]
        raise NotAsShown(
            f"no form to …{ending} at {self.url} ({self.status} « {self.title} »); shown: {shown}"
        )

    def link(self, words: str) -> str:
        """The address of the first link that says `words`. Raises `NotAsShown`."""
        for address, said in self.links:
            if words.casefold() in said.casefold():
                return address
        raise NotAsShown(f"no link « {words} » at {self.url}; shown: {[said for _, said in self.links]}")

    def says(self, words: str) -> bool:
        """Whether the visible text holds `words`, whatever the spaces and the case."""
        return _plain(words) in _plain(self.text)


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.url, self.title, self.words = url, "", list[str]()
        self.forms: list[ShownForm] = []
        self.links: list[tuple[str, str]] = []
        self._form: ShownForm | None = None
        self._silent, self._in_title, self._link = 0, False, ""
        self._link_words: list[str] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in BLOCKS:
            self.words.append("\n")
        if tag == "title" and not self.title:
            self._in_title = True
        elif tag in SILENT:
            self._silent += 1
        elif tag == "a" and "href" in given:
            self._link, self._link_words = urljoin(self.url, given["href"]), []
        elif tag == "form":
            self._form = ShownForm(
                given.get("id", ""),
                urljoin(self.url, given.get("action") or self.url),
                given.get("method", "get"),
            )
            self.forms.append(self._form)
        elif self._form is not None:
            self._handle_field(self._form, tag, given)

    def _handle_field(self, form: ShownForm, tag: str, given: dict[str, str]) -> None:
        name = given.get("name", "")
        kind = given.get("type", "text" if tag == "input" else tag)
        if tag == "option" and self._select:
            form.choices.setdefault(self._select, []).append(given.get("value", ""))
            if "selected" in given or self._select not in form.fields:
                form.fields[self._select] = [given.get("value", "")]
        elif tag == "button" and name:
            form.buttons.append((name, given.get("value", "")))
        elif tag in {"input", "textarea", "select"} and name:
            form.names.add(name)
            if tag == "select":
                self._select = name
            elif kind in {"radio", "checkbox"}:
                form.choices.setdefault(name, []).append(given.get("value", "on"))
                if "checked" in given:
                    form.fields.setdefault(name, []).append(given.get("value", "on"))
            else:
                form.fields[name] = [given.get("value", "")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "a" and self._link:
            self.links.append((self._link, " ".join("".join(self._link_words).split())))
            self._link = ""
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data.strip()
        elif not self._silent:
            self.words.append(data)
            if self._link:
                self._link_words.append(data)


def read_page(url: str, status: int, html: str) -> Page:
    reader = _Reader(url)
    reader.feed(html)
    lines = (" ".join(line.split()) for line in "".join(reader.words).splitlines())
    text = "\n".join(line for line in lines if line)
    return Page(url, status, reader.title, text, reader.forms, reader.links)


def _plain(words: str) -> str:
    return " ".join(words.replace("\u202f", " ").replace("\u00a0", " ").replace("’", "'").split()).casefold()


class Visitor:
    """One person at one browser."""

    def __init__(self, *, tls: SSLContext | bool = True, timeout: float = 15.0, stop_at: str = "") -> None:
        """`stop_at` is an address (or its beginning) that is never fetched: a redirect there ends the walk."""
        self._stop_at = stop_at
        # Cookies are kept here: as browsers do, loopback counts as secure, so that
        # `Secure` cookies come back over plain http, which http.cookiejar never allows.
        self._cookies: dict[str, dict[str, str]] = {}
        nowhere = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(
            cookies=nowhere, verify=tls, timeout=timeout, follow_redirects=False, trust_env=False,
            headers={"Accept": "text/html", "Accept-Language": "fr", "User-Agent": "espace-story"},
        )  # fmt: skip

    async def __aenter__(self) -> "Visitor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def open(self, url: str) -> Page:
        """Follow `url` and its redirects to a page."""
        return await self._follow(await self._send("GET", url, headers={"Sec-Fetch-Site": "none"}))

    async def fill(
        self,
        page: Page,
        form: ShownForm,
        typed: Mapping[str, str | list[str]],
        *,
        button: tuple[str, str] | None = None,
    ) -> Page:
        """Submit `form` with what the page prefilled, then `typed` over it."""
        unknown = [name for name in typed if name not in form.names]
        if unknown:
            raise NotAsShown(f"no field {unknown} in the form at {page.url}; shown: {sorted(form.names)}")
        values = {**form.fields, **{name: [v] if isinstance(v, str) else v for name, v in typed.items()}}
        if button is not None:
            values[button[0]] = [button[1]]
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        if form.method.lower() == "get":
            return await self._follow(await self._send("GET", form.action, params=values, headers=headers))
        return await self._follow(await self._send("POST", form.action, data=values, headers=headers))

    async def _send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, **content: Any
    ) -> httpx.Response:
        kept = self._cookies.setdefault(urlsplit(url).hostname or "", {})
        sent = dict(headers or {})
        if kept:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        response = await self._client.request(method, url, headers=sent, **content)
        for line in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    kept.pop(name, None)
                else:
                    kept[name] = morsel.value
        return response

    async def _follow(self, response: httpx.Response) -> Page:
        for _ in range(MOST_REDIRECTS):
            if not response.is_redirect:
                return read_page(str(response.url), response.status_code, response.text)
            target = urljoin(str(response.url), response.headers["location"])
            if self._stop_at and target.startswith(self._stop_at):
                return Page(target, response.status_code, "", "", [], [])
            response = await self._send("GET", target)
        raise NotAsShown(
            f"more than {MOST_REDIRECTS} redirects, the last to {response.headers.get('location')}"
        )
