"""Running a stage that makes data on a Ray cluster."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from ..cluster import RayCluster
from ..config import expand_path
from ..data.progress import SpacedLines, track
from .chunk_worker import ChunkWorker, survey_chunks
from .interrupt import Interrupt
from .resume import Resume
from .run_stage import listed
from .stage import StageConfig, StageJob, StageResult

__all__ = ["run_stage_on_ray"]


def run_stage_on_ray(
    build: Callable[[], StageJob], config: StageConfig, *, address: str, workers: int, resume: Resume = "auto"
) -> StageResult:
    """Make this run's share of the chunks, those that are not there yet, by the workers of a Ray cluster.

    Files are those of :func:`ar_core.training.run_stage`, and either goes on with what the other left. Workers write them, into a folder
    that all machines share. One that dies takes nothing along but the chunk at work, which is made anew; so does a caller that dies, with
    its workers. A signal ends the run behind the next chunk that is done; those at work beside it are made anew by the next run.

    Args:
        build: builds what is made, once in each worker and once in a process that opens the folder and counts the items; of an importable
            module.
        config: where, and which share.
        address: as for :class:`ar_core.cluster.RayCluster`.
        workers: processes, each with the model.
        resume: as for `run_stage`.

    Raises:
        ClusterError: the cluster cannot be reached, or loses worker after worker.
        ArError: as `run_stage` and ``build`` do.
    """
    made = 0
    counts: Counter[str] = Counter()
    lines = SpacedLines()
    # Here expanded, since `~` and variables of another machine may name another folder.
    config = replace(config, directory=str(expand_path(config.directory)))
    with RayCluster(address, workers=workers, device=config.device) as cluster:
        # A signal ends the survey at once, which a cluster without a free core would keep waiting.
        present, missing = cluster.call(survey_chunks, build, config, resume)
        with Interrupt() as interrupt, closing(cluster.map(ChunkWorker, (build, config), missing)) as results:
            for counted in track(results, "chunks", len(missing)):
                counts.update(counted)
                made += 1
                lines.say(f"chunk {made}/{len(missing)}: {listed(counts)}")
                if interrupt.requested and made < len(missing):
                    return StageResult(made, present, counts, interrupted=True)
    return StageResult(made, present, counts)
