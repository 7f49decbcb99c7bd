# One line a command; what it does is in the packages of tools/. `###` lists a command in `make`, `##` in `make help-all` only.
# Its name and not its path, which may have spaces. The redirection makes make before 4.3 ask a shell, which has `command`.
PYTHON := $(if $(shell command -v python3 2>/dev/null),python3,$(error python3 is missing: install Python 3.9 or newer, with its venv module))

# `make down clean` with -j in MAKEFLAGS must not remove what still runs.
.NOTPARALLEL:

# Python would not find the scripts in this folder, or others with their name, such as PyTorch's package `tools`.
unexport PYTHONSAFEPATH PYTHONPATH
# Shells read a file of that name (POSIX), such as ~/.shrc: that is no environment on AWS.
ifeq ($(origin ENV)$(findstring /,$(ENV)),environment/)
ENV :=
endif

.DEFAULT_GOAL := help
.PHONY: help help-all
.PHONY: dev new remove check test-fast test cold tools
.PHONY: up down logs
.PHONY: build images clean sbom reproducible test-arm64 audit outdated screenshot
.PHONY: bench conform exporter fuzz bench-check
.PHONY: bootstrap plan deploy rollback status smoke push apply mark-good verify run output cost drift destroy provider-lock
.PHONY: plan-offline registry supersede comment stale-previews dist publish release codeowners

help: ## print the most important commands
	@awk -v mark='###' $(LIST) $(MAKEFILE_LIST)
	@echo; echo "  make help-all     every command, also those for workflows"

help-all: ## print every command
	@awk -v mark='##' $(LIST) $(MAKEFILE_LIST)

# A heading is printed before the first of its commands.
define LIST
'/^## / { heading = substr($$0, 4) } \
match($$0, "^[a-z0-9-]+:.*" mark "#* ") { \
	if (heading != "") print "\n" heading; heading = ""; \
	split($$0, part, ":"); sub("^[^#]*#+ ", ""); printf "  make %-15s %s\n", part[1], $$0 }'
endef

## Develop

dev: ### build, start, watch: an edit appears in the open page; Ctrl-C stops everything
	@$(PYTHON) -m tools.local.dev

new: ### add a service, build, start and test it: `make new SERVICE=hello`; TRY=no only writes the files
	@$(PYTHON) -m tools.local.new_service new

remove: ## remove a service that `new` has added: `make remove SERVICE=hello`
	@$(PYTHON) -m tools.local.new_service remove

check: ### formatting, lints, documents, workflows, dependency rules, licenses and sources
	@$(PYTHON) -m tools.ci.check

test-fast: ### unit tests, single processes and a smoke test of the running system; two minutes
	@$(PYTHON) -m tools.ci.test fast

test: ### every test: check, unit, system, browser, Terraform; some with PARTS=unit,gateway
	@$(PYTHON) -m tools.ci.test

cold: ## run the README's commands on a bare Debian (root, debootstrap); VARIANT=, STEPS=
	@$(PYTHON) -m tools.ci.cold

tools: ## install every compiler and helper below .tools/; instant if there is nothing to do
	@$(PYTHON) -m tools.install build test

## Run

up: ### build and start the release version, in the background
	@$(PYTHON) -m tools.local.run_local up

down: ### stop what `up` or `dev` started
	@$(PYTHON) -m tools.local.run_local down

logs: ### follow the logs of the system here, or in the cloud with ENV=staging
	@$(PYTHON) -m tools.$(if $(ENV),cloud.deploy,local.run_local) logs

## Build

build: ### compile the page and the static binaries
	@$(PYTHON) -m tools.build.build binaries

images: ## pack each binary into its image and print the sizes
	@$(PYTHON) -m tools.build.build images

clean: ### remove what was built; the tools stay
	@$(PYTHON) -m tools.build.build clean

sbom: ## a CycloneDX bill of materials for each image, in target/sbom/
	@$(PYTHON) -m tools.supply.sbom

reproducible: ## build everything (or S=stats) twice in different circumstances, and compare the bytes
	@$(PYTHON) -m tools.build.reproducible $(S)

test-arm64: ## cross-compile for arm64 and run the binaries under an emulator
	@$(PYTHON) -m tools.build.arm64

audit: ## known vulnerabilities and withdrawn versions of dependencies, from RustSec's database
	@$(PYTHON) -m tools.ci.check audit

outdated: ## dependencies with newer versions: crates, wheels, compiler
	@$(PYTHON) -m tools.supply.outdated

screenshot: ## a screenshot of the page: `make screenshot URL=http://localhost:3050`
	@$(PYTHON) -m tools.ci.ci screenshot

## Measure

bench: ## measure this system and its peers: all of it into docs/benchmarks.md, or some: S=gateway-proxy
	@$(PYTHON) bench/run.py $(S)

conform: ## public suites of HTTP against the gateway, beside nginx and haproxy; one with S=h2spec
	@$(PYTHON) bench/conformance.py $(S)

exporter: ## the metrics of stats beside node_exporter's, and in public dashboards and alerts
	@$(PYTHON) bench/exporter.py

fuzz: ## mutated input for every parser, 60 s each; one with S=gateway/cache, longer with FUZZ_SECONDS=
	@$(PYTHON) -m tools.ci.fuzz $(S)

bench-check: ## fail when something takes more instructions or room than bench/budgets.json allows
	@$(PYTHON) bench/run.py --check

## Deploy to AWS, with ENV=

bootstrap: ## prepare the AWS account, once; safe to repeat
	@$(PYTHON) -m tools.cloud.deploy bootstrap

plan: ### show and keep what `deploy` would change: `make plan ENV=staging`
	@$(PYTHON) -m tools.cloud.deploy plan

deploy: ### build, push, apply, wait, test; restores the previous version on failure
	@$(PYTHON) -m tools.cloud.deploy deploy

rollback: ### restore the previous version
	@$(PYTHON) -m tools.cloud.deploy rollback

status: ### running tasks
	@$(PYTHON) -m tools.cloud.deploy status

smoke: ## the black-box tests against ENV=staging or URL=http://...
	@$(PYTHON) -m tools.cloud.deploy smoke

push: ## build and push images alone, for both processors; one with S=stats
	@$(PYTHON) -m tools.cloud.deploy push

apply: ## apply what `plan` showed, and nothing else; wait until it runs
	@$(PYTHON) -m tools.ci.ci apply

mark-good: ## mark the running version as the one that a rollback restores
	@$(PYTHON) -m tools.ci.ci mark-good

verify: ## check that IMAGE=registry/name@sha256:... was built by the workflow of REPOSITORY=owner/name
	@$(PYTHON) -m tools.cloud.deploy verify

run: ## one task of a service to its end: `make run ENV=staging S=stats CMD="--version"`
	@$(PYTHON) -m tools.ci.ci run

output: ## Terraform's outputs, as JSON
	@$(PYTHON) -m tools.ci.ci output

cost: ## the monthly cost of an environment
	@$(PYTHON) -m tools.cloud.deploy cost

drift: ## differences from the deployed code, and resources that are in no state
	@$(PYTHON) -m tools.ci.ci drift

destroy: ## remove an environment
	@$(PYTHON) -m tools.cloud.deploy destroy

provider-lock: ## checksums of Terraform's provider, to commit; needs Terraform's registry
	@$(PYTHON) -m tools.cloud.locks

## For workflows

plan-offline: ## a plan without credentials, with simulated responses of AWS
	@$(PYTHON) -m tools.ci.ci plan-offline

registry: ## images of this commit that are still missing in the registry
	@$(PYTHON) -m tools.ci.ci registry

supersede: ## cancel earlier runs of main that wait for an approval
	@$(PYTHON) -m tools.ci.ci supersede

comment: ## write or update the comment of a pull request, from target/report/
	@$(PYTHON) -m tools.ci.ci comment

stale-previews: ## previews whose pull request is closed
	@$(PYTHON) -m tools.ci.ci stale-previews

dist: ## archives of the binaries for both processors, in target/dist/
	@$(PYTHON) -m tools.supply.release dist

publish: ## push the image of S=stats, with the binaries of target/dist/, to GitHub's registry
	@$(PYTHON) -m tools.supply.release image

release: ## publish target/dist/ under the tag that is checked out
	@$(PYTHON) -m tools.supply.release publish

codeowners: ## write .github/CODEOWNERS for this repository's owner, or for OWNERS="@org/team"
	@$(PYTHON) -m tools.ci.ci codeowners
