"""The Dockerfile is the only description of the images' configuration."""

import contextlib
import io
import json
import modulefinder
import re
import subprocess
import tarfile
import unittest
import unittest.mock
import uuid
from pathlib import Path

from tools.build import build, commit, dockerfile, skeleton
from tools.common import catalog, toolchain
from tools.common.tests.case import Case
from tools.common.toolchain import ROOT
from tools.supply import oci, outdated

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


class Stages(unittest.TestCase):
    def test_each_service_has_a_stage_with_its_configuration(self) -> None:
        for name in build.SERVICES:
            stage = dockerfile.stage(name)
            config = stage.config()
            self.assertEqual(config["User"], "65532:65532")
            self.assertEqual(config["Entrypoint"], [f"/{name}"])
            self.assertEqual(config["ExposedPorts"], {f"{catalog.ALL[name].port}/tcp": {}})
            self.assertEqual(config["Healthcheck"]["Test"], ["CMD", f"/{name}", "healthcheck"])
            self.assertEqual(config["Healthcheck"]["Interval"], 10_000_000_000)
            self.assertEqual(stage.labels()["org.opencontainers.image.title"], name)
            self.assertIn(build.LABEL, {f"{key}={value}" for key, value in stage.labels().items()})

    def test_an_instruction_that_a_packed_image_would_lose_is_refused(self) -> None:
        for line in ("RUN true", "ENV A=b", "COPY other /other", "VOLUME /data", "STOPSIGNAL SIGINT"):
            text = TEXT.replace("EXPOSE 8080\n", f"EXPOSE 8080\n{line}\n")
            with self.assertRaisesRegex(dockerfile.DockerfileError, "unsupported", msg=line):
                dockerfile.stage("stats", text)
        for missing in ("USER 65532:65532\n", "EXPOSE 8080\n", 'ENTRYPOINT ["/stats"]\n'):
            with self.assertRaisesRegex(dockerfile.DockerfileError, "has no"):
                dockerfile.stage("stats", TEXT.replace(missing, ""))
        with self.assertRaisesRegex(dockerfile.DockerfileError, "no stage"):
            dockerfile.stage("stats", TEXT.replace("FROM scratch AS stats", "FROM alpine AS stats"))
        with self.assertRaisesRegex(dockerfile.DockerfileError, "one file"):
            dockerfile.stage("stats", TEXT.replace("binaries/stats /stats", "binaries /"))
        with self.assertRaisesRegex(dockerfile.DockerfileError, "HEALTHCHECK"):
            dockerfile.stage("stats", TEXT.replace("--interval=10s", "--start-period=1s"))

    def test_the_classic_builder_accepts_every_instruction(self) -> None:
        for only_buildkit in ("RUN --", "COPY --link", "COPY --parents", "<<", "# syntax="):
            self.assertNotIn(only_buildkit, TEXT)


class Layers(unittest.TestCase):
    """An edit of a script must not install the tools again, and no script may be missing."""

    def test_the_layer_of_the_tools_has_the_installer_and_nothing_else(self) -> None:
        common = {f"tools/common/{file.name}" for file in (ROOT / "tools/common").glob("*.py")}
        self.assertEqual(copied("tools"), modules("tools.install.__main__") | common)

    def test_the_layer_of_the_dependencies_has_the_build_and_nothing_else(self) -> None:
        others = modules("tools.build.build") - copied("tools")
        self.assertEqual(copied("dependencies"), others | {"tools/no-unwind.ld"})


class BuildImage(unittest.TestCase):
    def test_it_is_pinned_and_has_the_compiler_of_rust_toolchain_toml(self) -> None:
        tag, digest = outdated.pinned_image(TEXT)
        self.assertEqual(tag, f"{toolchain.CHANNEL}-bookworm")
        self.assertRegex(digest, "^sha256:[0-9a-f]{64}$")
        with self.assertRaisesRegex(build.BuildError, "by tag and digest"):
            outdated.pinned_image(TEXT.replace(f"@{digest}", ""))


class Bake(unittest.TestCase):
    """docker-bake.hcl builds the stages of the Dockerfile; buildx itself is on few machines."""

    def test_it_builds_every_service_for_both_processors(self) -> None:
        text = (ROOT / "docker-bake.hcl").read_text(encoding="utf-8")
        lists = {
            name: re.findall(r'"([^"]+)"', value)
            for name, value in re.findall(r"(\w+)\s*= (?:\{ service = )?\[(.*?)\]", text)
        }
        self.assertEqual(lists["targets"], list(build.SERVICES))
        self.assertEqual(lists["matrix"], list(build.SERVICES))
        self.assertEqual(lists["platforms"], [f"linux/{name}" for name in oci.ARCHITECTURES.values()][::-1])
        self.assertEqual(lists["tags"], ["${IMAGES}/${service}:${TAG}"])
        self.assertEqual(text.count("{"), text.count("}"))


class Skeleton(Case):
    def setUp(self) -> None:
        self.goal = self.temporary_folder()

    def test_it_has_every_member_and_none_of_its_code(self) -> None:
        skeleton.write(self.goal)
        members = {path.relative_to(ROOT) for path in ROOT.glob("crates/*/Cargo.toml")}
        members |= {path.relative_to(ROOT) for path in ROOT.glob("services/**/Cargo.toml") if "fuzz" not in path.parts}
        for manifest in [*members, Path("bench/Cargo.toml"), Path("Cargo.lock")]:
            self.assertEqual((self.goal / manifest).read_bytes(), (ROOT / manifest).read_bytes())
        sources = {path.read_text() for path in self.goal.rglob("*.rs")}
        self.assertEqual(sources, {skeleton.PROGRAM, skeleton.LIBRARY})

    def test_an_edit_of_a_source_file_leaves_it_as_it_is(self) -> None:
        original = self.goal / "original"
        skeleton.write(original)
        skeleton.write(self.goal / "before", original)
        with (original / "services/gateway/src/main.rs").open("a") as file:
            file.write("// edited\n")
        skeleton.write(self.goal / "after", original)
        self.assertEqual(contents(self.goal / "before"), contents(self.goal / "after"))


class Commit(unittest.TestCase):
    def test_a_container_without_git_gets_its_commit(self) -> None:
        given = f"{'ab' * 20} 2026-11-28T10:00:00Z"
        with unittest.mock.patch.dict("os.environ", {"BUILT_FROM": given}):
            self.assertEqual(build.commit_variable("stats"), {"BUILT_FROM": given})
        with unittest.mock.patch.dict("os.environ", {"BUILT_FROM": "yesterday"}):
            with self.assertRaisesRegex(build.BuildError, "BUILT_FROM is 'yesterday'"):
                build.commit_variable("stats")

    def test_a_new_dockerfile_makes_new_images(self) -> None:
        for name in build.SERVICES:
            self.assertIn("Dockerfile", commit.INPUTS[name])


@unittest.skipIf(toolchain.engine() is None, "needs a Docker engine")
class Images(Case):
    def setUp(self) -> None:
        self.mark = f"system-stats.test={uuid.uuid4().hex}"
        self.addCleanup(self.remove)

    def remove(self) -> None:
        ids = toolchain.answer(["docker", "images", "--all", "--quiet", "--filter", f"label={self.mark}"])
        if ids:
            subprocess.run(["docker", "rmi", "--force", *set(ids.split())], stdout=subprocess.DEVNULL)

    def built(self, context: Path, text: str) -> str:
        """The image that a Dockerfile makes of a context."""
        file = self.temporary_folder() / "Dockerfile"
        file.write_text(text)
        command = ["docker", "build", "--quiet", "--label", self.mark, "--file", str(file), str(context)]
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode().strip()

    def test_the_context_has_what_is_compiled_and_nothing_else(self) -> None:
        container = toolchain.answer(["docker", "create", self.built(ROOT, "FROM scratch\nCOPY . /\n"), "/none"])
        try:
            exported = subprocess.run(["docker", "export", container], check=True, stdout=subprocess.PIPE, timeout=60)
        finally:
            subprocess.run(["docker", "rm", container], stdout=subprocess.DEVNULL)
        with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as archive:
            files = {entry.name: entry.size for entry in archive if entry.isfile()}
        for name in build.SERVICES:
            for place in commit.INPUTS[name]:
                if (ROOT / place).exists() and place != "Dockerfile":
                    found = place in files or any(file.startswith(f"{place}/") for file in files)
                    self.assertTrue(found, f"{place} is not in the context")
        # The engine adds a few empty files of its own.
        files = {file: size for file, size in files.items() if size}
        tops = {file.split("/")[0] for file in files}
        manifests = ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "pyproject.toml", "uv.lock", "services.json")
        self.assertEqual(tops, {*manifests, "bench", "crates", "services", "tools"})
        for file in files:
            self.assertIsNone(re.search(r"(^|/)(\.\w|dist/|target/|tests/|test_\w+\.py|__pycache__)", file), file)
        self.assertLess(sum(files.values()), 7_000_000)

    def test_the_dockerfile_a_loaded_image_and_a_pushed_one_have_the_same_configuration(self) -> None:
        for name in build.SERVICES:
            with self.subTest(name=name):
                context, stage = self.temporary_folder(), dockerfile.stage(name)
                binary = b"\x7fELF" + bytes(14) + (0x3E).to_bytes(2, "little")
                (context / "binaries").mkdir()
                (context / "binaries" / name).write_bytes(binary)
                (context / "binaries" / name).chmod(0o755)
                # The stage as it stands, with a build stage that compiles nothing.
                stub = f"FROM scratch AS build-{name}\nLABEL {self.mark}\nCOPY binaries /src/target/binaries\n"
                final = TEXT[TEXT.index(f"FROM scratch AS {name}\n") :].split("\nFROM ")[0]
                loaded = f"system-stats.test/{name}:{uuid.uuid4().hex}"
                self.addCleanup(subprocess.run, ["docker", "rmi", loaded], stdout=subprocess.DEVNULL)
                with contextlib.redirect_stdout(io.StringIO()):
                    build.load(stage, binary, loaded)
                pushed = json.loads(oci.pack(stage, binary, "X86_64").config)
                for image in (self.built(context, stub + final), loaded):
                    found = json.loads(toolchain.answer(["docker", "image", "inspect", image]) or "")[0]
                    found["Config"]["Labels"].pop(self.mark.split("=")[0], None)
                    for key in ("User", "Entrypoint", "ExposedPorts", "Healthcheck", "Labels"):
                        self.assertEqual(found["Config"][key], pushed["config"][key], key)
                    self.assertEqual(len(found["RootFS"]["Layers"]), 1)
                    self.assertFalse(found["Config"]["Cmd"] or found["Config"]["Volumes"])
                self.assertEqual(found["RootFS"]["Layers"], pushed["rootfs"]["diff_ids"])


def copied(stage: str) -> set[str]:
    """The files of tools/ that a stage copies, as far as the context has them."""
    text = re.search(rf" AS {stage}\n(.*?)(?=^FROM )", TEXT, re.MULTILINE | re.DOTALL)[1]
    found: set[str] = set()
    for line in text.replace("\\\n", " ").splitlines():
        for place in re.findall(r"(tools/\S+)", line.rpartition(" ")[0]) if line.startswith("COPY") else ():
            for path in ROOT.glob(place):
                files = path.glob("*.py") if path.is_dir() else [path]
                found |= {str(file.relative_to(ROOT)) for file in files}
    return found


def modules(name: str) -> set[str]:
    """The files of a module, of the modules of tools/ that it imports, and of their packages."""
    finder = modulefinder.ModuleFinder([str(ROOT)])
    finder.import_hook(name)
    return {str(Path(module.__file__).relative_to(ROOT)) for module in finder.modules.values() if module.__file__}


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
