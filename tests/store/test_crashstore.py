"""The crash simulation leaves what a power cut may leave: nothing synced is lost, everything else is tried."""

import itertools
import random
from collections.abc import Callable

import pytest

from tests.support.crashstore import SECTOR, CrashSimulator, crash_states
from tests.support.image import Image
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore

Content = dict[str, bytes]


def content(store: MemoryStore) -> Content:
    """Every object's path and bytes."""
    return {
        f"{folder}/{name}" if folder else name: image.read(image.size, 0)
        for folder, names in store.tree.items()
        for name, image in names.items()
        if image is not None
    }


def started() -> RecordingStore:
    """A recorded store with a folder and two durable objects."""
    inner = MemoryStore()
    inner.make_folder("f")
    inner.create("a").write([b"old a"], 0)
    inner.create("f/b").write([b"old b"], 0)
    return RecordingStore(inner)


def outcomes(store: RecordingStore, *, limit: int = 1000, poor: bool = False) -> list[Content]:
    """The distinct contents after a cut now."""
    found: list[Content] = []
    for state in crash_states(store.log, len(store.log), rng=random.Random(1), limit=limit, poor=poor):
        if (seen := content(state)) not in found:
            found.append(seen)
    return found


def seen_of(store: RecordingStore, path: str, *, poor: bool = False) -> set[bytes | None]:
    """What becomes of one object after a cut now."""
    return {state.get(path) for state in outcomes(store, poor=poor)}


def test_what_is_synced_is_there_and_nothing_else_happens() -> None:
    store = started()
    file = store.create("f/c")
    file.write([b"new"], 0)
    file.truncate(2)
    store.rename("a", "f/b")
    store.delete("f/b")
    file.sync()
    store.sync_folder("f")
    store.sync_folder("")
    assert outcomes(store) == [{"f/c": b"ne"}]


def test_unsynced_writes_are_there_or_not_in_any_combination() -> None:
    store = started()
    file = store.open("a", write=True)
    for offset, byte in enumerate((b"1", b"2", b"3")):
        file.write([byte], offset)
    wanted = {bytes(x) for x in itertools.product(b"o1", b"l2", b"d3")}
    assert seen_of(store, "a") == {start + b" a" for start in wanted}


def test_a_later_write_may_be_there_without_an_earlier_one_below_it() -> None:
    store = started()
    file = store.open("a", write=True)
    file.write([b"11111"], 0)
    file.write([b"22"], 1)
    assert seen_of(store, "a") == {b"old a", b"11111", b"o22 a", b"12211"}


def test_an_append_may_be_only_length() -> None:
    store = started()
    store.open("a", write=True).write([b"++"], 5)
    assert seen_of(store, "a") == {b"old a", b"old a\0\0", b"old a++"}


def test_a_write_is_torn_at_sectors_only() -> None:
    store = started()
    store.open("a", write=True).truncate(3 * SECTOR)
    store.open("a", write=True).sync()
    store.open("a", write=True).write([b"x" * 2 * SECTOR], SECTOR // 2)
    after = {data and (data[: SECTOR // 2], data[SECTOR // 2 :]) for data in seen_of(store, "a")}
    start, rest, half = b"old a".ljust(SECTOR // 2, b"\0"), bytes(5 * SECTOR // 2), SECTOR // 2
    x = b"x" * SECTOR * 2
    assert after == {
        (start, rest),
        (start, x + bytes(half)),
        (start, x[:half] + bytes(2 * SECTOR)),
        (start, bytes(half) + x[half:] + bytes(half)),
    }


def test_random_tears_reach_every_sector() -> None:
    store = started()
    file = store.open("a", write=True)
    file.write([bytes([65 + number]) * SECTOR for number in range(5)], 0)
    for offset in range(6):
        file.write([b"?"], 10_000 + offset)
    tears = {
        tuple(seen["a"][number * SECTOR : number * SECTOR + 1] == bytes([65 + number]) for number in range(5))
        for seen in outcomes(store, limit=400)
    }
    assert len(tears) == 32


def test_truncation_and_allocation_are_there_or_not() -> None:
    store = started()
    store.open("a", write=True).truncate(2)
    store.open("f/b", write=True).allocate(7)
    assert seen_of(store, "a") == {b"old a", b"ol"}
    assert seen_of(store, "f/b") == {b"old b", b"old b\0\0"}


def test_a_new_name_and_its_data_are_durable_apart() -> None:
    store = started()
    file = store.create("c")
    file.write([b"new"], 0)
    assert seen_of(store, "c") == {None, b"", b"\0\0\0", b"new"}
    file.sync()
    assert seen_of(store, "c") == {None, b"new"}
    store.sync_folder("f")
    assert seen_of(store, "c") == {None, b"new"}, "another folder's sync does not help"
    store.sync_folder("")
    assert seen_of(store, "c") == {b"new"}


def test_a_deleted_object_may_be_back() -> None:
    store = started()
    store.delete("a")
    assert seen_of(store, "a") == {None, b"old a"}
    store.sync_folder("")
    assert seen_of(store, "a") == {None}


def test_a_name_used_again_shows_one_of_its_objects() -> None:
    store = started()
    store.delete("a")
    store.create("a").write([b"new"], 0)
    store.open("a").sync()
    assert seen_of(store, "a") == {None, b"old a", b"new"}


@pytest.mark.parametrize(("old", "new"), [("a", "z"), ("a", "f/b"), ("f/b", "a")])
def test_a_rename_happened_or_not_and_only_poor_file_systems_do_half(old: str, new: str) -> None:
    store = started()
    before = content(store.log.initial)
    store.rename(old, new)
    after = {path: data for path, data in before.items() if path not in (old, new)} | {new: before[old]}
    proper, poor = outcomes(store), outcomes(store, poor=True)
    assert len(proper) == 2
    assert before in proper
    assert after in proper
    assert len(poor) == 4
    assert before | after in poor, "both names"
    assert {path: data for path, data in before.items() if path != old} in poor, "neither"


def test_a_rename_across_folders_needs_both_synced() -> None:
    store = started()
    store.rename("a", "f/c")
    store.sync_folder("f")
    assert [{path for path in state if path != "f/b"} for state in outcomes(store)] == [{"a", "f/c"}, {"f/c"}]
    store.sync_folder("")
    assert [{path for path in state if path != "f/b"} for state in outcomes(store)] == [{"f/c"}]


def test_replacing_without_a_sync_can_lose_the_content() -> None:
    """The bug every program has had: the name is durable, what it names is not."""

    def replace(store: RecordingStore, *, sync: bool) -> None:
        file = store.create("new")
        file.write([b"new a"], 0)
        if sync:
            file.sync()
        store.rename("new", "a")

    careless, careful = started(), started()
    replace(careless, sync=False)
    replace(careful, sync=True)
    assert b"" in seen_of(careless, "a")
    assert seen_of(careful, "a") == {b"old a", b"new a"}


def test_a_new_folder_without_a_sync_takes_its_content_with_it() -> None:
    store = started()
    store.make_folder("g")
    store.make_folder("g/h")
    file = store.create("g/h/c")
    file.write([b"new"], 0)
    file.sync()
    store.sync_folder("g/h")
    store.sync_folder("g")
    assert seen_of(store, "g/h/c") == {None, b"new"}
    state = next(crash_states(store.log, len(store.log), rng=random.Random(1)))
    assert (state.names(""), set(state.tree)) == (["a", "f"], {"", "f"})
    store.sync_folder("")
    assert seen_of(store, "g/h/c") == {b"new"}


def test_a_failed_sync_is_not_made_good_by_a_later_one() -> None:
    store = started()
    file = store.open("a", write=True)
    file.write([b"1"], 0)
    file.fail_sync()
    file.write([b"2"], 1)
    file.sync()
    assert seen_of(store, "a") == {b"o2d a", b"12d a"}
    file.write([b"3"], 2)
    assert seen_of(store, "a") == {b"o2d a", b"12d a", b"o23 a", b"123 a"}


def test_every_cut_counts_only_what_came_before_it() -> None:
    store = started()
    file = store.open("a", write=True)
    file.write([b"1"], 0)
    file.sync()
    file.write([b"2"], 0)
    simulator = CrashSimulator(store.log)
    seen = [
        {content(state)["a"][:1] for state in crash_states(simulator, at, rng=random.Random(1))}
        for at in range(len(store.log) + 1)
    ]
    assert seen == [{b"o"}, {b"o", b"1"}, {b"1"}, {b"1", b"2"}]
    with pytest.raises(ValueError, match="already past"):
        simulator.advance(1)


def test_states_are_independent_of_each_other_and_of_the_recording() -> None:
    store = started()
    store.open("a", write=True).write([b"1"], 0)
    first, second = crash_states(store.log, 1, rng=random.Random(1))
    for state in (first, second):
        state.open("a", write=True).write([b"?" * 9000], 0)
        state.open("f/b", write=True).truncate(0)
        state.create("f/c")
        state.delete("a")
    assert outcomes(store) == [{"a": b"old a", "f/b": b"old b"}, {"a": b"1ld a", "f/b": b"old b"}]
    assert store.open("a").read(9, 0) == b"1ld a"


def test_sampling_begins_with_the_extremes_and_repeats_with_the_seed() -> None:
    store = started()
    file = store.open("a", write=True)
    file.truncate(100)
    file.sync()
    for offset in range(40):
        file.write([bytes([65 + offset])], offset)

    def sample(seed: int) -> list[bytes]:
        states = crash_states(store.log, len(store.log), rng=random.Random(seed), limit=50)
        return [content(state)["a"][:40] for state in states]

    full, none = bytes(range(65, 105)), b"old a" + bytes(35)
    first = sample(1)
    assert first[:4] == [none, full, none[:39] + full[39:], full[:39] + none[39:]]
    assert first[4][::2] == full[::2]
    assert first[4][1::2] == none[1::2]
    assert len(set(first)) == 50
    assert sample(1) == first
    assert sample(2) != first


class NaiveModel:
    """What is surely durable, and what is there now, kept the slow and obvious way."""

    def __init__(self, store: RecordingStore) -> None:
        self.store = store
        self.files = {path: bytearray(data) for path, data in content(store.log.initial).items()}
        self.data = {id(file): bytes(file) for file in self.files.values()}
        self.names = dict(self.files)
        self.kept: list[object] = []
        """Keeps files that lost their name, so that no other gets their id()."""

    def step(self, rng: random.Random) -> None:
        path = rng.choice([folder + name for folder in ("", "f/") for name in "abcd"])
        there = path in self.files
        acts: list[Callable[[], None]] = [lambda: self.sync_folder(rng.choice(("", "f")))]
        if there:
            acts += [
                lambda: self.write(path, rng.randrange(3000), rng.randbytes(rng.choice((1, 700)))),
                lambda: self.truncate(path, rng.randrange(3000)),
                lambda: self.sync(path),
                lambda: self.delete(path),
                lambda: self.rename(path, rng.choice("abcd")),
            ]
        else:
            acts += [lambda: self.create(path)] * 3
        rng.choice(acts)()

    def create(self, path: str) -> None:
        self.store.create(path)
        file = self.files[path] = bytearray()
        self.data[id(file)] = b""

    def write(self, path: str, offset: int, data: bytes) -> None:
        self.store.open(path, write=True).write([data], offset)
        file = self.files[path]
        file.extend(bytes(max(offset + len(data) - len(file), 0)))
        file[offset : offset + len(data)] = data

    def truncate(self, path: str, size: int) -> None:
        self.store.open(path, write=True).truncate(size)
        file = self.files[path]
        file[size:] = bytes(max(size - len(file), 0))

    def sync(self, path: str) -> None:
        self.store.open(path, write=True).sync()
        self.data[id(self.files[path])] = bytes(self.files[path])

    def delete(self, path: str) -> None:
        self.store.delete(path)
        self.kept.append(self.files.pop(path))

    def rename(self, old: str, new: str) -> None:
        self.store.rename(old, new)
        self.kept.append(self.files.get(new))
        self.files[new] = self.files.pop(old)

    def sync_folder(self, folder: str) -> None:
        self.store.sync_folder(folder)
        in_folder = {path for path in {*self.files, *self.names} if path.rpartition("/")[0] == folder}
        for path in in_folder:
            if path in self.files:
                self.names[path] = self.files[path]
            else:
                self.names.pop(path, None)


@pytest.mark.parametrize("seed", range(20))
def test_least_and_most_equal_a_naive_model(seed: int) -> None:
    """With nothing unsynced there the state is what was durable; with everything, what was there."""
    rng = random.Random(seed)
    store = started()
    model = NaiveModel(store)
    simulator = CrashSimulator(store.log)
    for _ in range(150):
        model.step(rng)
        simulator.advance(len(store.log))
        pending = simulator.pending()
        options = [simulator.options(item, poor=False) for item in pending]
        most = simulator.build(pending, tuple(choices[-1] for choices in options), "most")
        least = simulator.build(pending, tuple(choices[0] for choices in options), "least")
        assert content(most) == {path: bytes(file) for path, file in model.files.items()}
        assert content(least) == {path: model.data[id(file)] for path, file in model.names.items()}


def test_an_image_equals_a_bytearray_and_copies_stay_apart() -> None:
    rng = random.Random(3)
    pairs = [(Image(), bytearray())]
    for _ in range(400):
        image, model = rng.choice(pairs)
        offset, data = rng.randrange(20_000), rng.randbytes(rng.choice((0, 1, 4096, 9000)))
        match rng.randrange(4):
            case 0 if len(pairs) < 6:
                pairs.append((image.copy(), bytearray(model)))
            case 1:
                image.truncate(offset)
                model[offset:] = bytes(max(offset - len(model), 0))
            case 2:
                image.allocate(offset)
                model.extend(bytes(max(offset - len(model), 0)))
            case _:
                image.write(data, offset)
                if data:
                    model.extend(bytes(max(offset + len(data) - len(model), 0)))
                    model[offset : offset + len(data)] = data
        for image, model in pairs:
            assert image.size == len(model)
            assert image.read(offset, 500) == bytes(model[500 : 500 + offset])
