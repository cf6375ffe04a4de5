"""`Attempts`: the deaths of a run's workers, and whether the run is begun again."""

from dataclasses import dataclass

ATTEMPTS = 3  # deaths of a run without progress between them
STARTS = 10  # deaths in a row of workers that had not begun the run
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds to wait after such a death; doubled each time


@dataclass
class Attempts:
    """The deaths of one run's workers.

    Crashes while a worker starts are counted separately from crashes during a run, and each is followed by a longer pause. A death in
    an epoch that no earlier attempt had reached begins a new count.
    """

    begun: bool = False  # True once the present worker has begun the run
    epoch: int = 0  # the last epoch that is over
    furthest: int = 0  # the furthest epoch of the attempts before
    deaths: int = 0
    starts: int = 0

    def see(self, row: dict) -> None:
        """Note a row that the present worker has reported; an empty row when the run begins."""
        self.begun = True
        self.epoch = max(self.epoch, row.get("epoch", row.get("permutation", 0)))

    def die(self) -> float | None:
        """Note that the present worker has died. Returns the seconds until another may begin, or None to give up."""
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
        """The number of deaths in words, for the error of a run that is given up."""
        return f"{self.starts} times before the run began" if self.starts else f"{self.deaths} times"
