"""How many files of which kind a backup holds, and how large: the mixture and its tiers."""

import bisect
import math
import random
from dataclasses import dataclass, replace
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of media: its share of the files, and its lognormal sizes in bytes."""

    name: str
    share: float
    median: int
    sigma: float
    least: int
    most: int


KINDS = (
    Kind("image", 0.468, 150_000, 0.6, 15_000, 2_000_000),
    Kind("image-hd", 0.082, 1_200_000, 0.6, 300_000, 8_000_000),
    Kind("voice", 0.20, 18_000, 1.1, 2_000, 3_000_000),
    Kind("sticker", 0.10, 25_000, 0.6, 3_000, 500_000),
    Kind("video", 0.06, 3_500_000, 1.0, 200_000, 100_000_000),
    Kind("document", 0.04, 250_000, 1.6, 1_000, 100_000_000),
    Kind("clip", 0.02, 800_000, 0.7, 50_000, 16_000_000),
    Kind("audio", 0.01, 2_500_000, 0.8, 50_000, 60_000_000),
    Kind("tiny", 0.02, 2_000, 1.0, 0, 40_000),
)

FORWARDS = 0.05
"""The share of files that are forwards: the bytes of another file of their kind."""

EMPTY_OF_TINY = 0.25


@dataclass(frozen=True, slots=True)
class Tier:
    """How large a backup is. Sizes are bytes; `limit` is for everything together."""

    files: int
    largest: int
    limit: int
    plain: int
    crypt: int
    rotated: int
    signal_files: int
    one_folder: bool

    def scaled(self, factor: float) -> "Tier":
        """A tier with that many times the files and bytes."""
        return replace(
            self,
            files=max(1, round(self.files * factor)),
            limit=round(self.limit * factor),
            plain=round(self.plain * factor),
            crypt=round(self.crypt * factor),
            signal_files=max(1, round(self.signal_files * factor)),
        )

    def limited(self, limit: int) -> "Tier":
        """The same tier within another limit, in bytes."""
        return replace(self, limit=limit)

    def databases(self) -> int:
        """Bytes of everything that is not media: databases, their copies, Signal's files."""
        return self.plain + self.crypt * (1 + self.rotated) + self.crypt // 2 + self.signal_files * SIGNAL_MEAN


SIGNAL_MEAN = 40_000

TIERS = {
    "ci": Tier(200, 4_000_000, 97_000_000, 4_000_000, 2_000_000, 3, 64, one_folder=False),
    "medium": Tier(10_000, 100_000_000, 1 << 40, 120_000_000, 60_000_000, 7, 1_000, one_folder=False),
    "large": Tier(100_000, 100_000_000, 8 << 30, 490_000_000, 247_000_000, 7, 5_000, one_folder=True),
}


@dataclass(frozen=True, slots=True)
class Media:
    """One media file's kind, size in bytes, and which content it has."""

    kind: Kind
    size: int
    content: int


def counts(files: int) -> list[int]:
    """Files of each kind, by largest remainder: they add up to `files`."""
    exact = [kind.share * files for kind in KINDS]
    result = [int(number) for number in exact]
    for index in sorted(range(len(KINDS)), key=lambda i: result[i] - exact[i])[: files - sum(result)]:
        result[index] += 1
    return result


def sizes(kind: Kind, number: int, rng: random.Random) -> list[int]:
    """One size from each of `number` equal parts of the distribution, so that totals hardly depend on the seed."""
    normal = NormalDist()
    found = []
    for index in range(number):
        place = normal.inv_cdf((index + rng.uniform(0.01, 0.99)) / number)
        size = int(kind.median * math.exp(kind.sigma * place))
        found.append(max(kind.least, min(kind.most, size)))
    if kind.least == 0:
        found[: int(number * EMPTY_OF_TINY)] = [0] * int(number * EMPTY_OF_TINY)
    rng.shuffle(found)
    return found


def draw(tier: Tier, rng: random.Random) -> list[Media]:
    """The media of a tier: sizes by kind, 5 % forwards, the largest cut so that everything fits the limit."""
    media = [
        Media(kind, min(size, tier.largest), 0)
        for kind, number in zip(KINDS, counts(tier.files), strict=True)
        for size in sizes(kind, number, rng)
    ]
    media = [Media(item.kind, item.size, number) for number, item in enumerate(media)]
    media = _with_forwards(media, rng)
    cap = _cap([item.size for item in media], tier.limit - tier.databases())
    return [Media(item.kind, min(item.size, cap), item.content) for item in media]


def _with_forwards(media: list[Media], rng: random.Random) -> list[Media]:
    """The same media, but 5 % have the bytes of another file of their kind.

    The one nearest in size: forwards must not change what the mixture adds up to.
    """
    chosen = set(rng.sample(range(len(media)), round(len(media) * FORWARDS)))
    originals: dict[str, list[Media]] = {kind.name: [] for kind in KINDS}
    for index, item in enumerate(media):
        if index not in chosen and item.size:
            originals[item.kind.name].append(item)
    for same in originals.values():
        same.sort(key=lambda item: item.size)
    for index in chosen:
        same = originals[media[index].kind.name]
        if same:
            nearest = bisect.bisect_left(same, media[index].size, key=lambda item: item.size)
            media[index] = same[min(nearest, len(same) - 1)]
    return media


def _cap(sizes_: list[int], budget: int) -> int:
    """The largest size to allow so that all sizes together fit the budget. ValueError if none does."""
    if sum(sizes_) <= budget:
        return max(sizes_)
    if budget < len(sizes_):
        raise ValueError("the databases alone fill the limit")
    low, high = 0, max(sizes_)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(min(size, middle) for size in sizes_) <= budget else (low, middle)
    return low
