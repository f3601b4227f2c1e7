"""Which instances have been idle for long enough to be unloaded."""

from __future__ import annotations

from core.scheduling.world import Release, World
from core.states import State


def idle_releases(world: World) -> list[Release]:
    """Release every idle instance whose model's `alive_time` has passed; pinned ones never."""
    releases = []
    wanted = {demand.model for demand in world.demands}
    for instance in world.instances:
        view = world.models.get(instance.model)
        if view is None or view.model.alive_time is None or view.model.pinned:
            continue
        if instance.state not in (State.READY, State.SLEEPING) or instance.leases:
            continue
        idle = world.now - instance.idle_since
        if idle >= view.model.alive_time and instance.model not in wanted:
            releases.append(Release(instance.id, f"idle for {idle / 60:.0f} min", stop=True))
    return releases
