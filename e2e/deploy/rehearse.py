"""The whole of `make deploy ENV=staging` on this machine, with nothing of AWS.

    python3 e2e/deploy/rehearse.py BINARIES

run under a fake of Terraform's provider. AWS is fake_aws.py, the registry is Debian's; everything
else, from the make targets and Terraform to the images, the services and the smoke test, is real.
BINARIES is the folder of the three finished static binaries.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# This one puts the root on the path.
from fake_aws import ACCOUNT, HERE, REGION, Account, Environment

from tools.build import commit
from tools.common import catalog, toolchain
from tools.common.toolchain import ROOT
from tools.supply import oci, sbom, verify
from tools.supply.images import MACHINES

BUCKET = f"system-stats-state-{ACCOUNT}-{REGION}"
# One target takes 10 to 60 s; a rollback takes twice that.
TARGET_SECONDS = 240
START_SECONDS = 60
# Enough 5xx for the alarm from half of the requests.
VISIT_SECONDS = 0.05
# As `make` starts the commands; this one has packages that they must not need.
PYTHON = shutil.which("python3") or sys.executable
# Commands that workflows need besides those of deploy.py.
CI_COMMANDS = ("drift", "run")
# The repository of the attested workflow.
BUILDER = "acme/system-stats"


class Rehearsal:
    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.repository = folder / "system-stats"
        self.binaries = binaries
        self.servers: list[subprocess.Popen] = []
        self.account: Account | None = None
        self.passed = 0

    # The scene.

    def build_scene(self) -> None:
        registry = free_port()
        settings = self.folder / "registry.yaml"
        settings.write_text(
            "version: 0.1\nlog: {level: error}\nstorage:\n"
            f"  filesystem: {{rootdirectory: {self.folder / 'registry'}}}\nhttp: {{addr: '127.0.0.1:{registry}'}}\n"
        )
        program = toolchain.program("docker-registry") or "docker-registry"
        self.serve("registry", [program, "serve", str(settings)], registry)
        self.clone()
        self.networks = random.sample(range(10, 250), 9)
        self.registry = f"127.0.0.1:{registry}"
        self.account = Account(self.registry)
        self.aws = self.open_aws("staging")
        self.variables = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in ("ENV", "URL", "CONFIRM", "AWS_PROFILE", "MAKEFLAGS")
            },
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.account.url,
            # Terraform's backend has variables of its own for these.
            **{f"AWS_ENDPOINT_URL_{service}": self.account.url for service in ("S3", "STS", "IAM")},
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
            "BINARIES": str(self.told_the_commits_of_the_clone()),
            "ENV": "staging",
            "URL": self.aws.url,
        }

    def open_aws(self, name: str) -> Environment:
        """An environment of the account, which follows its state."""
        folder = self.folder / f"aws-{name}"
        folder.mkdir()
        local_state = self.repository / "tf" / "preconfigured" / "terraform.tfstate"
        return Environment(self.account, name, folder, BUCKET, local_state, f"127.{self.networks.pop()}")

    def serve(self, name: str, command: list[str], port: int) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.servers.append(process)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / f"{name}.log").read_text()[-500:]
                    raise SystemExit(f"rehearsal: {name} does not start: {said}") from None
                time.sleep(0.1)

    def clone(self) -> None:
        """This work tree as a commit of a repository of its own, with a remote to push to."""
        origin = self.folder / "origin.git"
        run(["git", "init", "--quiet", "--bare", str(origin)])
        run(["git", "init", "--quiet", "--initial-branch=main", str(self.repository)])
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        for name in filter(None, names.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.repository / name)
        # Tools for deployments and the crate lists, without the browser: its tests would take minutes each time.
        (self.repository / ".tools").mkdir()
        for name in ("aws", "bin", "requirements", "route", "sigstore", "stamp", "uv"):
            (self.repository / ".tools" / name).symlink_to((toolchain.TOOLS / name).resolve())
        for variables in (self.repository / "tf" / "environments").glob("*/terraform.tfvars"):
            variables.write_text(variables.read_text() + f'\narchitecture = "{HERE}"\n')
        self.git("remote", "add", "origin", str(origin))
        self.commit("the first version")

    def told_the_commits_of_the_clone(self) -> Path:
        """The binaries, as if they had been built in the clone: each contains its commit there. For the
        other processor there are copies that are labeled for it and never started."""
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="binaries-"))
        self.attestable = True
        for name in commit.INPUTS:
            content = (self.binaries / name).read_bytes()
            found, here = oci.MADE_FROM.search(content), commit.made_from(name, self.repository)
            if found and len(found[0]) == len(here):
                content = content.replace(found[0], here.encode())
            else:
                self.attestable = False
            for number, architecture in oci.MACHINES.items():
                file = folder / MACHINES[architecture] / name
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(content[:18] + number.to_bytes(2, "little") + content[20:])
                file.chmod(0o755)
        return folder

    def git(self, *arguments: str) -> str:
        who = [
            "-c",
            "user.name=rehearsal",
            "-c",
            "user.email=rehearsal@example.org",
            "-c",
            "commit.gpgsign=false",
        ]
        return run(["git", *who, *arguments], cwd=self.repository)

    def touch(self, service: str) -> None:
        """A change of what a service's image is made from; its binary is not compiled here."""
        with (self.repository / catalog.ALL[service].crate / "Cargo.toml").open("a") as file:
            file.write("# Another one.\n")

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.git("push", "--quiet", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD").strip()

    def end(self) -> None:
        if self.account:
            self.account.end()
        for process in self.servers:
            process.terminate()
            process.wait(timeout=20)

    # The scenario.

    def make(self, target: str, expect: int, *needles: str, until: str = "", **variables: str) -> str:
        """Runs one target to its end, or until a text appears; checks its exit code and output."""
        environment = {**self.variables, **variables}
        environment = {name: value for name, value in environment.items() if value != ""}
        process = subprocess.Popen(
            [PYTHON, "-m", f"tools.{'ci.ci' if target in CI_COMMANDS else 'cloud.deploy'}", target],
            cwd=self.repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun, lines = time.monotonic(), []
        bound = threading.Timer(TARGET_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
        bound.start()
        for line in process.stdout:
            lines.append(line)
            if until and until in line:
                # As Ctrl-C on a terminal does: all of them get it.
                os.killpg(process.pid, signal.SIGINT)
                until = ""
        code = process.wait(timeout=30)
        bound.cancel()
        text = "".join(lines)
        missing = [needle for needle in needles if needle not in text]
        if code != expect or missing or self.account.trouble:
            print(text)
            print(
                f"rehearsal: {target} ended with {code}, expected {expect};"
                f" not said: {missing}; trouble: {self.account.trouble[:3]}"
            )
            raise SystemExit(1)
        self.passed += 1
        spent = f"{time.monotonic() - begun:5.1f} s"
        print(f"rehearsal: {target:<9} exit code {code:>3} after {spent}: {' | '.join(needles)}", flush=True)
        return text

    def play(self) -> None:
        make = self.make
        staging = self.repository / "tf" / "environments" / "staging" / "terraform.tfvars"

        # Refused, each in one sentence, before anything is touched.
        make(
            "deploy",
            64,
            "there is no environment 'moon'; there are dev, preview, prod, staging",
            ENV="moon",
        )
        make("deploy", 64, "which environment?", ENV="")
        make(
            "deploy",
            64,
            "no usable AWS credentials",
            AWS_ACCESS_KEY_ID="",
            AWS_SECRET_ACCESS_KEY="",
        )
        make("deploy", 64, "prod needs CONFIRM=prod", ENV="prod")
        (self.repository / "new-file").write_text("not committed\n")
        make("deploy", 64, "changes that are not committed")
        (self.repository / "new-file").unlink()
        self.git("commit", "--quiet", "--allow-empty", "--message", "not pushed")
        make("deploy", 64, "is on no remote branch")
        self.git("reset", "--quiet", "--hard", "HEAD~1")
        text = staging.read_text()
        staging.write_text(text + '\naccount_id = "999999999999"\n')
        make(
            "deploy",
            64,
            "belongs to the account 999999999999, and these credentials are of 123456789012",
        )
        # The same with a role there: the account is reached, and has no bucket of states.
        staging.write_text(text + '\naccount_id = "999999999999"\naccount_role = "system-stats-deploy"\n')
        make("status", 64, "the account 999999999999 is not prepared")
        staging.write_text(text)
        make("rollback", 64, "is not prepared: run `make bootstrap` first")

        # The account, twice; a deployment that is interrupted three times, and then succeeds.
        linked = "created the service-linked role of ecs.amazonaws.com"
        make("bootstrap", 0, linked, "the state is in the bucket now", "No workflow may sign in")
        again = make("bootstrap", 0, "the account matches tf/preconfigured")
        assert linked not in again
        first = self.git("rev-parse", "HEAD").strip()
        make("deploy", 130, "interrupted", until="frontend: pushing")
        make("deploy", 130, "interrupted", until='module.app.aws_lb.this["own"]: Creating...')
        make("deploy", 130, "interrupted", until="== wait until it runs")
        make(
            "deploy",
            0,
            "the registry has all three",
            "nothing to apply",
            "gateway: ",
            f"{first[:12]} runs in staging",
        )
        self.answers()
        make("rollback", 64, "has had no version before this one")
        # The same again changes nothing.
        again = make(
            "deploy",
            0,
            "the registry has all three",
            "No changes.",
            "nothing to apply",
            f"{first[:12]} runs in staging",
        )
        assert "pushing" not in again and "build:" not in again
        make("status", 0, f"staging: {first}", "proven")
        make("logs", 130, "frontend  ", "stats     ", until="stats     ")
        make("cost", 0, "together, US dollars a month")
        make("plan", 0, "a deployment would change nothing")

        self.play_previews()
        self.play_drift()
        make("run", 64, "S must be one of", S="moon")
        make("run", 0, "stats --version: task ", "stats ", S="stats", CMD="--version")
        make("run", 1, "exit code 64", S="stats", CMD="--nonsense")

        # A second version that is good, and back from it.
        staging.write_text(
            staging.read_text().replace("log_retention_days = 14", 'log_retention_days = 14\nlog_level = "debug"')
        )
        second = self.commit("a second version, with a setting of its own")
        make("deploy", 0, "Plan:", f"{second[:12]} runs in staging")
        make("rollback", 0, f"{second[:12]} -> {first[:12]}", f"{first[:12]} runs in staging")
        make("status", 0, f"staging: {first}")
        make("deploy", 0, f"{second[:12]} runs in staging")
        second = self.play_attestations(staging) or second

        second = self.play_canary(staging)

        # A version that does not start, before traffic is shifted: ECS stops it, the target reports the reason and
        # restores the one before.
        broken = self.folder / "broken"
        shutil.copytree(self.variables["BINARIES"], broken)
        shutil.copy2(shutil.which("false"), broken / MACHINES[HERE] / "gateway")
        self.touch("gateway")
        bad = self.commit("a gateway that does not start")
        make(
            "deploy",
            1,
            "gateway: ECS rolled back to",
            "a task stopped: Essential container in task exited",
            "container gateway: exit code 1",
            f"restoring {second[:12]}",
            f"{bad[:12]} was not good; {second[:12]} is back and proven",
            BINARIES=str(broken),
        )
        self.answers()
        make("status", 0, f"staging: {second}")

        # A version that starts, and does not work: the smoke test fails. Its settings are restored
        # with it.
        staging.write_text(
            staging.read_text() + '\nservices = {\n  gateway = { environment = { GATEWAY_STATS = "127.0.0.1:9" } }\n}\n'
        )
        staging.write_text(
            re.sub(
                r"\nservices = \{\n  stats .*?\n\}\n",
                "\n",
                staging.read_text(),
                count=1,
                flags=re.DOTALL,
            )
        )
        self.touch("gateway")
        wrong = self.commit("a gateway that looks for stats in the wrong place")
        make(
            "deploy",
            1,
            "/stats gave no good answer",
            f"{wrong[:12]} was not good; {second[:12]} is back and proven",
        )
        self.answers()

        # And nothing is left.
        make("destroy", 64, "destroying staging needs CONFIRM=staging")
        make("destroy", 0, "Destroy complete!", CONFIRM="staging")
        make("status", 0, "staging is not deployed")
        deadline = time.monotonic() + 30
        while self.aws.services:
            assert time.monotonic() < deadline, "tasks run although the environment is gone"
            time.sleep(0.2)
        print(f"rehearsal: {self.passed} passed, 0 failed")

    def play_previews(self) -> None:
        """The shared part of previews, and the cost of one; runner.py plays a preview."""
        missing = "is not deployed: run `make deploy ENV=preview` first"
        self.make("plan", 64, "pr-3 uses the network", missing, ENV="pr-3")
        self.make("logs", 64, "preview is what previews share and runs no services", ENV="preview")
        self.make("deploy", 0, "previews have a port each at system-stats-preview-", ENV="preview")
        self.make("deploy", 0, "No changes.", ENV="preview")
        self.make("status", 0, "used by no preview", ENV="preview")
        self.make("drift", 0, "preview is what was deployed", ENV="preview")
        self.make("cost", 0, "load balancer", "private zone", ENV="preview")
        text = self.make("cost", 0, "65 of 168 hours a week", "public addresses", ENV="pr-3")
        dollars = float(text.rstrip().rsplit(" ", 1)[-1])
        if "\n  load balancer" in text or not 5 < dollars < 10:
            raise SystemExit(f"rehearsal: a preview costs {dollars} dollars, or has a load balancer")
        self.make("destroy", 64, "needs CONFIRM=preview", ENV="preview")
        self.make("destroy", 0, "Destroy complete!", ENV="preview", CONFIRM="preview")
        self.make("status", 0, "preview is not deployed", ENV="preview")

    def play_drift(self) -> None:
        """A setting changes outside of Terraform, and a resource remains that is in no state."""
        sns, tags = self.account.client("sns"), {"application": "system-stats", "environment": "staging"}
        left, known = (
            sns.create_topic(
                Name=f"system-stats-staging-{name}",
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )["TopicArn"]
            for name in ("old", "alarms")
        )
        good = self.aws.change_state('"retention_in_days": 14', '"retention_in_days": 1')
        text = self.make(
            "drift",
            1,
            'module.app.aws_cloudwatch_log_group.this["gateway"] differs from the code: retention_in_days',
            f"{left} is in no state",
        )
        assert f"{known} is in no state" not in text, text
        self.aws.write_state(good)
        sns.delete_topic(TopicArn=left)
        self.make("drift", 0, "staging is what was deployed, and nothing else is there")

    def play_canary(self, staging: Path) -> str:
        """A part of the traffic goes to the new tasks first, and their 5xx bring all of it back."""
        make, before = self.make, staging.read_text()
        shift = '{ strategy = "CANARY", percent = 50, minutes = 5, bake_minutes = 1 }'
        gateway = "gateway  = { replicas = 2, spot_percent = 50"
        assert gateway in before
        good = before.replace(gateway, f'{gateway}, deployment = {shift}, environment = {{ LOG_LEVEL = "warn" }}')
        staging.write_text(good)
        first = self.commit("a gateway whose traffic is shifted")
        with Visitors(f"{self.aws.url}/stats") as visitors:
            make("deploy", 0, "2 of 2 tasks run, 2 of the version before", f"{first[:12]} runs in staging")
        visitors.expect("a good version", 0, 0)
        images = self.outputs()["images"]

        staging.write_text(good.replace("environment = { ", 'environment = { GATEWAY_STATS = "127.0.0.1:9", '))
        self.touch("gateway")
        bad = self.commit("a gateway that looks for stats in the wrong place, for half of the requests")
        with Visitors(f"{self.aws.url}/stats") as visitors:
            make(
                "deploy",
                1,
                "gateway: ECS rolled back to",
                "alarm system-stats-staging-gateway-errors was triggered",
                f"restoring {first[:12]}",
                f"{bad[:12]} was not good; {first[:12]} is back and proven",
            )
        # Until the alarm, half of the requests failed, and never all of them.
        visitors.expect("a bad version", 5, 60)
        self.answers()
        outputs = self.outputs()
        assert (outputs["release"], outputs["images"]) == (first, images), outputs
        assert "127.0.0.1:9" not in self.aws.state()
        make("status", 0, f"staging: {first}")
        staging.write_text(good)
        return first

    def outputs(self) -> dict:
        """Terraform's outputs of staging."""
        outputs = json.loads(self.aws.state())["outputs"]
        return {name: output["value"] for name, output in outputs.items()}

    def play_attestations(self, staging: Path) -> str:
        """Only what a workflow has built. The signer is a fake; the verifier is real."""
        make = self.make
        if not self.attestable or not verify.PROGRAM.exists():
            print(
                "rehearsal: SKIPPED: attestations; the binaries were built with changes that are not"
                " committed, or there is no sigstore",
                flush=True,
            )
            return ""
        before = staging.read_text()
        staging.write_text(before + f'\nattested_by = "{BUILDER}@refs/heads/main"\n')
        self.touch("gateway")
        revision = self.commit("only what a workflow has built")
        self.variables["BINARIES"] = str(self.told_the_commits_of_the_clone())
        make("deploy", 64, f"takes only images that {BUILDER}@refs/heads/main has built")
        # Images pushed by hand have other tags than those of the workflow for the same commit.
        make("push", 0, "gateway: pushing", S="gateway")
        make("deploy", 64, f"takes only images that {BUILDER}@refs/heads/main has built")
        inside = {"GITHUB_ACTIONS": "true"}
        make("push", 0, "gateway: pushing", "bill of gateway for arm64", **inside)
        make("deploy", 1, "has no attestation in the registry")
        # By another repository, by ours, and then with one signature altered.
        trusted = self.attest(revision, "mallory/system-stats")
        stranger = "OIDCSourceRepositoryURI does not match"
        make("deploy", 1, f"by {BUILDER}", stranger, TRUSTED_ROOT=trusted)
        trusted = self.attest(revision, BUILDER)
        said = f"built by {BUILDER} at {revision[:12]} (refs/heads/main)"
        make("deploy", 0, said, f"{revision[:12]} runs in staging", TRUSTED_ROOT=trusted)
        image = f"{self.registry}/system-stats/gateway@{self.digest('gateway')}"
        told = {"IMAGE": image, "TRUSTED_ROOT": trusted}
        make("verify", 0, "gateway sha256:", **told)
        make("verify", 1, "FAILED", REPOSITORY="mallory/system-stats", **told)
        make("verify", 64, "a tag can be moved", IMAGE="registry.example.org/stats:latest")
        self.attest(revision, BUILDER, altered=True)
        make("deploy", 1, "has no attestation https://slsa.dev/provenance/v1", TRUSTED_ROOT=trusted)
        staging.write_text(before)
        last = self.commit("everyone with push permission")
        make("deploy", 0, "NOT VERIFIED who built these images", f"{last[:12]} runs in staging")
        return last

    def repository_of(self, name: str) -> oci.Registry:
        return oci.Registry(f"{self.registry}/system-stats/{name}")

    def digest(self, name: str) -> str:
        """The image of a service for both processors."""
        tag = commit.made_from(name, self.repository).split()[0]
        found = self.repository_of(name).digest_of(tag)
        assert found is not None, (name, tag)
        return found

    def bill(self, name: str, digest: str, known: sbom.Crates) -> dict:
        """The content of the image of one platform."""
        binary, _ = verify.content(self.repository_of(name), digest, name)
        return sbom.sbom(name, binary, known)

    def attest(self, revision: str, repository: str, altered: bool = False) -> str:
        """Attest all three images as the workflow does, and return the trusted root file."""
        known = sbom.Crates.of_workspace()
        wanted, places = [], []
        for name in commit.INPUTS:
            whole = self.digest(name)
            parts = verify.platforms(self.repository_of(name).exactly(whole), whole)
            said = [(whole, verify.PROVENANCE, {"buildDefinition": {}})]
            said += [(part, verify.BILL, self.bill(name, part, known)) for part in parts]
            for digest, kind, predicate in said:
                one = {"digest": digest, "type": kind, "predicate": predicate}
                wanted.append({**one, "repository": repository, "commit": revision})
                places.append((name, digest))
        program = [str(verify.PROGRAM), "-m", "tools.supply.tests.fake_sigstore"]
        made = subprocess.run(
            program,
            cwd=ROOT,
            input=json.dumps(wanted).encode(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        made = json.loads(made.stdout)
        for (name, digest), bundle in zip(places, made["bundles"]):
            if altered:
                bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
            attach(self.repository_of(name), digest, [bundle])
        file = self.folder / f"trusted-{self.passed}.json"
        file.write_text(json.dumps(made["trusted_root"]))
        return str(file)

    def answers(self) -> None:
        with urllib.request.urlopen(f"{self.aws.url}/stats", timeout=10) as answer:
            assert answer.status == 200, answer.status


class Visitors:
    """Requests to a URL for as long as a block takes, and how many of them failed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._visit, daemon=True)

    def __enter__(self) -> Visitors:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join(timeout=30)

    def _visit(self) -> None:
        while not self.over.wait(VISIT_SECONDS):
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:
                    self.statuses.append(answer.status)
            except urllib.error.HTTPError as error:
                self.statuses.append(error.code)
            except OSError:
                self.statuses.append(0)

    def expect(self, what: str, least: int, most: int) -> None:
        """The number of requests that failed, and their share from the first to the last of them in percent."""
        failed = [number for number, status in enumerate(self.statuses) if status != 200]
        share = 100 * len(failed) // (failed[-1] - failed[0] + 1) if failed else 0
        print(
            f"rehearsal: {what}: {len(failed)} of {len(self.statuses)} requests failed, {share} percent meanwhile",
            flush=True,
        )
        if len(failed) < least or share > most:
            raise SystemExit(f"rehearsal: {what}: not {least} or more, and at most {most} percent")


def attach(registry: oci.Registry, digest: str, documents: list) -> None:
    """Put documents beside an image, under the tag for registries that cannot list them themselves."""
    entries = []
    for document in documents:
        blob, empty = oci.canonical(document), b"{}"
        kind = document["mediaType"]
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "artifactType": kind,
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": oci.digest(empty),
                "size": 2,
            },
            "layers": [{"mediaType": kind, "digest": oci.digest(blob), "size": len(blob)}],
        }
        # `push` sends the parts of an image.
        image = oci.Image(oci.canonical(manifest), empty, blob)
        registry.push(image, f"attestation-{image.digest[7:19]}")
        one = {"mediaType": oci.MANIFEST, "digest": image.digest, "size": len(image.manifest)}
        entries.append({**one, "artifactType": kind})
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
    registry.put(digest.replace(":", "-"), oci.INDEX, oci.canonical(index))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command: list[str], cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"rehearsal: {' '.join(command)}: {done.stdout}")
    return done.stdout


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: rehearse.py BINARIES", file=sys.stderr)
        return 64
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        rehearsal = Rehearsal(Path(folder), Path(arguments[0]).resolve())
        try:
            rehearsal.build_scene()
            rehearsal.play()
        finally:
            rehearsal.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
