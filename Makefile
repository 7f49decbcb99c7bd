# One line a verb; what a verb does is written in tools/.
PYTHON := $(or $(shell command -v python3),$(error python3 is missing: install Python 3.9 or newer, with its venv module))

.DEFAULT_GOAL := help
.PHONY: help tools dev up down logs build images check test bench bench-check clean
.PHONY: bootstrap plan push deploy smoke rollback destroy status cost

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

check: ## formatting, lints, and who may depend on whom
	@$(PYTHON) tools/check.py

test: ## everything: check, unit, integration, system and browser tests
	@$(PYTHON) tools/test.py

bench: ## measure this system and its peers: all of it into docs/benchmarks, or some: S=gateway-proxy
	@$(PYTHON) bench/run.py $(S)

bench-check: ## fail when something takes more instructions or room than bench/floors.json allows
	@$(PYTHON) bench/run.py --check

clean: ## remove what was built; the tools stay
	@$(PYTHON) tools/build.py clean

bootstrap: ## cloud: prepare the AWS account, once; safe to repeat
	@$(PYTHON) tools/deploy.py bootstrap

plan: ## cloud: show what `deploy` would change, e.g. `make plan ENV=staging`
	@$(PYTHON) tools/deploy.py plan

push: ## cloud: build and push the images alone
	@$(PYTHON) tools/deploy.py push

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
