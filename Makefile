# One line a command; what it does is in tools/. `###` lists a command in `make`, `##` in `make help-all` only.
PYTHON := $(or $(shell command -v python3),$(error python3 is missing: install Python 3.9 or newer, with its venv module))

.DEFAULT_GOAL := help
.PHONY: help help-all
.PHONY: dev new remove check test-fast test cold tools
.PHONY: up down logs
.PHONY: build images clean sbom reproducible test-arm64 audit outdated screenshot
.PHONY: bench conform exporter bench-check
.PHONY: bootstrap plan deploy rollback status smoke push apply mark-good verify run output cost drift destroy
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
	@$(PYTHON) tools/dev.py

new: ### add a service, build, start and test it: `make new SERVICE=hello`; TRY=no only writes the files
	@$(PYTHON) tools/new_service.py new "$(SERVICE)"

remove: ## remove a service that `new` has added: `make remove SERVICE=hello`
	@$(PYTHON) tools/new_service.py remove "$(SERVICE)"

check: ### formatting, lints, documents, workflows, dependency rules, licenses and sources
	@$(PYTHON) tools/check.py

test-fast: ### unit tests, single processes and a smoke test of the running system; two minutes
	@$(PYTHON) tools/test.py fast

test: ### every test: check, unit, system, browser, Terraform; some with PARTS=unit,gateway
	@$(PYTHON) tools/test.py

cold: ## run the README's commands on a bare Debian (root, debootstrap); VARIANT=, STEPS=
	@$(PYTHON) tools/cold.py

tools: ## install every compiler and helper below .tools/; instant if there is nothing to do
	@$(PYTHON) tools/install.py build test

## Run

up: ### build and start the release version, in the background
	@$(PYTHON) tools/run_local.py up

down: ### stop what `up` or `dev` started
	@$(PYTHON) tools/run_local.py down

logs: ### follow the logs of the system here, or in the cloud with ENV=staging
	@$(PYTHON) tools/$(if $(ENV),deploy,run_local).py logs

## Build

build: ### compile the page and the static binaries
	@$(PYTHON) tools/build.py binaries

images: ## pack each binary into its image and print the sizes
	@$(PYTHON) tools/build.py images

clean: ### remove what was built; the tools stay
	@$(PYTHON) tools/build.py clean

sbom: ## a CycloneDX bill of materials for each image, in target/sbom/
	@$(PYTHON) tools/sbom.py

reproducible: ## build everything (or S=stats) twice in different circumstances, and compare the bytes
	@$(PYTHON) tools/reproducible.py $(S)

test-arm64: ## cross-compile for arm64 and run the binaries under an emulator
	@$(PYTHON) tools/arm64.py

audit: ## known vulnerabilities and withdrawn versions of dependencies, from RustSec's database
	@$(PYTHON) tools/check.py audit

outdated: ## dependencies with newer versions: crates, wheels, compiler
	@$(PYTHON) tools/outdated.py

screenshot: ## a screenshot of the page: `make screenshot URL=http://localhost:3050`
	@$(PYTHON) tools/ci.py screenshot

## Measure

bench: ## measure this system and its peers: all of it into docs/benchmarks, or some: S=gateway-proxy
	@$(PYTHON) bench/run.py $(S)

conform: ## public suites of HTTP against the gateway, beside nginx and haproxy; one with S=h2spec
	@$(PYTHON) bench/conformance.py $(S)

exporter: ## the metrics of stats beside node_exporter's, and in public dashboards and alerts
	@$(PYTHON) bench/exporter.py

bench-check: ## fail when something takes more instructions or room than bench/budgets.json allows
	@$(PYTHON) bench/run.py --check

## Deploy to AWS, with ENV=

bootstrap: ## prepare the AWS account, once; safe to repeat
	@$(PYTHON) tools/deploy.py bootstrap

plan: ### show and keep what `deploy` would change: `make plan ENV=staging`
	@$(PYTHON) tools/deploy.py plan

deploy: ### build, push, apply, wait, test; restores the previous version on failure
	@$(PYTHON) tools/deploy.py deploy

rollback: ### restore the previous version
	@$(PYTHON) tools/deploy.py rollback

status: ### running tasks
	@$(PYTHON) tools/deploy.py status

smoke: ## the black-box tests against ENV=staging or URL=http://...
	@$(PYTHON) tools/deploy.py smoke

push: ## build and push images alone, for both processors; one with S=stats
	@$(PYTHON) tools/deploy.py push

apply: ## apply what `plan` showed, and nothing else; wait until it runs
	@$(PYTHON) tools/ci.py apply

mark-good: ## mark the running version as the one that a rollback restores
	@$(PYTHON) tools/ci.py mark-good

verify: ## check that IMAGE=registry/name@sha256:... was built by the workflow of REPOSITORY=owner/name
	@$(PYTHON) tools/deploy.py verify

run: ## one task of a service to its end: `make run ENV=staging S=stats CMD="--version"`
	@$(PYTHON) tools/ci.py run

output: ## Terraform's outputs, as JSON
	@$(PYTHON) tools/ci.py output

cost: ## the monthly cost of an environment
	@$(PYTHON) tools/deploy.py cost

drift: ## differences from the deployed code, and resources that are in no state
	@$(PYTHON) tools/ci.py drift

destroy: ## remove an environment
	@$(PYTHON) tools/deploy.py destroy

## For workflows

plan-offline: ## a plan without credentials, with simulated responses of AWS
	@$(PYTHON) tools/ci.py plan-offline

registry: ## images of this commit that are still missing in the registry
	@$(PYTHON) tools/ci.py registry

supersede: ## cancel earlier runs of main that wait for an approval
	@$(PYTHON) tools/ci.py supersede

comment: ## write or update the comment of a pull request, from target/report/
	@$(PYTHON) tools/ci.py comment

stale-previews: ## previews whose pull request is closed
	@$(PYTHON) tools/ci.py stale-previews

dist: ## archives of the binaries for both processors, in target/dist/
	@$(PYTHON) tools/release.py dist

publish: ## push the image of S=stats, with the binaries of target/dist/, to GitHub's registry
	@$(PYTHON) tools/release.py image

release: ## publish target/dist/ under the tag that is checked out
	@$(PYTHON) tools/release.py publish

codeowners: ## write .github/CODEOWNERS for this repository's owner, or for OWNERS="@org/team"
	@$(PYTHON) tools/codeowners.py
