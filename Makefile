# One line a verb; what a verb does is written in tools/.
PYTHON := $(or $(shell command -v python3),$(error python3 is missing: install Python 3.9 or newer, with its venv module))

.DEFAULT_GOAL := help
.PHONY: help new remove tools dev up down logs build images check test test-fast cold bench conform bench-check clean
.PHONY: audit sbom reproducible test-arm64
.PHONY: bootstrap plan push verify deploy smoke rollback destroy status cost
.PHONY: plan-offline registry apply supersede mark-good drift run output screenshot comment stale-previews outdated dist publish release codeowners

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

new: ## add a service, build, start and test it: `make new SERVICE=hello`; TRY=no only writes the files
	@$(PYTHON) tools/new_service.py new "$(SERVICE)"

remove: ## remove a service that `new` has added: `make remove SERVICE=hello`
	@$(PYTHON) tools/new_service.py remove "$(SERVICE)"

tools: ## install every compiler and helper below .tools/ (instant when there is nothing to do)
	@$(PYTHON) tools/install.py build test

dev: ## build, start, watch; an edit shows by itself; Ctrl-C stops everything
	@$(PYTHON) tools/dev.py

up: ## build and start the release version, in the background
	@$(PYTHON) tools/stack.py up

down: ## stop what `up` or `dev` started
	@$(PYTHON) tools/stack.py down

logs: ## follow the logs of what is running here, or in the cloud with ENV=staging
	@$(PYTHON) tools/$(if $(ENV),deploy,stack).py logs

build: ## compile the page and the three static binaries
	@$(PYTHON) tools/build.py binaries

images: ## pack each binary into its image and print the sizes
	@$(PYTHON) tools/build.py images

check: ## formatting, lints, workflows, who may depend on whom, what comes from outside
	@$(PYTHON) tools/check.py

test: ## every test: check, unit, system, browser, Terraform; some with PARTS=unit,gateway
	@$(PYTHON) tools/test.py

test-fast: ## unit tests, single processes and a smoke test of the running system; two minutes
	@$(PYTHON) tools/test.py fast

cold: ## run the README's commands on a bare Debian (root, debootstrap); VARIANT=, STEPS=
	@$(PYTHON) tools/cold.py

audit: ## known vulnerabilities and withdrawn versions of what is used; asks RustSec's database
	@$(PYTHON) tools/check.py audit

sbom: ## what is in each image, as CycloneDX, into target/sbom/
	@$(PYTHON) tools/sbom.py

reproducible: ## build everything (or S=stats) twice, in other folders and circumstances, and compare the bytes
	@$(PYTHON) tools/reproducible.py $(S)

test-arm64: ## cross-compile for arm64 and run the binaries under an emulator
	@$(PYTHON) tools/arm64.py

bench: ## measure this system and its peers: all of it into docs/benchmarks, or some: S=gateway-proxy
	@$(PYTHON) bench/run.py $(S)

conform: ## public suites of HTTP against the gateway, beside nginx and haproxy; one with S=h2spec
	@$(PYTHON) bench/conformance.py $(S)

bench-check: ## fail when something takes more instructions or room than bench/floors.json allows
	@$(PYTHON) bench/run.py --check

clean: ## remove what was built; the tools stay
	@$(PYTHON) tools/build.py clean

bootstrap: ## cloud: prepare the AWS account, once; safe to repeat
	@$(PYTHON) tools/deploy.py bootstrap

plan: ## cloud: show and keep what `deploy` would change, e.g. `make plan ENV=staging`
	@$(PYTHON) tools/deploy.py plan

push: ## cloud: build and push images alone, for both processors; one with S=stats
	@$(PYTHON) tools/deploy.py push

verify: ## cloud: that IMAGE=registry/name@sha256:... was built by the workflow of REPOSITORY=owner/name
	@$(PYTHON) tools/deploy.py verify

deploy: ## cloud: build, push, apply, wait, test; puts the previous version back if it is not good
	@$(PYTHON) tools/deploy.py deploy

smoke: ## cloud: the black-box tests against ENV=staging or URL=http://...
	@$(PYTHON) tools/deploy.py smoke

rollback: ## cloud: back to the version before
	@$(PYTHON) tools/deploy.py rollback

destroy: ## cloud: remove an environment
	@$(PYTHON) tools/deploy.py destroy

status: ## cloud: what runs
	@$(PYTHON) tools/deploy.py status

cost: ## cloud: what an environment costs a month
	@$(PYTHON) tools/deploy.py cost

plan-offline: ## a plan without credentials: what AWS would answer is made up
	@$(PYTHON) tools/pipeline.py plan-offline

registry: ## cloud: which images of this commit are still to be pushed
	@$(PYTHON) tools/pipeline.py registry

apply: ## cloud: apply what `plan` showed, and nothing else; wait until it runs
	@$(PYTHON) tools/pipeline.py apply

supersede: ## cloud: cancel earlier runs of main that wait for an approval
	@$(PYTHON) tools/pipeline.py supersede

mark-good: ## cloud: what runs is good, and what a rollback comes back to
	@$(PYTHON) tools/pipeline.py mark-good

drift: ## cloud: what differs from the code that was deployed, and what belongs to no state
	@$(PYTHON) tools/pipeline.py drift

run: ## cloud: one task of a service to its end, e.g. `make run ENV=staging S=stats CMD="--version"`
	@$(PYTHON) tools/pipeline.py run

output: ## cloud: Terraform's outputs, as JSON
	@$(PYTHON) tools/pipeline.py output

screenshot: ## what the page looks like, e.g. `make screenshot URL=http://localhost:3050`
	@$(PYTHON) tools/pipeline.py screenshot

comment: ## what a pull request is told, from target/report/
	@$(PYTHON) tools/pipeline.py comment

stale-previews: ## cloud: previews whose pull request is closed
	@$(PYTHON) tools/pipeline.py stale-previews

outdated: ## which pins are behind: crates, wheels, compiler
	@$(PYTHON) tools/outdated.py

dist: ## archives of the binaries for both processors, in target/dist/
	@$(PYTHON) tools/release.py dist

publish: ## push the image of S=stats, with the binaries of target/dist/, to GitHub's registry
	@$(PYTHON) tools/release.py image

release: ## publish target/dist/ under the tag that is checked out
	@$(PYTHON) tools/release.py publish

codeowners: ## write .github/CODEOWNERS for this repository's owner, or for OWNERS="@org/team"
	@$(PYTHON) tools/codeowners.py
