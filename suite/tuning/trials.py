"""The story of a study: trials on a validation split, by any number of processes, until enough are finished.

A trial is a run like any other, on the training images alone: `suite.data.validation` puts some of them in the place of
the test images, which nothing here can reach. Finished trials are those that were completed or pruned; a study ends
when as many are finished as were asked for, over all processes at work on it. Which values the k-th trial gets depends
on the study's seed, on k and on the trials before it, not on the process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from torch import nn

from suite import data as datasets
from suite.data import Dataset
from suite.data.validation import validation
from suite.errors import Diverged, UserError
from suite.pipeline import Machine, run
from suite.progress import duration, logger
from suite.protocols.protocol import Subject, examples
from suite.smoothing.noise import key
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS
from suite.statistics.bounds import smallest_n
from suite.store.files import read_json
from suite.store.inventory import remove
from suite.training import Watch
from suite.tuning.definition import SAMPLERS, StudyDefinition, StudyOptions, begin, definition_of
from suite.tuning.mlflow import StudyLog
from suite.tuning.objectives import Objective
from suite.tuning.results import FINISHED
from suite.tuning.storage import Storage

LOOKS = 4  # training is looked at after each quarter but the last
LOOK_DRAWS, LOOK_IMAGES = 200, 100  # of the certificates made then
POLL = 0.5  # seconds between looks at trials that other processes still have to finish
HURRY = 3.0  # seconds that a process which is interrupted waits for MLflow
ENOUGH = 3  # trials in a row that fail end the process
BEGUN = "begun"  # attribute of a trial that a process is at work on: if it dies, that counts
LOST = "lost"  # attribute of a trial that is to be tried again: the attributes of the one that does
DOUBLE = "double"  # attribute of one that was in the queue twice


@dataclass(frozen=True)
class Work:
    """What a process needs to take part in a study."""

    study: optuna.Study
    definition: StudyDefinition
    storage: Storage
    machine: Machine
    log: StudyLog
    data: Dataset
    objectives: list[Objective]
    space: dict[str, BaseDistribution]


def tune(given: StudyOptions, name: str | None, trials: int, storage: Storage, machine: Machine) -> optuna.Study:
    """Take part in a study until `trials` are finished in it, by this process or by others; returns it.

    `given` and `name`: as for `suite.tuning.definition.begin`. Trials are runs in the folder "studies" of the runs,
    where they share the models that they start from. Raises UserError for everything the user can fix.
    """
    try:
        with storage.lock("begin"):
            study = begin(given, name, storage)
        definition = definition_of(study)
        work = Work(
            study, definition, storage,
            machine=replace(machine, runs=machine.runs / "studies", track=False),
            log=StudyLog(machine.runs, study, storage, on=machine.track),
            data=validation(datasets.load(definition.dataset, machine.data_root), definition.validation),
            objectives=definition.build_objectives(),
            space=definition.build_space(),
        )  # fmt: skip
        carry_on(work, trials)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise storage.explain(error) from error
    return study


def carry_on(work: Work, trials: int) -> None:
    """One trial after the other, until enough are finished."""
    study, begun, done, failed = work.study, time.monotonic(), 0, 0
    logger.info(f"study '{study.study_name}' in {work.storage.url}")
    while taken := take_trial(work, trials):
        trial, release = taken
        try:
            trial.set_user_attr(BEGUN, True)
            failed = 0 if attempt(work, trial) else failed + 1
        except BaseException as error:
            work.storage.drop_connections(error)
            give_back(work, trial, str(error) or type(error).__name__)
            raise
        finally:
            release()
        done += 1
        ended = study.get_trials(deepcopy=False)
        finished = sum(each.state in FINISHED for each in ended)
        left = duration((time.monotonic() - begun) / done * max(trials - finished, 0))
        line = f"{finished}/{trials} finished, {left} left; {describe_trial(work, ended[trial.number])}"
        logger.info(line)
        if failed == ENOUGH:
            raise UserError(f"{ENOUGH} trials in a row failed, the last: {ended[trial.number].user_attrs['error']}")
    work.log.end()


def describe_trial(work: Work, trial: FrozenTrial) -> str:
    """A trial in a line: what it tried, and what came of it."""
    tried = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in trial.params.items()
    )
    if trial.state != TrialState.COMPLETE:
        return f"trial {trial.number}: {tried}: {trial.state.name.lower()}"
    values = ", ".join(
        f"{name} {value:.4f}" for name, value in zip(work.definition.objectives, trial.values, strict=True)
    )
    return f"trial {trial.number}: {tried}: {values}"


def take_trial(work: Work, trials: int) -> tuple[Trial, Callable[[], None]] | None:
    """The next trial and what gives up its lock; None once enough are finished. Waits while others may still fail."""
    study, sampler = work.study, work.definition.sampler
    while True:
        with work.storage.lock(f"{study.study_name}: next"):
            reap(work)
            mend_queue(work)
            known = study.get_trials(deepcopy=False)
            states = Counter(trial.state for trial in known)
            finished, running = sum(states[state] for state in FINISHED), states[TrialState.RUNNING]
            exhausted = sampler == "grid" and not states[TrialState.WAITING]
            if finished >= trials or (exhausted and not running):
                return None
            if finished + running < trials and not exhausted:
                study.sampler = SAMPLERS[sampler](key(work.definition.seed, "trial", len(known)) % 2**32)
                trial = study.ask(work.space)
                release = work.storage.take(lock_name(work, trial.number), wait=True)
                assert release
                if sampler != "grid" or entry(study.get_trials(deepcopy=False)[trial.number]):
                    return trial, release
                study.tell(trial, state=TrialState.FAIL)  # a dead process's server had taken the last one meanwhile
                release()
        time.sleep(POLL)


def lock_name(work: Work, number: int) -> str:
    """Of the lock that the process at work on a trial holds."""
    return f"{work.study.study_name}: trial {number}"


def reap(work: Work) -> None:
    """Mark trials failed whose process died. One that was begun is tried once more; one that was not, again."""
    for trial in work.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        release = work.storage.take(lock_name(work, trial.number), wait=False)
        if release is None:
            continue
        known = work.study.get_trials(deepcopy=False)[trial.number]  # it may have ended before the lock was taken
        if known.state == TrialState.RUNNING:
            begun = BEGUN in known.user_attrs
            again = not begun or LOST in known.user_attrs or "retry_of" not in known.user_attrs
            lose(work, known, retry={"retry_of": trial.number} if begun else retry_of(known), again=again)
            work.log.lose_trial(trial.number)
            said = "it is tried again" if again else "for the second time; it is left"
            logger.info(f"the process of trial {trial.number} died: {said}")
        release()


def give_back(work: Work, trial: Trial, why: str) -> None:
    """Mark a trial that this process cannot end as one to be tried again; one that has ended stays as it is."""
    known = work.study.get_trials(deepcopy=False)[trial.number]
    if not known.state.is_finished():
        trial.set_user_attr("error", why)
        lose(work, known, retry=retry_of(known), again=True)


def retry_of(trial: FrozenTrial) -> dict[str, Any]:
    """Of a trial that repeats one whose process died: which."""
    return {name: value for name, value in trial.user_attrs.items() if name == "retry_of"}


def lose(work: Work, trial: FrozenTrial, retry: dict[str, Any], *, again: bool) -> None:
    """Mark a trial failed, and before, if it is to be tried again, what that one is told.

    Only what is failed for good is put into the queue, by `mend_queue`: so what a server carries out for a process that
    died, be it the end of that trial, comes before it or fails.
    """
    with suppress(UpdateFinishedTrialError):
        if again and LOST not in trial.user_attrs:
            work.storage.optuna.set_trial_user_attr(trial._trial_id, LOST, retry)
        work.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def mend_queue(work: Work) -> None:
    """Put into the queue what is to be tried again and is in no other trial; drop what is in the queue twice.

    (A server may still have put it there for a process that died, after this one looked.)
    """
    study, known = work.study, work.study.get_trials(deepcopy=False)
    tried = {entry(each) for each in known if each.state != TrialState.WAITING and DOUBLE not in each.user_attrs}
    tried |= {str(each.number) for each in known if each.state in FINISHED}
    for trial in known:
        double = DOUBLE in trial.user_attrs
        if trial.state == TrialState.WAITING and (double or entry(trial) in tried):
            work.storage.optuna.set_trial_user_attr(trial._trial_id, DOUBLE, True)
            work.storage.optuna.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        elif not double:
            tried.add(entry(trial))
    for trial in known:
        values = trial.params if trial.params.keys() == work.space.keys() else trial.system_attrs.get("fixed_params")
        if trial.state == TrialState.FAIL and LOST in trial.user_attrs and values and str(trial.number) not in tried:
            study.enqueue_trial(values, user_attrs={"again": trial.number, **trial.user_attrs[LOST]})


def entry(trial: FrozenTrial) -> str | None:
    """What a trial from the queue is there for: the number of the one that it repeats, or its values."""
    if "again" in trial.user_attrs:
        return str(trial.user_attrs["again"])
    values = trial.system_attrs.get("fixed_params")
    return json.dumps(values, sort_keys=True) if values else None


def attempt(work: Work, trial: Trial) -> bool:
    """Make the run of a trial and tell the study what came of it; false where the trial failed.

    Training that diverges is pruned: its values are bad, which the sampler has to learn. Raises OSError for a disk that
    is full, and KeyboardInterrupt.
    """
    values: list[float] | None = None
    state, folder, log = TrialState.COMPLETE, None, None
    try:
        spec = work.definition.trial_spec(trial.params).on(work.data.fingerprint)
        folder = work.machine.runs / spec.name
        trial.set_user_attr("run", spec.name)
        log = work.log.trial(trial.number, trial.params, spec, folder)
        finished = run(spec, work.machine, data=work.data, watch=build_watch(work, trial, spec), live=log)
        records, result = finished.records("certify"), read_json(folder / "result.json")
        values = [each.value(records, result) for each in work.objectives]
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except Diverged as error:
        trial.set_user_attr("error", str(error))
        state = TrialState.PRUNED
    except (UserError, RuntimeError) as error:
        trial.set_user_attr("error", str(error))
        state = TrialState.FAIL
    except BaseException as error:
        work.storage.drop_connections(error)
        work.log.end_trial(log, trial, TrialState.FAIL, None, at_most=HURRY)
        raise
    if folder:
        discard_weights(work, spec)
    work.log.end_trial(log, trial, state, values)
    work.study.tell(trial, values, state=state, skip_if_finished=True)
    return state != TrialState.FAIL


def discard_weights(work: Work, spec: RunSpec) -> None:
    """Of a trial's own model, which nobody deploys, unless another process is at work on it.

    Its records stay, and so does the model that it started from.
    """
    (work.machine.runs / spec.name / "model.safetensors").unlink(missing_ok=True)
    with suppress(UserError, FileNotFoundError):
        remove(work.machine.runs / "models" / spec.model.name)


def build_watch(work: Work, trial: Trial, spec: RunSpec) -> Watch | None:
    """Certifies a few validation images now and then during training, and prunes a trial that others are ahead of."""
    if len(work.objectives) > 1 or not work.objectives[0].prunes:
        return None
    wanted, c = work.objectives[0], spec.certify
    fewer = c.model_copy(update={"n": max(LOOK_DRAWS, smallest_n(c.alpha))})
    quick = spec.model_copy(update={"certify": fewer})
    certify = PROTOCOLS.get("certify")

    def watch(step: int, total: int, model: nn.Module) -> None:
        look = step * LOOKS // total
        if look == (step - 1) * LOOKS // total or look == LOOKS:
            return
        subject = Subject(
            model.eval(), quick, work.machine.batch_size, work.machine.torch_device,
            records=lambda name: pd.DataFrame(), other=lambda other: model,
        )  # fmt: skip
        images = range(min(LOOK_IMAGES, c.images, len(work.data.test)))
        made = certify.records(subject, examples(work.data.test, images))
        trial.report(wanted.value(pd.DataFrame(made), {}), step=100 * look // LOOKS)
        if trial.should_prune():
            raise optuna.TrialPruned

    return watch
