"""Features: the same whatever the batch, the run and the processes; kept whatever happens."""

import json
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import succeed
from helpers.eval_data import QUIET, flat, mp4_folder, prepared, small

from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.features.extracting import ClipExtraction, FeatureExtraction
from latte_cli.evaluation.features.extractors import FeatureExtractor, open_feature_extractor
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*published numbers take 2048")


def evaluation(root, *overrides, batch=8, by_name=None):
    config = small(*overrides)
    context = EvalContext(root / "features", batch=batch)
    made = Evaluation.open(config, context, QUIET)
    return made if by_name is None else replace(made, extractors=by_name)


def clip_sets(made, real, fake):
    protocol, seen = made.protocol, made.context.survey_cache
    return [
        made.clip_set(name, open_source(path, protocol, made.config, seen, QUIET))
        for name, path in (("real", real), ("fake", fake))
    ]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return prepared(root / "real", 8, 12), mp4_folder(root / "fake", 7, 5, seed=1)


@pytest.fixture
def folders(tmp_path, made_once):
    return [shutil.copytree(folder, tmp_path / folder.name) for folder in made_once]


def test_numbers_do_not_depend_on_the_batch_size(tmp_path, folders):
    found = {}
    for batch in (1, 4, 16):
        made = evaluation(tmp_path / str(batch), "eval.draws=3", batch=batch)
        found[batch] = made.run(*clip_sets(made, *folders)).numbers["fd-random"]
    assert found[1] == found[4] == found[16], "bit for bit, intervals and draws included"
    assert found[1].value > 0


def test_numbers_do_not_depend_on_the_number_of_processes(tmp_path, folders):
    words = ["eval", f"--real={folders[0]}", f"--fake={folders[1]}", *flat(), "--seed=3"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    two = [f"--features-root={tmp_path / 'two'}", f"--out={tmp_path / 'two.json'}"]
    command = [sys.executable, *torchrun, "-m", "latte_cli", "--json", *words, *two]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count('"metrics"') == 1, "one process speaks for all"
    succeed(*words, f"--features-root={tmp_path / 'one'}", f"--out={tmp_path / 'one.json'}")
    one, both = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("one", "two"))
    assert one["metrics"] == both["metrics"]
    assert one["protocol"]["hash"] == both["protocol"]["hash"]


def test_two_networks_share_one_read_of_each_clip(tmp_path, folders):
    made = evaluation(tmp_path, "eval.metrics=fd-random,direction", "eval.clips=4")
    real, fake = clip_sets(made, *folders)
    reads = []
    source_read = fake.source.read

    def counted(wanted, finish):
        reads.extend(each.video.name for each in wanted)
        yield from source_read(wanted, finish)

    fake.source.read = counted
    numbers = made.run(real, fake).numbers
    assert set(numbers) == {"fd-random", "direction"}
    assert len(reads) == len(set(reads)) == 4


def test_a_second_run_reads_no_real_video(tmp_path, folders):
    """The files are gone; more draws ask for more clips, and so for the files."""
    made = evaluation(tmp_path)
    first = made.run(*clip_sets(made, *folders))
    for path in (folders[0] / "videos").glob("*.mp4"):
        path.unlink()
    made = evaluation(tmp_path)
    again = made.run(*clip_sets(made, *folders))
    assert again.numbers == first.numbers
    more = evaluation(tmp_path, "eval.draws=2")
    with pytest.raises(Exception, match="no such file"):
        more.run(*clip_sets(more, *folders))


def extractor(broken=()):
    """The random network, which gives NaN for the clips whose numbers are in `broken`."""
    plain = open_feature_extractor("random3d", 4, None, trust_torchscript=False)
    count = 0

    def rows(clips):
        nonlocal count
        found = plain.rows(clips)
        for number in range(len(clips)):
            if count in broken:
                found[number] = np.nan
            count += 1
        return found

    return {"random3d": FeatureExtractor("random3d", plain.weights, False, rows)}


def test_the_error_for_features_that_are_not_finite_names_the_clip(tmp_path, folders):
    made = evaluation(tmp_path, batch=2, by_name=extractor(broken=[3]))
    real, fake = clip_sets(made, *folders)
    with pytest.raises(DataError, match=r"videos/.*|0000\d-seed0.*: the features") as caught:
        made.run(real, fake)
    assert "not finite" in str(caught.value)
    assert "mp4: the features of random3d" in str(caught.value)
    keys = [ref.key for ref in real.plan.draws[0]]
    assert sum(key in real.stores["random3d"] for key in keys) == 3

    extracted = []
    made = evaluation(tmp_path, batch=1)
    plain = made.extractors["random3d"]
    count = FeatureExtractor(
        "random3d", plain.weights, False, lambda c: extracted.append(c) or plain.rows(c)
    )
    made = evaluation(tmp_path, batch=1, by_name={"random3d": count})
    assert made.run(*clip_sets(made, *folders)) is not None
    total = len(keys) + len(fake.plan.draws[0])
    assert len(extracted) == total - 3, "the rest, and no more"


def test_an_interruption_keeps_extracted_features(tmp_path, folders):
    made = evaluation(tmp_path, batch=1)
    real, fake = clip_sets(made, *folders)
    plain, count = made.extractors["random3d"], []

    def rows(clips):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return plain.rows(clips)

    broken = {"random3d": FeatureExtractor("random3d", plain.weights, False, rows)}
    with pytest.raises(KeyboardInterrupt):
        evaluation(tmp_path, batch=1, by_name=broken).run(real, fake)
    store = FeatureStore(tmp_path / "features", "random3d", _made(real))
    assert sum(ref.key in store for ref in real.plan.draws[0]) == 2
    assert not list((tmp_path / "features" / "claims").iterdir()), "nothing stays claimed"


def _made(clip_set):
    meta = json.loads((clip_set.stores["random3d"].folder / "meta.json").read_text())
    return {key: value for key, value in meta.items() if key != "network"}


def test_each_setting_has_its_own_store(tmp_path):
    made = {"size": 32, "crop": "crop-resize", "compression": "none", "weights": "a"}
    folders = {
        FeatureStore(tmp_path, "i3d", {**made, key: "other"}).folder
        for key in (*made, "something else")
    }
    assert len(folders) == 5


def test_a_damaged_file_of_features_is_replaced(tmp_path, folders):
    made = evaluation(tmp_path)
    real, fake = clip_sets(made, *folders)
    first = made.run(real, fake)
    for file in real.stores["random3d"].folder.glob("part-*"):
        file.write_bytes(file.read_bytes()[:-10])
    made = evaluation(tmp_path)
    assert made.run(*clip_sets(made, *folders)).numbers == first.numbers


def test_a_store_round_trips(tmp_path):
    store = FeatureStore(tmp_path, "inception", {})
    rows = {f"clip {n}": np.full((n, 3), n, np.float32) for n in range(1, 6)}
    for part in (["clip 1", "clip 4"], ["clip 2"], ["clip 5", "clip 3"]):
        store.add({key: rows[key] for key in part}, dict.fromkeys(part, 0.5))
    store.add({}, {})
    again = FeatureStore(tmp_path, "inception", {})
    assert np.array_equal(again.matrix(list(rows)), np.concatenate(list(rows.values())))
    assert again.row_count("clip 5") == 5
    assert again.seconds(rows) == [0.5] * 5
    assert "clip 6" not in again
    assert {key for key, _ in again.blocks(list(rows))} == set(rows)


def test_few_clips_are_in_memory_at_a_time(tmp_path):
    """However many there are: clips are released once their features are extracted."""
    folder, alive, most = mp4_folder(tmp_path / "f", 24, 4), [0], [0]

    class Held(np.ndarray):
        pass

    def finish(clip, video):
        held = clip.view(Held)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        weakref.finalize(held, lambda: alive.__setitem__(0, alive[0] - 1))
        return held

    config = small()
    protocol = protocol_from(config)
    source = open_source(folder, protocol, config, tmp_path / "seen", QUIET)
    plain = open_feature_extractor("random3d", 4, None, trust_torchscript=False)
    stores = {"random3d": FeatureStore(tmp_path / "features", "random3d", {})}
    refs = [ClipRef(video, range(4)) for video in source.videos]
    work = ClipExtraction(source, finish, {"random3d": plain}, 2)
    extraction = FeatureExtraction(work, stores, tmp_path / "claims", "fake")
    extraction.run({"random3d": refs}, QUIET)
    assert all(ref.key in stores["random3d"] for ref in refs)
    assert most[0] <= 14, "a batch, and what threads have read ahead"


def test_features_of_the_random_network_do_not_depend_on_the_batch(tmp_path):
    random = open_feature_extractor("random3d", 4, None, trust_torchscript=False)
    clips = torch.randint(0, 256, (5, 4, 40, 40, 3), dtype=torch.uint8)
    together = random.rows(clips)
    assert together.shape == (5, 1, 120)
    for number in range(5):
        assert np.array_equal(random.rows(clips[number : number + 1])[0], together[number])
    assert (
        random.weights
        == open_feature_extractor("random3d", 8, None, trust_torchscript=False).weights
    )
