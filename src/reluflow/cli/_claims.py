"""`reluflow claims`: measures the claims, two at a time, and keeps what is known."""

import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable

from ..claims import CATALOGUE, EXTRAS, Claim, Outcome, check
from ._claims_store import Store
from ._progress import Display
from ._settings import wrong


def chosen(ids: list[str] | None) -> tuple[Claim, ...]:
    """The claims of these ids, all of them where none is given."""
    if not ids:
        return CATALOGUE
    known = {claim.id: claim for claim in CATALOGUE}
    for name in ids:
        if name not in known:
            raise wrong("--claim", f"there is no {name!r}; there are {', '.join(known)}.")
    return tuple(known[name] for name in dict.fromkeys(ids))


def without_what_they_need(claims: tuple[Claim, ...]) -> dict[str, str]:
    """By id, the claims that cannot be measured here, and the command that would change it."""
    reasons = {}
    for claim in claims:
        if claim.missing:
            extras = ",".join(dict.fromkeys(EXTRAS[name] for name in claim.missing))
            names = " and ".join(claim.missing)
            reasons[claim.id] = f"needs {names}: pip install 'reluflow[{extras}]'"
    return reasons


def measure(
    claims: list[Claim], quick: bool, store: Store, display: Display
) -> dict[str, BaseException]:
    """Measures those that `store` does not hold, and adds each to it as soon as it is known.

    Returns the errors by id: a claim that raises one does not keep the others waiting.
    """
    waiting = [claim for claim in claims if claim.id not in store.outcomes]
    if len(waiting) < len(claims):
        kept = f"{len(claims) - len(waiting)} of {len(claims)} are known from before"
        display.note(f"{kept}, from {store.path}.")
    if not waiting:
        return {}
    display.begin(f"measuring {len(waiting)} claim{'s' * (len(waiting) > 1)}")
    results, errors = _two_at_a_time(waiting, quick), {}
    running, done = [], 0
    while done < len(waiting):
        claim, found = _next(results, display)
        if found is None:
            running.append(claim.id)
        else:
            running.remove(claim.id)
            done += 1
            if isinstance(found, Outcome):
                store.add(found)
                text = f"{found.verdict}, {found.seconds:.0f} s"
            else:
                errors[claim.id] = found
                text = f"could not be measured: {_described(found)}"
            display.note(f"{claim.id}: {text}")
        display.at(f"{done} done, now {' and '.join(running)}")
    return errors


def _two_at_a_time(claims: list[Claim], quick: bool) -> queue.Queue:
    """(claim, None) when one begins, (claim, its outcome or the error it raised) when it ends.

    While one compiles, which takes one core most of the time, another runs. One goes on from the
    front and one from the back, since neighbours share what is compiled. Daemon threads: a program
    that is interrupted does not wait for them.
    """
    waiting, results = deque(claims), queue.Queue()

    def work(take: Callable[[], Claim]) -> None:
        while True:
            try:
                claim = take()
            except IndexError:  # asked for first, there might be one that the other then takes
                return
            results.put((claim, None))
            try:
                results.put((claim, check(claim, quick)))
            except BaseException as error:
                results.put((claim, error))

    for take in (waiting.popleft, waiting.pop):
        threading.Thread(target=work, args=(take,), daemon=True).start()
    return results


def _next(results: queue.Queue, display: Display):
    while True:
        display.tick()
        try:
            return results.get(timeout=0.1)
        except queue.Empty:
            pass


def _described(error: BaseException) -> str:
    """An error in one line, with the place it was raised at."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}{place}"
    )
