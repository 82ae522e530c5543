"""What the manifest keeps, and how videos are checked."""

import json
import os
import time

import pytest

from latte_cli.data.checking import Job, check_video, check_videos, stored_path
from latte_cli.data.journal import Verdict
from latte_cli.data.manifest import (
    Rejection,
    SourceVideo,
    VideoRecord,
    read_dataset,
    without_duplicates,
    write_dataset,
)
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import sha256_of
from latte_cli.sources import shapes
from latte_cli.video_io import write_video

RECORD = VideoRecord("a b.mp4", 3, 8.0, 64, 32, 1, None, "train", 10, "ff")
PROMISED = ["path", "frames", "fps", "width", "height", "label", "caption", "split", "bytes"]
PROMISED += ["sha256"]


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    other = VideoRecord(
        "/x/é\n.mp4", 9, 25.0, 8, 8, None, "a cat", "test", 1, "00", 90, True, "/x/mask.mp4"
    )
    write_dataset(tmp_path, [RECORD, other], [Rejection("c", "why")], ["x", "y"])
    dataset = read_dataset(tmp_path)
    assert dataset.videos == (RECORD, other)
    assert dataset.classes == ("x", "y")
    assert dataset.of_split("test") == (other,)
    assert dataset.of_split("all") == (RECORD, other)
    assert dataset.path_of(RECORD) == tmp_path / "a b.mp4"
    assert str(dataset.path_of(other)) == other.path, "absolute paths stay"
    rejected = json.loads((tmp_path / "rejected.jsonl").read_text())
    assert rejected == {"path": "c", "reason": "why"}


def test_the_manifest_has_the_documented_keys_first(tmp_path):
    write_dataset(tmp_path, [RECORD], [], [])
    row = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert list(row) == [
        *PROMISED,
        "rotation",
        "variable_fps",
        "mask",
        "mirrored",
        "pixel_aspect",
        "end",
        "more_captions",
    ]


def test_a_manifest_with_only_the_documented_keys_is_read(tmp_path):
    write_dataset(tmp_path, [], [], [])
    row = {key: getattr(RECORD, key) for key in PROMISED} | {"of a later version": 1}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    assert read_dataset(tmp_path).videos == (RECORD,)


def test_missing_empty_and_damaged_manifests_raise_an_error(tmp_path):
    with pytest.raises(DataError, match="no prepared data set"):
        read_dataset(tmp_path)
    write_dataset(tmp_path, [], [], [])
    with pytest.raises(DataError, match="holds no videos"):
        read_dataset(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"path": 1}\n')
    with pytest.raises(DataError, match="damaged"):
        read_dataset(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("}{\n{}\n")
    with pytest.raises(DataError, match="damaged"):
        read_dataset(tmp_path)


def test_missing_or_damaged_metadata_are_named_in_the_error(tmp_path):
    write_dataset(tmp_path, [RECORD], [], ["x"])
    for text in ('{"classes": ', "{}", "[]"):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(DataError, match=r"/meta\.json: is damaged"):
            read_dataset(tmp_path)
    (tmp_path / "meta.json").unlink()
    with pytest.raises(DataError, match=r"/meta\.json: is missing.*class names") as caught:
        read_dataset(tmp_path)
    assert caught.value.hint == "run `latte prepare` again"


def test_class_names_that_are_not_utf8_are_escaped(tmp_path):
    write_dataset(tmp_path, [RECORD], [], [os.fsdecode(b"\xff"), "\u00e9"])
    assert read_dataset(tmp_path).classes == (r"\udcff", "\u00e9")


def test_a_duplicate_is_rejected_unless_label_or_caption_differ():
    def record(path, label=0, caption=None, sha256="ff"):
        return VideoRecord(path, 3, 8.0, 64, 32, label, caption, "train", 10, sha256)

    rejected = Rejection("b", "why")
    different = [record("c", label=1), record("d", caption="a cat"), record("e", sha256="00")]
    outcomes = [record("a"), rejected, *different, record("f")]
    duplicate = Rejection("f", "a duplicate (its bytes are those of a)")
    assert list(without_duplicates(outcomes)) == [record("a"), rejected, *different, duplicate]


def test_valid_videos_become_records_and_others_are_rejected(tmp_path):
    write_video(tmp_path / "in" / "good.mp4", shapes.render_clip(0, num_frames=5), 8)
    (tmp_path / "in" / "bad.mp4").write_text("text")
    paths = [tmp_path / "in" / f"{name}.mp4" for name in ("good", "bad")]
    jobs = [Job(SourceVideo(path, 2, "test"), tmp_path / "in") for path in paths]
    found = {verdict.outcome.path: verdict for verdict in check_videos(jobs, workers=2)}
    good, bad = found["good.mp4"].outcome, found["bad.mp4"].outcome
    checksum = sha256_of(paths[0])
    size = paths[0].stat().st_size
    assert good == VideoRecord("good.mp4", 5, 8.0, 64, 64, 2, None, "test", size, checksum)
    assert isinstance(bad, Rejection)
    assert "cannot be decoded" in bad.reason
    assert str(tmp_path) not in bad.reason
    elsewhere = check_video(Job(jobs[0].source, tmp_path / "out"))
    assert elsewhere.outcome.path == str(paths[0]), "absolute outside the data set"


def test_a_files_stored_path_does_not_depend_on_how_it_is_given(tmp_path):
    real, link = tmp_path / "real" / "deep", tmp_path / "link"
    real.mkdir(parents=True)
    link.symlink_to(real)
    assert stored_path(real / ".." / "a.mp4", tmp_path / "d") == str(tmp_path / "real" / "a.mp4")
    assert stored_path(real / "a.mp4", real / ".." / "deep") == "a.mp4"
    assert stored_path(link / "a.mp4", tmp_path / "d") == str(link / "a.mp4"), "links stay"
    around = link / ".." / "a.mp4"
    assert stored_path(around, tmp_path / "d") == str(tmp_path / "real" / "a.mp4"), "as it is found"


def test_a_file_of_known_bytes_is_not_decoded_again(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    write_video(path, shapes.render_clip(0, num_frames=3), 8)
    first = check_video(Job(SourceVideo(path), tmp_path))
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr("latte_cli.data.checking.inspect_video", None)
    again = check_video(Job(SourceVideo(path), tmp_path, known=first))
    assert again.outcome == first.outcome
    assert again.stamp != first.stamp


def act_by_name(job, alive):
    """What a decoder may do, by the name of the file; answers tell who looked at it how often."""
    if "dies once" in job.name and not job.source.path.exists():
        job.source.path.touch()
        os._exit(1)
    if "dies" in job.name and "once" not in job.name:
        os._exit(1)
    if "hangs" in job.name:
        time.sleep(600)
    return Verdict(Rejection(job.name, "seen"), ())


def test_a_decoder_that_hangs_or_dies_rejects_only_its_own_file(tmp_path):
    names = ["a", "dies", "b", "hangs", "c", "dies once", "d"]
    jobs = [Job(SourceVideo(tmp_path / name), tmp_path) for name in names]
    verdicts = list(check_videos(jobs, workers=2, timeout_s=2, check=act_by_name))
    reasons = {verdict.outcome.path: verdict.outcome.reason for verdict in verdicts}
    assert len(verdicts) == len(names)
    assert reasons == {
        **dict.fromkeys(["a", "b", "c", "d"], "seen"),
        "dies": "the decoder crashed (exit code 1)",
        "dies once": "seen",
        "hangs": "the decoder hung (no new frame for 2 s)",
    }
    retried = {verdict.outcome.path for verdict in verdicts if verdict.stamp is None}
    assert retried == {"dies", "hangs"}, "the next run looks again at what says nothing of a file"
