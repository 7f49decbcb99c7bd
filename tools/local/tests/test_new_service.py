"""`make new` and `make remove`, in a copy of the repository."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import yaml

from tools.build import dockerfile
from tools.ci import documents
from tools.common import catalog, toolchain
from tools.common.tests.case import git
from tools.common.toolchain import ROOT
from tools.local import dev, new_service, service_files


def copy_repository(goal: Path) -> None:
    """Copy the files that git lists, with their changes, into a new repository without a commit."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for path in filter(None, listed):
        # Fixtures and results are not needed.
        if (ROOT / path).is_file() and not path.startswith("services/stats/fixtures"):
            file = goal / path
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, file)
    # Services that were added to this repository could be in the way of those of the tests.
    for name, service in catalog.ALL.items():
        if service.route and not service.address_setting:
            with mock.patch.dict(os.environ, {"FORCE": "yes"}), contextlib.redirect_stdout(io.StringIO()):
                new_service.remove(name, goal)
    git(goal, "init", "--quiet", "--initial-branch=main")
    git(goal, "add", "--all")


class InACopy(unittest.TestCase):
    """A copy of the files that git lists, with their changes, as one commit."""

    root: Path
    original: str

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = Path(folder.name, "copy")
        copy_repository(cls.root)
        git(cls.root, "commit", "--quiet", "--message", "a copy")
        cls.original = git(cls.root, "rev-parse", "HEAD")

    def tearDown(self) -> None:
        git(self.root, "reset", "--quiet", "--hard", self.original)
        git(self.root, "clean", "--quiet", "-d", "--force")

    def make(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """The exit code and messages of `make new` or `make remove`."""
        output = io.StringIO()
        given = mock.patch.dict(os.environ, {"TRY": "no", "FORCE": "", **variables})
        with given, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = new_service.main(list(arguments), self.root)
        return code, output.getvalue()

    def commit(self) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--message", "work")

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        (self.root / path).write_text(self.text(path).replace(old, new), encoding="utf-8")


class AddAndRemove(InACopy):
    def test_a_removed_service_leaves_no_trace(self) -> None:
        for name in ("hello", "zebra-2", "a1"):
            self.assertEqual(self.make("new", name)[0], 0)
            self.assertNotEqual(git(self.root, "status", "--porcelain"), "")
            code, output = self.make("remove", name)
            self.assertEqual((code, git(self.root, "status", "--porcelain")), (0, ""), output)

    def test_two_services_can_be_removed_in_any_order(self) -> None:
        self.make("new", "one")
        git(self.root, "add", "--all")
        only_one = git(self.root, "write-tree")
        for order in (("one", "two"), ("two", "one")):
            self.make("new", "two")
            self.assertEqual(tuple(catalog.read(self.root)), ("stats", "frontend", "one", "two", "gateway"))
            ports = {service.port for service in catalog.read(self.root).values()}
            self.assertEqual(len(ports), 5)
            for name in order:
                self.assertEqual(self.make("remove", name)[0], 0)
            git(self.root, "add", "--all")
            self.assertEqual(git(self.root, "status", "--porcelain"), "")
            self.make("new", "one")
            git(self.root, "add", "--all")
            self.assertEqual(git(self.root, "write-tree"), only_one)

    def test_what_was_added_by_hand_inside_a_block_goes_with_it(self) -> None:
        self.make("new", "hello")
        self.replace("docker-compose.yaml", "HELLO_GREETING:-}", "HELLO_GREETING:-}\n      A: b")
        self.assertEqual(self.make("remove", "hello")[0], 0)
        self.assertEqual(git(self.root, "status", "--porcelain"), "")

    def test_work_that_is_not_committed_is_not_deleted(self) -> None:
        self.make("new", "hello")
        routes = self.root / "services/hello/src/routes.rs"
        routes.write_text(routes.read_text() + "// more\n")
        (routes.parent / "more.rs").write_text("//! More.\n")
        code, output = self.make("remove", "hello")
        self.assertEqual(code, 64)
        for path in ("services/hello/src/more.rs", "services/hello/src/routes.rs", "FORCE=yes"):
            self.assertIn(path, output)
        self.assertTrue(routes.exists())
        self.commit()
        self.assertEqual(self.make("remove", "hello")[0], 0)
        self.assertFalse(routes.exists())

    def test_a_change_of_one_committed_file_is_not_deleted(self) -> None:
        self.make("new", "hello")
        self.commit()
        main = self.root / "services/hello/src/main.rs"
        main.write_text(main.read_text() + "// more\n")
        code, said = self.make("remove", "hello")
        self.assertEqual(code, 64)
        self.assertIn("lost: services/hello/src/main.rs. Commit", said)

    def test_a_change_in_a_copy_below_another_repository_is_not_deleted(self) -> None:
        self.make("new", "hello")
        git(self.root, "add", "--all")
        (self.root / "services/hello/src/main.rs").write_text("// mine\n")
        above = self.root.parent / "above"
        self.addCleanup(shutil.rmtree, above)
        shutil.copytree(self.root / "services", above / "copy" / "services")
        git(above, "init", "--quiet")
        service = service_files.new_service("hello", 8081)
        self.assertEqual(list(new_service.unsaved(service, above / "copy")), ["services/hello/src/main.rs"])

    def test_a_new_service_is_tried_out_by_default(self) -> None:
        for variables, calls in (({"TRY": ""}, 1), ({"TRY": "no"}, 0)):
            with mock.patch.object(new_service, "tried", return_value=1) as tried:
                code, said = self.make("new", "hello", **variables)
            self.assertEqual((code, "`make remove SERVICE=hello`" in said), (calls, bool(calls)))
            self.assertEqual(tried.call_count, calls)
            self.make("remove", "hello")

    def test_a_usage_error_has_exit_code_64(self) -> None:
        for arguments in ((), ("new",), ("new", ""), ("add", "hello"), ("new", "a", "b")):
            self.assertEqual(self.make(*arguments)[0], 64, arguments)


class Refusals(InACopy):
    def refused(self, verb: str, name: str, reason: str) -> None:
        code, output = self.make(verb, name)
        self.assertEqual(code, 64, name)
        self.assertIn(reason, output)
        self.assertEqual(git(self.root, "status", "--porcelain"), "")

    def test_a_name_must_be_free_and_valid(self) -> None:
        for name, reason in (
            ("Hello", "lower-case"),
            ("-a", "lower-case"),
            ("a-", "lower-case"),
            ("1a", "lower-case"),
            ("a_b", "lower-case"),
            ("../a", "lower-case"),
            ("a" * 24, "1 to 23"),
            ("stats", "has this service already"),
            ("wire", "has a package wire"),
            ("serde", "has a package serde"),
            ("skeleton", "has a stage skeleton"),
            ("healthz", "reserved"),
            ("fn", "reserved"),
            # Not a text in YAML.
            *((name, "reserved") for name in ("no", "null", "off", "on", "yes")),
            # No folder of Windows has these names.
            *((name, "reserved") for name in ("aux", "con", "nul", "prn", "com1", "lpt9")),
            # Two names of docker-bake.hcl, and prefixes of HTTPS_PROXY, LS_COLORS and MEMORY_PRESSURE_WATCH.
            *((name, "reserved") for name in ("default", "image", "https", "ls", "memory")),
            # Their settings would begin like variables of desktops, SSH, git and GitHub.
            *((name, "reserved") for name in ("session", "ssh", "git", "github", "runner", "xdg", "lc", "term")),
            ("stats-2", "its settings would begin like those of stats"),
        ):
            self.refused("new", name, reason)

    def test_a_folder_that_a_build_leaves_out_is_no_name(self) -> None:
        ignored = (self.root / ".dockerignore").read_text(encoding="utf-8")
        for name in {*re.findall(r"^\*\*/([a-z-]+)$", ignored, re.MULTILINE), *dev.IGNORED}:
            self.refused("new", name, "cannot be the name")

    def test_the_services_that_can_be_removed_are_named(self) -> None:
        self.refused("remove", "other", "no service 'other'; `make new` has added none")
        self.make("new", "hello")
        self.assertIn("`make new` has added hello", self.make("remove", "other")[1])

    def test_a_service_is_added_once_and_a_folder_in_the_way_is_kept(self) -> None:
        self.make("new", "hello")
        (self.root / "services/mine").mkdir()
        (self.root / "services/mine/notes").write_text("mine")
        self.commit()
        self.refused("new", "hello", "has this service already")
        self.refused("new", "mine", "services/mine exists already")

    def test_a_file_that_a_sparse_clone_leaves_out_is_one_sentence(self) -> None:
        (self.root / "docs/architecture.md").unlink()
        code, said = self.make("new", "hello")
        self.assertEqual((code, len(said.splitlines())), (1, 1))
        self.assertIn("docs/architecture.md", said)
        self.assertFalse((self.root / "services/hello").exists())

    def test_a_lost_marker_is_named(self) -> None:
        self.replace("docker-compose.yaml", service_files.marker("services"), "#")
        self.commit()
        self.refused("new", "hello", "docker-compose.yaml must have the line '# `make new` adds services above")

    def test_a_merge_with_conflicts_comes_first(self) -> None:
        for branch in ("-b", "other"), ("-",):
            git(self.root, "checkout", "--quiet", *branch)
            (self.root / "README.md").write_text(f"{branch}\n")
            self.commit()
        with contextlib.suppress(subprocess.CalledProcessError):
            git(self.root, "merge", "--quiet", "other")
        code, output = self.make("new", "hello")
        self.assertEqual(code, 64)
        self.assertIn("resolve the merge conflicts first: README.md", output)

    def test_what_the_system_consists_of_cannot_be_removed(self) -> None:
        for name in ("stats", "frontend", "gateway"):
            self.refused("remove", name, "part of the system")
        self.refused("remove", "hello", "has no service 'hello'")


class Results(InACopy):
    """Edits of the files for a new service."""

    def setUp(self) -> None:
        super().setUp()
        code, output = self.make("new", "hello-world")
        self.assertEqual(code, 0, output)
        self.service = catalog.read(self.root)["hello-world"]

    def test_the_declaration_has_its_usual_form(self) -> None:
        self.assertEqual(self.text(catalog.FILE), catalog.written(catalog.read(self.root)))
        self.assertEqual(self.text(catalog.FILE).count('"crate"'), 4)

    def test_the_package_has_its_name_settings_and_port(self) -> None:
        main = self.text("services/hello-world/src/main.rs")
        for part in ('name: "hello-world"', 'listen_name: "HELLO_WORLD_LISTEN"', f"port: {self.service.port}"):
            self.assertIn(part, main)
        for file in (self.root / "services/hello-world").rglob("*"):
            if file.is_file():
                port = f"8081(?<!{self.service.port})"
                self.assertNotRegex(file.read_text(), rf"\bhello\b(?!-world)|\bHELLO_(?!WORLD)|{port}")

    def test_the_image_is_configured_like_the_others(self) -> None:
        text = self.text("Dockerfile")
        new, old = (dockerfile.stage(name, text).config() for name in ("hello-world", "stats"))
        self.assertEqual(new["ExposedPorts"], {f"{self.service.port}/tcp": {}})
        same = json.loads(json.dumps(old).replace("stats", "hello-world"))
        self.assertEqual({**new, "ExposedPorts": 0}, {**same, "ExposedPorts": 0})
        self.assertIn("FROM dependencies AS build-hello-world\n", text)
        # Without a target, Docker builds the last stage: the gateway.
        self.assertEqual(re.findall(r"AS (\S+)", text)[-1], "gateway")

    def test_the_gateway_routes_to_it(self) -> None:
        addresses = {name: f"{name}:{service.port}" for name, service in catalog.read(self.root).items()}
        settings = catalog.gateway_settings(catalog.read(self.root).values(), addresses, "/mine mine:1")
        self.assertEqual(
            settings["GATEWAY_ROUTES"], f"/hello-world hello-world:{self.service.port} check=/healthz; /mine mine:1"
        )
        routes = settings["GATEWAY_ROUTES"].replace("/mine mine:1", "${GATEWAY_ROUTES:-}")
        self.assertIn(f"GATEWAY_ROUTES: {routes}\n", self.text("docker-compose.yaml"))

    def test_the_documents_stay_below_their_limits(self) -> None:
        for name in documents.LIMITS:
            self.assertEqual([*documents.check(self.root, name)], [])

    def test_compose_accepts_the_files(self) -> None:
        compose = toolchain.compose()
        if compose is None:
            self.skipTest("Docker Compose is not installed")
        for other in ("docker-compose.override.yaml", "docker-compose.dev.yaml"):
            command = [*compose, "--file", "docker-compose.yaml", "--file", other, "config", "--format", "json"]
            done = subprocess.run(command, cwd=self.root, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            services = json.loads(done.stdout)["services"]
            self.assertEqual(set(services), set(catalog.read(self.root)))
            self.assertIn("hello-world", services["gateway"]["depends_on"])
            self.assertEqual(int(services["hello-world"]["mem_limit"]), self.service.compose_memory_mib << 20)

    def test_terraform_accepts_the_files(self) -> None:
        if shutil.which("terraform") is None:
            self.skipTest("Terraform is not installed")
        command = ["terraform", f"-chdir={self.root / 'tf'}", "fmt", "-check", "-recursive"]
        self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, 0)
        self.assertIn("hello-world = {}, gateway = {} }", self.text("tf/preconfigured/variables.tf"))

    def test_cargo_accepts_manifest_and_lock_file(self) -> None:
        environment = toolchain.environment()
        if shutil.which("cargo", path=environment["PATH"]) is None:
            self.skipTest("Cargo is not installed")
        command = ["cargo", "metadata", "--locked", "--offline", "--format-version=1", "--no-deps"]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, timeout=60)
        if b"--offline was specified" in done.stderr:
            self.skipTest("the crates are not downloaded")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertIn("hello-world", [package["name"] for package in json.loads(done.stdout)["packages"]])

    def test_the_sources_are_formatted_whatever_the_length_of_the_name(self) -> None:
        environment = toolchain.environment()
        if shutil.which("rustfmt", path=environment["PATH"]) is None:
            self.skipTest("rustfmt is not installed")
        command = ["rustfmt", "--edition", "2024", "--check", "--config-path", str(ROOT)]
        for name in ("ab", "hello", "a-name-as-long-as-it-is"):
            files = service_files.crate(service_files.new_service(name, 8099))
            for path in (path for path in files if path.endswith(".rs")):
                text = files[path].encode()
                done = subprocess.run(command, input=text, env=environment, stdout=subprocess.PIPE, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, b""), f"{name}: {path}")


class Template(unittest.TestCase):
    """The template is compiled only as a service, so its names are compared with the crates."""

    def test_it_names_what_the_crates_export(self) -> None:
        manifest = (service_files.TEMPLATE / "Cargo.toml").read_text(encoding="utf-8")
        workspace = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
        folders = dict(re.findall(r'^(\w+) = \{ path = "(crates/\w+)" \}$', workspace, re.MULTILINE))
        used = set(re.findall(r"^(\w+)\.workspace", manifest, re.MULTILINE)) & set(folders)
        self.assertEqual(len(used), 3, f"the template must use three of the crates {set(folders)}")
        for crate in used:
            sources = (ROOT / folders[crate] / "src").glob("*.rs")
            texts = {file.name: file.read_text(encoding="utf-8") for file in sources}
            exported = texts["lib.rs"] + "".join(re.findall(r"macro_rules! \w+", "".join(texts.values())))
            for name in names_of(crate):
                self.assertRegex(exported, rf"(pub (use|fn|struct|enum|mod|async fn) .*|[{{ ,]|! ){name}\b", crate)


def names_of(crate: str) -> set[str]:
    """The names of a crate that the template uses."""
    text = "".join(file.read_text(encoding="utf-8") for file in service_files.TEMPLATE.rglob("*.rs"))
    groups = re.findall(rf"\b{crate}::\{{(.*?)\}}", text)
    return {*re.findall(rf"\b{crate}::(\w+)", text), *(name for group in groups for name in group.split(", "))}


class Declaration(unittest.TestCase):
    """Other places that list the services are the same as services.json."""

    def test_the_file_has_its_usual_form(self) -> None:
        self.assertEqual((ROOT / catalog.FILE).read_text(encoding="utf-8"), catalog.written(catalog.ALL))

    def test_names_ports_and_routes_are_unique(self) -> None:
        services = catalog.ALL.values()
        routed = [service for service in services if service.route]
        self.assertEqual(len({service.port for service in services}), len(catalog.ALL))
        self.assertEqual(len({service.route for service in routed}), len(routed))
        self.assertEqual(catalog.public(services).name, "gateway")
        self.assertEqual(catalog.NAMES[-1], "gateway")

    def test_each_crate_has_the_name_of_its_service_and_its_port_by_default(self) -> None:
        for name, service in catalog.ALL.items():
            manifest = (ROOT / service.crate / "Cargo.toml").read_text(encoding="utf-8")
            self.assertIn(f'\nname = "{name}"\n', manifest)
            files = (ROOT / service.crate / "src").glob("*.rs")
            sources = "".join(file.read_text(encoding="utf-8") for file in files)
            self.assertTrue(re.search(rf"\bport: {service.port}\b", sources), name)
            self.assertTrue(f'"{service.listen_setting}"' in sources, name)

    def test_compose_has_the_memory_limits_and_health_paths(self) -> None:
        composed = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
        for name, service in catalog.ALL.items():
            self.assertEqual(composed[name]["mem_limit"], f"{service.compose_memory_mib}m")
            path = [] if service.health == "/healthz" else [service.health]
            self.assertEqual(composed[name]["healthcheck"]["test"], ["CMD", f"/{name}", "healthcheck", *path])
