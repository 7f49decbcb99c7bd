"""The provider's side of Terraform's plugin protocol.

Terraform has connections of its own for each provider block, so that a connection stands for a
configuration.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path
from typing import Any

import checks
import grpc
import resources
import tfplugin6_pb2 as protocol
from policy import PolicyError
from values import absent, decode, encode, is_known

# Terraform walks ten resources at a time, per provider block.
THREADS = 32
# AWS attaches a gateway later than it makes subnets, so that what needs it has to wait for it.
GATEWAY_SECONDS = 0.5


class Provider:
    """A method per call of the protocol; each fills a response and returns it."""

    def __init__(self, schema: protocol.GetProviderSchema.Response) -> None:
        self.schema = schema
        self.settings: dict[str, resources.Settings] = defaultdict(resources.Settings)
        self.account = resources.Account()

    def ValidateProviderConfig(self, request: Any, response: Any, peer: str) -> Any:
        return response

    def ConfigureProvider(self, request: Any, response: Any, peer: str) -> Any:
        config = decode(request.config)
        self.settings[peer] = resources.Settings(config)
        allowed = config.get("allowed_account_ids")
        if allowed and is_known(allowed) and resources.ACCOUNT not in allowed:
            message = f"the account {resources.ACCOUNT} is not among the allowed_account_ids {allowed}"
            report(response, [checks.Problem("", message)])
        return response

    def ValidateResourceConfig(self, request: Any, response: Any, peer: str) -> Any:
        block = self.schema.resource_schemas[request.type_name].block
        return report(response, checks.resource(request.type_name, block, decode(request.config)))

    def ValidateDataResourceConfig(self, request: Any, response: Any, peer: str) -> Any:
        block = self.schema.data_source_schemas[request.type_name].block
        return report(response, checks.data_source(request.type_name, block, decode(request.config)))

    def UpgradeResourceState(self, request: Any, response: Any, peer: str) -> Any:
        """A stored state, with exactly the attributes that the schema has now."""
        block = self.schema.resource_schemas[request.type_name].block
        stored = json.loads(request.raw_state.json)
        state = {name: stored.get(name, nothing) for name, nothing in absent(block).items()}
        self.account.remember(request.type_name, state)
        response.upgraded_state.json = json.dumps(state).encode()
        return response

    def ReadResource(self, request: Any, response: Any, peer: str) -> Any:
        """Resources always match the state."""
        self.account.remember(request.type_name, decode(request.current_state))
        response.new_state.CopyFrom(request.current_state)
        return response

    def PlanResourceChange(self, request: Any, response: Any, peer: str) -> Any:
        # As most of the provider: it may plan defaults that the configuration does not have.
        response.legacy_type_system = True
        kind, proposed = request.type_name, decode(request.proposed_new_state)
        if proposed is None:
            response.planned_state.CopyFrom(request.proposed_new_state)
            return response
        block = self.schema.resource_schemas[kind].block
        planned = resources.plan(kind, block, proposed, decode(request.config), self.settings[peer])
        for name in resources.replacing(kind, block):
            response.requires_replace.add().steps.add(attribute_name=name)
        response.planned_state.CopyFrom(encode(planned))
        return self._check_service(kind, planned, response)

    def ApplyResourceChange(self, request: Any, response: Any, peer: str) -> Any:
        response.legacy_type_system = True
        kind, planned = request.type_name, decode(request.planned_state)
        if planned is None:
            prior = decode(request.prior_state)
            if report(response, checks.removed(kind, prior, self.account)).diagnostics:
                response.new_state.CopyFrom(request.prior_state)
                return response
            self.account.forget(kind, prior)
            response.new_state.CopyFrom(request.planned_state)
            return response
        block = self.schema.resource_schemas[kind].block
        state = resources.apply(kind, block, planned, self.settings[peer], self.account)
        if kind == "aws_internet_gateway":
            time.sleep(GATEWAY_SECONDS)
        report(response, checks.applied(kind, decode(request.prior_state), state, self.account))
        if self._check_service(kind, state, response).diagnostics:
            response.new_state.CopyFrom(request.prior_state)
            return response
        self.account.remember(kind, state)
        response.new_state.CopyFrom(encode(state))
        return response

    def ReadDataSource(self, request: Any, response: Any, peer: str) -> Any:
        block = self.schema.data_source_schemas[request.type_name].block
        config = decode(request.config)
        try:
            value = resources.read(request.type_name, block, config, self.settings[peer])
        except PolicyError as error:
            return report(response, [checks.Problem("", str(error))])
        response.state.CopyFrom(encode(value))
        return response

    def StopProvider(self, request: Any, response: Any, peer: str) -> Any:
        return response

    def _check_service(self, kind: str, value: Any, response: Any) -> Any:
        problems = checks.service(value, self.account) if kind == "aws_ecs_service" else []
        return report(response, problems)


CALLS = (
    "ValidateProviderConfig",
    "ConfigureProvider",
    "ValidateResourceConfig",
    "ValidateDataResourceConfig",
    "UpgradeResourceState",
    "ReadResource",
    "PlanResourceChange",
    "ApplyResourceChange",
    "ReadDataSource",
    "StopProvider",
)


def report(response: Any, problems: Iterable[checks.Problem]) -> Any:
    """Adds the problems to the response as errors."""
    for problem in problems:
        diagnostic = response.diagnostics.add(severity=protocol.Diagnostic.ERROR, summary=problem.message)
        if problem.attribute:
            diagnostic.attribute.steps.add(attribute_name=problem.attribute)
    return response


def types_in(folder: Path) -> set[str]:
    """The types that Terraform's files in and below a folder name, whether they exist or not."""
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.tf")]
    return {name for text in texts for name in re.findall(r'"(aws_\w+)"', text)}


def load(schema: Path, types: set[str] | None) -> protocol.GetProviderSchema.Response:
    """The stored schema; with `types`, of these resources and data sources alone."""
    loaded = protocol.GetProviderSchema.Response.FromString(schema.read_bytes())
    for schemas in (loaded.resource_schemas, loaded.data_source_schemas):
        for name in list(schemas):
            if types is not None and name not in types:
                del schemas[name]
    return loaded


def serve(schema: protocol.GetProviderSchema.Response) -> tuple[grpc.Server, int]:
    """Starts the provider on a free port of this machine; the server, and its port."""
    provider = Provider(schema)
    answer = schema.SerializeToString()

    def handler(name: str) -> grpc.RpcMethodHandler:
        message, method = getattr(protocol, name), getattr(provider, name)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: method(request, message.Response(), context.peer()),
            message.Request.FromString,
            message.Response.SerializeToString,
        )

    handlers = {name: handler(name) for name in CALLS}
    # 3 MB where it is whole.
    handlers["GetProviderSchema"] = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=unlimited)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tfplugin6.Provider", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
