"""`make status ENV=NAME`: what runs, and whether it is what was applied."""

from __future__ import annotations

from dataclasses import replace

from tools.cloud import rollout
from tools.cloud.aws import Aws
from tools.cloud.rollout import Deployed
from tools.cloud.session import Session
from tools.common.progress import Failed, say


def show(here: Session, outputs: dict) -> None:
    """Prints the environment with its services and versions; Failed when not everything runs as it was applied."""
    name = here.environment.name
    if here.environment.base:
        users = ", ".join(here.previews()) or "no preview"
        print(f"{name}: {outputs['load_balancer']}, used by {users}")
        return
    print(f"{name}: {outputs['release']} at {outputs['url']}")
    found, asleep = states(here.aws, Deployed.of(outputs))
    for service, (text, _) in found.items():
        print(f"  {service:<10} {text}{', stopped by its schedule' if service in asleep else ''}")
    for release in here.releases.read()[-5:]:
        print(f"  proven     {release.time}  {release.revision}")
    if not all(done for _, done in found.values()):
        raise Failed("not everything runs as it was applied")
    if asleep:
        say(f"{name} sleeps: it starts again by its schedule (`hours`, docs/deploy.md), or with a deployment")


def states(aws: Aws, wanted: Deployed) -> tuple[dict[str, tuple[str, bool | None]], set[str]]:
    """The state of each service, and those that a schedule has stopped and that need no task."""
    found = rollout.states(aws, wanted)
    if all(done for _, done in found.values()):
        return found, set()
    asleep = stopped(aws, wanted)
    expected = replace(wanted, replicas={**wanted.replicas, **dict.fromkeys(asleep, 0)})
    return rollout.states(aws, expected), asleep


def stopped(aws: Aws, wanted: Deployed) -> set[str]:
    """The services whose scaler allows no task at the moment."""
    names = {f"service/{wanted.cluster}/{full}": name for name, full in wanted.services.items()}
    pages = aws.pages(
        "application-autoscaling", "describe_scalable_targets", ServiceNamespace="ecs", ResourceIds=list(names)
    )
    return {names[one["ResourceId"]] for page in pages for one in page["ScalableTargets"] if one["MaxCapacity"] == 0}
