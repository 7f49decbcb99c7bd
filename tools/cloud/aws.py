"""Calls to AWS besides Terraform's, by the pinned boto3.

Credentials come from AWS's standard chain: the environment, a profile, SSO, a workflow's token. boto3 checks every
call against AWS's own models before it is sent.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.progress import TargetError

# Each attempt of a call; there are at most ATTEMPTS, with growing pauses between them.
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
ATTEMPTS = 5
# In CloudTrail of the account that a role belongs to.
SESSION_NAME = "make"
# The virtual environment of pyproject.toml's group `deploy`.
FOLDER = toolchain.TOOLS / "aws"
PYTHON = FOLDER / "bin" / "python"


class AwsError(TargetError):
    """A call failed; `code` is AWS's error code, or empty where AWS did not answer."""

    def __init__(self, call: str, code: str, text: str) -> None:
        super().__init__(f"aws {call}: {text}")
        self.code = code


class Aws:
    def __init__(self, region: str, profile: str | None = None, role: str | None = None) -> None:
        """With a role, the standard chain's credentials only assume it, again whenever an hour is over."""
        self.region = region
        self.profile = profile
        self.role = role
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict:
        """One call, such as `call("ecs", "describe_services", cluster="shop", services=["web"])`."""
        with _errors(f"{service} {operation}"):
            return getattr(self.client(service), operation)(**parameters)

    def pages(self, service: str, operation: str, /, **parameters: Any) -> Iterator[dict]:
        """Every page of an answer that AWS splits."""
        with _errors(f"{service} {operation}"):
            yield from self.client(service).get_paginator(operation).paginate(**parameters)

    def wait(self, service: str, condition: str, /, **parameters: Any) -> None:
        """Wait as long as botocore's waiter of that name does."""
        with _errors(f"{service} {condition}"):
            self.client(service).get_waiter(condition).wait(**parameters)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            boto3 = load("boto3")
            config = load("botocore.config").Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            )
            if self._session is None:
                self._session = boto3.Session(profile_name=self.profile, region_name=self.region)
                refuse_codes(self._session)
                if self.role:
                    assume(self._session, self.role)
            self._clients[service] = self._session.client(service, config=config)
        return self._clients[service]

    def account(self) -> str:
        """The account of the credentials; Refused when there are none, or none that work."""
        try:
            return self.call("sts", "get_caller_identity")["Account"]
        except AwsError as error:
            raise Refused(
                f"no usable AWS credentials ({error}): set AWS_PROFILE, run `aws sso login`, or "
                "put a profile into the environment's backend.hcl and terraform.tfvars. For `aws login` and codes of"
                ' MFA: eval "$(aws configure export-credentials --profile NAME --format env)", with no `profile`'
                " in these files"
            ) from None


def refuse_codes(session: Any) -> None:
    """Refuse a profile that needs a code of MFA: boto3 would ask for it, and Terraform fails with it later."""

    def prompt(_text: str) -> str:
        text = "the profile has mfa_serial, and Terraform cannot ask for the code"
        raise load("botocore.exceptions").CredentialRetrievalError(provider="assume-role", error_msg=text)

    session._session.get_component("credential_provider").get_provider("assume-role")._prompter = prompt


def assume(session: Any, role: str) -> None:
    """Put the credentials of a role in place of a session's own."""
    credentials = load("botocore.credentials")
    own = session._session
    fetcher = credentials.AssumeRoleCredentialFetcher(
        client_creator=own.create_client,
        source_credentials=own.get_credentials(),
        role_arn=role,
        extra_args={"RoleSessionName": SESSION_NAME},
    )
    own._credentials = credentials.DeferredRefreshableCredentials(
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )


@contextlib.contextmanager
def _errors(call: str) -> Iterator[None]:
    """Turns botocore's exceptions into AwsError."""
    exceptions = load("botocore.exceptions")
    try:
        yield
    except exceptions.ClientError as error:
        details = error.response.get("Error", {})
        code = details.get("Code", "")
        raise AwsError(call, code, f"{details.get('Message') or 'no message'} ({code or 'no code'})") from None
    except exceptions.BotoCoreError as error:
        raise AwsError(call, "", str(error)) from None


def load(name: str) -> ModuleType:
    """A module of the virtual environment that `make tools` installs for the commands of the cloud."""
    folder = next(iter(sorted(FOLDER.glob("lib/python*/site-packages"))), None)
    if folder is None:
        raise Refused(f"boto3 is not installed below {FOLDER}: run `make tools`")
    # First, so that no other boto3 of this machine is taken. All of it is plain Python.
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    __import__(name)
    return sys.modules[name]
