"""Edits of the repository's files for a new service, for `make new` and `make remove`.

Each edit inserts text above a marked line, or a name into a list, and can be undone. Blocks are
enclosed in comments with the service's name, so they can be changed by hand and still be removed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.common import catalog, versions
from tools.common.catalog import Service
from tools.common.environments import Refused

TEMPLATE = Path(__file__).resolve().parent / "template"
SNIPPETS = TEMPLATE.with_name("snippets")
# The name, prefix and port in the template.
NAME, PREFIX, PORT = "hello", "HELLO", "8081"

# The limits of what the template becomes, with room to grow.
COMPOSE_MEMORY_MIB, IMAGE_MEGABYTES, RESIDENT_MIB = 32, 1.3, 4
# The smallest task on Fargate.
TASK_CPU, TASK_MEMORY_MIB = 256, 512
ROUTE_OPTIONS = "check=/healthz"


@dataclass(frozen=True)
class Edit:
    """One change of one file, and its inverse."""

    path: str
    add: Callable[[str], str]
    remove: Callable[[str], str]


def new_service(name: str, port: int) -> Service:
    """The declaration of a service made from the template."""
    return Service(
        name=name,
        crate=f"services/{name}",
        port=port,
        health="/readyz",
        public=False,
        page=False,
        route=f"/{name}",
        address_setting=None,
        route_options=ROUTE_OPTIONS,
        compose_memory_mib=COMPOSE_MEMORY_MIB,
        task_cpu=TASK_CPU,
        task_memory_mib=TASK_MEMORY_MIB,
        image_megabytes=IMAGE_MEGABYTES,
        resident_mib=RESIDENT_MIB,
        inputs=(),
    )


def crate(service: Service) -> dict[str, str]:
    """The files of the service's package, by path below the root of the repository."""
    files = (file for file in sorted(TEMPLATE.rglob("*")) if file.is_file())
    return {f"{service.crate}/{file.relative_to(TEMPLATE)}": filled(file, service) for file in files}


def filled(file: Path, service: Service) -> str:
    """A file of the template, or of what is inserted into other files, for the service."""
    names = {NAME: service.name, PREFIX: service.prefix, PORT: str(service.port)}
    return re.sub("|".join(names), lambda match: names[match.group()], file.read_text(encoding="utf-8"))


def edits(service: Service, root: Path) -> list[Edit]:
    """All changes of existing files; `root` is the repository without the service, or with it."""
    name = service.name
    declared_names = tuple(catalog.read(root))
    others = tuple(service_name for service_name in declared_names if service_name != name)
    # A service that is there keeps its place.
    all_names = declared_names if name in declared_names else with_name(others, name)

    def snippet(file: str) -> str:
        return filled(SNIPPETS / file, service)

    return [
        Edit(catalog.FILE, lambda text: with_declaration(text, service), lambda text: without_declaration(text, name)),
        line("Cargo.toml", "members", f'    "{service.crate}",'),
        line("Cargo.toml", "default members", f'    "{service.crate}",'),
        cargo_lock(service, root),
        block("Dockerfile", "build stages", name, snippet("build.Dockerfile")),
        block("Dockerfile", "images", name, snippet("image.Dockerfile")),
        block("docker-compose.yaml", "services", name, snippet("service.yaml"), "  "),
        line("docker-compose.yaml", "upstreams", f"      {name}: {{ condition: service_healthy }}"),
        gateway_route("docker-compose.yaml", service),
        block("docker-compose.override.yaml", "services", name, snippet("build.yaml"), "  ", space=False),
        block("docker-compose.dev.yaml", "services", name, f"  {name}: *readable\n", "  ", space=False),
        in_lists("docker-bake.hcl", others, all_names, '"{}"', "[{}]"),
        in_lists(".github/workflows/release.yaml", others, all_names, "{}", "service: [{}]"),
        in_lists("tf/preconfigured/variables.tf", others, all_names, "{} = {{}}", "default = {{ {} }}"),
        in_lists("tf/preconfigured/README.md", others, all_names, "{} = {{}}", "`{{ {} }}`"),
        row("docs/architecture.md", "services/gateway", f"| `{service.crate}` | the service {name} |"),
        row("docs/api.md", "GET /healthz", f"| `GET {service.route}` | the response of {name} as JSON |"),
        section("docs/settings.md", "## gateway", name, snippet("settings.md")),
        changelog(service),
    ]


# Kinds of edits.


def insertion(path: str, text: str, before: str, place: str, removed: str = "", *, first: bool = False) -> Edit:
    """Text where a pattern begins, which must match once; `removed` matches it later, else the text itself."""
    position, old = re.compile(before, re.MULTILINE), re.compile(removed or re.escape(text), re.MULTILINE | re.DOTALL)

    def add(content: str) -> str:
        found = list(position.finditer(content))
        if not found or (len(found) > 1 and not first):
            raise Refused(f"{path} must have {place}")
        at = found[0].start()
        return content[:at] + text + content[at:]

    return Edit(path, add, lambda content: old.sub("", content, count=1))


def above(path: str, kind: str, text: str, removed: str) -> Edit:
    """Text above a marked line."""
    return insertion(path, text, rf"^ *{re.escape(marker(kind))}$", f"the line {marker(kind)!r} once", removed)


def block(path: str, kind: str, name: str, body: str, indent: str = "", *, space: bool = True) -> Edit:
    """A block above a marked line, between two comments with the service's name."""
    begin, end = (f"{indent}# {name} ({kind}): {word}\n" for word in ("begin", "end"))
    end += "\n" if space else ""
    return above(path, kind, begin + body + end, re.escape(begin) + ".*?" + re.escape(end))


def line(path: str, kind: str, text: str) -> Edit:
    """One line above a marked line. The marker identifies one of several such lines."""
    removed = re.escape(f"{text}\n")
    return above(path, kind, f"{text}\n", f"{removed}(?=((?!{removed}).)*{re.escape(marker(kind))})")


def marker(kind: str) -> str:
    return f"# `make new` adds {kind} above this line."


def in_lists(path: str, others: tuple[str, ...], all_names: tuple[str, ...], item: str, list_format: str) -> Edit:
    """A name in each list of all services, in the order of services.json."""

    def replaced(old: str, before: tuple[str, ...], after: tuple[str, ...]) -> str:
        expected, replacement = (
            list_format.format(", ".join(item.format(name) for name in names)) for names in (before, after)
        )
        if expected not in old:
            raise Refused(f"{path} must contain the list of all services: {expected}")
        return old.replace(expected, replacement)

    return Edit(path, lambda old: replaced(old, others, all_names), lambda old: replaced(old, all_names, others))


def with_name(listed: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The names with a new one before the last, the gateway."""
    return (*listed[:-1], name, listed[-1])


def row(path: str, anchor: str, text: str) -> Edit:
    """A row of a table, above the row whose first cell begins with the anchor."""
    anchored = rf"^\| `{re.escape(anchor)}`"
    removed = rf"^{re.escape(text[: text.index('` |') + 3])}[^\n]*\n"
    return insertion(path, f"{text}\n", anchored, f"a table with a row `{anchor}`", removed, first=True)


def section(path: str, anchor: str, name: str, text: str) -> Edit:
    """A section of a document, above the section with this heading."""
    removed = rf"^## {re.escape(name)}\n.*?(?=^## )"
    return insertion(path, f"{text}\n", f"^{anchor}$", f"the heading {anchor!r}", removed, first=True)


# What is inserted.


def with_declaration(text: str, service: Service) -> str:
    services = catalog.parse(text)
    order = with_name(tuple(services), service.name)
    return catalog.written({name: services.get(name, service) for name in order})


def without_declaration(text: str, name: str) -> str:
    services = catalog.parse(text)
    services.pop(name, None)
    return catalog.written(services)


def cargo_lock(service: Service, root: Path) -> Edit:
    """The package in Cargo.lock, as Cargo writes it, so that `--locked` builds need no network."""
    manifest = crate(service)[f"{service.crate}/Cargo.toml"]
    dependencies = sorted(re.findall(r"^([a-z0-9_-]+)(?:\.workspace| = \{ workspace)", manifest, re.MULTILINE))
    dependencies = [name for name in dependencies if name not in PACKAGE_FIELDS]
    listed = "".join(f' "{name}",\n' for name in dependencies)
    text = (
        f'[[package]]\nname = "{service.name}"\nversion = "{versions.workspace(root)}"\ndependencies = [\n{listed}]\n\n'
    )
    beginning = '[[package]]\nname = "{}"\n'

    def add(old: str) -> str:
        packages = re.findall(r'^\[\[package\]\]\nname = "(.+)"$', old, re.MULTILINE)
        for name in dependencies:
            if packages.count(name) != 1:
                raise Refused(f"Cargo.lock must have the package {name} of the template once")
        after = next((name for name in packages if name > service.name), None)
        at = len(old) if after is None else old.index(beginning.format(after))
        return old[:at] + text + old[at:] if after else f"{old}\n{text[:-1]}"

    pattern = re.compile(rf"{re.escape(beginning.format(service.name))}.*?(?:\n\n|\n\Z)", re.DOTALL)

    def remove(old: str) -> str:
        return re.sub(r"\n+\Z", "\n", pattern.sub("", old, count=1))

    return Edit("Cargo.lock", add, remove)


# Of the table [package] in the template, which Cargo.lock does not list.
PACKAGE_FIELDS = {"version", "edition", "rust-version", "license", "publish"}


def gateway_route(path: str, service: Service) -> Edit:
    """The route in the gateway's environment under Compose, before the routes of the user."""
    setting = re.compile(r"^( +GATEWAY_ROUTES: )(.*)$", re.MULTILINE)
    route = f"{service.route} {service.name}:{service.port} {service.route_options}"

    def changed(old: str, change: Callable[[list[str]], list[str]]) -> str:
        if not setting.search(old):
            raise Refused(f"{path} must set GATEWAY_ROUTES")
        return setting.sub(lambda found: found[1] + "; ".join(change(found[2].split("; "))), old, count=1)

    return Edit(
        path,
        lambda old: changed(old, lambda routes: [*routes[:-1], route, routes[-1]]),
        lambda old: changed(old, lambda routes: [entry for entry in routes if entry.split(" ")[0] != service.route]),
    )


def changelog(service: Service) -> Edit:
    """The first line of the services in the list of what is new."""
    text = f"- {service.name}: a new service that returns a greeting at `GET {service.route}`.\n"
    return insertion("CHANGELOG.md", text, r"(?<=^#### Services\n\n)", "the heading '#### Services'", first=True)


def changed(root: Path, edits_: list[Edit], *, undo: bool) -> Iterator[tuple[str, str]]:
    """The path and new text of each file that the edits change."""
    texts: dict[str, str] = {}
    for edit in reversed(edits_) if undo else edits_:
        if edit.path not in texts:
            texts[edit.path] = (root / edit.path).read_text(encoding="utf-8")
        old = texts[edit.path]
        texts[edit.path] = edit.remove(old) if undo else edit.add(old)
        if not undo and edit.remove(texts[edit.path]) != old:
            raise Refused(f"{edit.path} has text of this service already")
    yield from texts.items()
