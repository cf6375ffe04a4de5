"""`Attempts`: how often a run is begun again whose workers die."""

from dataclasses import dataclass

ATTEMPTS = 3  # deaths of a run, none of which was in an epoch further than those before
STARTS = 10  # deaths of workers, one after another, before they had begun the run
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds after deaths before the beginning; doubled each time


@dataclass
class Attempts:
    """The deaths of one run's workers.

    A worker that dies before it has begun the run is no fault of the run's: such deaths count by themselves, and each is followed by a
    longer pause. A death in an epoch that no attempt had reached is the first of a new count.
    """

    begun: bool = False  # by the present worker
    epoch: int = 0  # the last that is over
    furthest: int = 0  # of the attempts before
    deaths: int = 0
    starts: int = 0

    def see(self, row: dict) -> None:
        """A row that the present worker has reported; an empty one when the run begins."""
        self.begun = True
        self.epoch = max(self.epoch, row.get("epoch", 0))

    def die(self) -> float | None:
        """The present worker has died: seconds until another one may begin, or None if that is enough."""
        if not self.begun:
            self.starts += 1
            return None if self.starts == STARTS else min(_PAUSE * 2 ** (self.starts - 1), _LONGEST_PAUSE)
        if self.epoch > self.furthest:
            self.furthest, self.deaths = self.epoch, 0
        self.begun, self.starts = False, 0
        self.deaths += 1
        return None if self.deaths == ATTEMPTS else 0.0

    @property
    def summary(self) -> str:
        """How often it has died, for the error of a run that is given up."""
        return f"{self.starts} times before the run began" if self.starts else f"{self.deaths} times"
