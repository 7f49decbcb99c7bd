"""Plans, applies and reads resources in place of AWS.

A plan keeps the configuration, adds defaults, and marks as unknown what AWS would decide. An apply
replaces each unknown value by a made-up one. Made-up identifiers are digests of the configuration:
the same configuration gets the same ones in every run.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from pathlib import Path
from typing import Any

import policy
from values import UNKNOWN, Block, Object, empty, is_known, is_unknown, type_of, with_attributes

ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
# The types in tf/ by name: templates of what AWS computes (`Fields` has their values; `{digest:.8}` is the first
# eight characters), defaults, and the arguments that replace the resource when they change: `*` is all of them but
# those behind a hyphen. A type that is missing here still works, with identifiers of a general rule (`_guess`).
TYPES = json.loads((Path(__file__).parent / "data" / "aws_types.json").read_text(encoding="utf-8"))
# Attributes that name a resource or data source, the most specific first.
LABELS = ("name", "family", "bucket", "alarm_name", "domain_name", "dashboard_name", "cluster_name", "key")


class Settings:
    """The configuration of one provider block."""

    def __init__(self, config: Object | None = None) -> None:
        config = config or {}
        region = config.get("region")
        self.region = region if isinstance(region, str) else DEFAULT_REGION
        blocks = config.get("default_tags") or []
        self.default_tags: Any = (blocks[0].get("tags") or {}) if blocks and not is_unknown(blocks) else {}


class Account:
    """All resources that were seen in a state, by ARN."""

    def __init__(self) -> None:
        self._resources: dict[str, tuple[str, Object]] = {}
        self._lock = threading.Lock()

    def remember(self, kind: str, value: Object | None) -> None:
        if value and isinstance(value.get("arn"), str):
            with self._lock:
                self._resources[value["arn"]] = (kind, value)

    def forget(self, kind: str, value: Object) -> None:
        """Removes what was destroyed; revisions of task definitions stay, because AWS keeps counting them."""
        if kind != "aws_ecs_task_definition":
            with self._lock:
                self._resources.pop(value.get("arn") or "", None)

    def every(self, kind: str) -> list[Object]:
        with self._lock:
            return [value for known, value in self._resources.values() if known == kind]

    def find(self, kind: str, arn: Any) -> Object | None:
        with self._lock:
            found = self._resources.get(arn) if isinstance(arn, str) else None
        return found[1] if found and found[0] == kind else None

    def next_revision(self, family: Any) -> int:
        """Revisions of a task definition are counted for as long as the fake runs, as AWS counts them."""
        known = self.every("aws_ecs_task_definition")
        return max((value["revision"] for value in known if value["family"] == family), default=0) + 1


class Text(str):
    """A string whose parts can be named in a template, as in `{cluster:tail}`."""

    def __format__(self, part: str) -> str:
        if part == "tail":
            return self.replace(":", "/").rpartition("/")[2]
        if part == "path":
            return self.partition("/")[2]
        if part == "host":
            return self.partition("://")[2]
        return super().__format__(part)


class Fields(dict):
    """Values for templates: those of the resource, the region, the account, and digests."""

    def __missing__(self, name: str) -> Text:
        return Text("")

    @classmethod
    def of(cls, kind: str, value: Object, region: str) -> Fields:
        configured = {k: v for k, v in value.items() if v not in (None, [], {}) and is_known(v) and "tags" not in k}
        seed = json.dumps([kind, region, configured], sort_keys=True)
        digest = hashlib.sha256(seed.encode()).hexdigest()
        fields = cls({name: Text(each) for name, each in configured.items() if isinstance(each, str)})
        fields.update({name: each for name, each in configured.items() if isinstance(each, int)})
        fields.update(region=region, account=ACCOUNT, digest=digest, capitals=digest.upper())
        fields.update(number=str(int(digest, 16)), byte=1 + int(digest[:4], 16) % 250)
        fields.update(uuid=str(uuid.UUID(digest[:32])))
        return fields


def known(kind: str, part: str) -> Any:
    """A part of what aws_types.json has of a type of resource."""
    return TYPES["resources"].get(kind, {}).get(part, {})


def plan(kind: str, block: Block, proposed: Object, config: Object, settings: Settings) -> Object:
    """The planned state of a resource. `proposed` is Terraform's merge of configuration and prior state."""
    planned = dict(proposed)
    for name, default in known(kind, "defaults").items():
        if planned.get(name) is None:
            planned[name] = default
    if "region" in planned and planned["region"] is None:
        planned["region"] = settings.region
    if "tags_all" in planned and config.get("tags_all") is None:
        tags = config.get("tags") or {}
        unknown = is_unknown(tags) or is_unknown(settings.default_tags)
        planned["tags_all"] = UNKNOWN if unknown else {**settings.default_tags, **tags}
    return computed_unknown(block, planned)


def computed_unknown(block: Block, value: Object) -> Object:
    """The object with computed attributes that have no value marked as unknown."""

    def change(attribute: Any, given: Any) -> Any:
        # Values of this kind are never kept.
        if attribute.write_only:
            return None
        return UNKNOWN if attribute.computed and given is None else given

    return with_attributes(block, value, change)


def replacing(kind: str, block: Block) -> list[str]:
    """The arguments whose change replaces the resource, as listed in aws_types.json."""
    every = [each.name for each in block.attributes if each.optional or each.required]
    every += [each.type_name for each in block.block_types if each.type_name != "timeouts"]
    forces = known(kind, "replaced_by")
    named = [name for name in every if name in forces or ("*" in forces and f"-{name}" not in forces)]
    general = [name for name in ("name", "name_prefix", "region") if name in every and f"-{name}" not in forces]
    return sorted({*named, *general} - {"id", "tags", "tags_all"})


def apply(kind: str, block: Block, planned: Object, settings: Settings, account: Account) -> Object:
    """The state after the apply, in which everything is known."""
    region = planned.get("region")
    fields = Fields.of(kind, planned, region if isinstance(region, str) else settings.region)
    if kind == "aws_ecs_task_definition" and is_unknown(planned["revision"]):
        fields["revision"] = account.next_revision(planned.get("family"))
        planned = {**planned, "revision": fields["revision"]}
    return _filled(block, planned, fields, kind, known(kind, "computed"))


def read(kind: str, block: Block, config: Object, settings: Settings) -> Object:
    """The result of a data source."""
    value = computed_unknown(block, config)
    fields = Fields.of(kind, config, config.get("region") or settings.region)
    if kind == "aws_iam_policy_document":
        value["json"] = policy.document(config)
        value["minified_json"] = json.dumps(json.loads(value["json"]), separators=(",", ":"))
    # A data source without templates of its own looks as the resource of that name.
    return _filled(block, value, fields, kind, {**known(kind, "computed"), **TYPES["data"].get(kind, {})})


def _filled(block: Block, value: Object, fields: Fields, kind: str, templates: Object) -> Object:
    """The object with a value in place of each unknown one."""
    value = dict(value)
    attributes = {attribute.name: attribute for attribute in block.attributes}
    # Templates first and in their order, because later ones may name earlier ones.
    order = [name for name in [*templates, "id", *attributes] if name in attributes]
    for name in dict.fromkeys(order):
        if not is_unknown(value.get(name)):
            continue
        made = _made(templates[name], fields) if name in templates else None
        if made is None:
            made = _guess(kind, attributes[name], fields)
        value[name] = made
        fields[name] = Text(made) if isinstance(made, str) else made
    # Of nested blocks nothing is made up.
    return with_attributes(
        block, value, lambda attribute, given: empty(type_of(attribute.type)) if is_unknown(given) else given
    )


def _made(template: Any, fields: Fields) -> Any:
    if isinstance(template, str):
        return template.format_map(fields)
    if isinstance(template, list):
        return [_made(each, fields) for each in template]
    if isinstance(template, dict):
        return {name: _made(each, fields) for name, each in template.items()}
    return template


def _guess(kind: str, attribute: Any, fields: Fields) -> Any:
    """A value for an attribute that aws_types.json does not describe."""
    name, type_name = attribute.name, type_of(attribute.type)
    if type_name != "string":
        return empty(type_name)
    service, _, noun = kind.replace("aws_", "", 1).partition("_")
    label = next((fields[each] for each in LABELS if each in fields), "")
    if name == "id":
        return str(label or f"{noun or service}-{fields['digest'][:17]}")
    if name == "arn" or (name.endswith("_arn") and not attribute.optional):
        return f"arn:aws:{service}:{fields['region']}:{ACCOUNT}:{noun or service}/{label or fields['digest'][:17]}"
    if name == "name" and attribute.optional:
        return f"{fields['name_prefix'] or 'terraform-'}{fields['number'][:18]}"
    if name == "owner_id":
        return ACCOUNT
    return fields["region"] if name == "region" else ""
