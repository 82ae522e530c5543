"""The journal survives interruptions, and its stamps show which files have changed."""

import errno
import json
import os

import pytest

from latte_cli.data import journal as journals
from latte_cli.data.journal import Journal, Verdict, stamp_of
from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord

RECORD = VideoRecord("b é\n.mp4", 3, 8.0, 64, 32, 1, "a cat", "train", 10, "ff", 90, True, "m.avi")
ACCEPTED = Verdict(RECORD, ((10, 5), (7, 6)), ("ff", "00"))
REJECTED = Verdict(Rejection("a", "why"), ((10, 5),), ("ff",))
GIVEN_UP = Verdict(Rejection("c", "the decoder hung"), ((10, 5),), given_up_s=9.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "checked.jsonl"


def filled(path, *verdicts):
    with Journal(path) as journal:
        for verdict in verdicts:
            journal.add(verdict)
    return path


def test_verdicts_are_read_as_they_were_written(path):
    with Journal(filled(path, ACCEPTED, REJECTED, GIVEN_UP)) as journal:
        for verdict in (ACCEPTED, REJECTED, GIVEN_UP):
            assert journal.get(verdict.outcome.path) == verdict
        assert journal.get("never seen") is None


def test_the_last_verdict_on_a_video_counts(path):
    newer = Verdict(Rejection("a", "another"), ((11, 6),), ("aa",))
    with Journal(filled(path, REJECTED, ACCEPTED, newer)) as journal:
        assert journal.get("a") == newer
        newest = Verdict(Rejection("a", "a third"))
        journal.add(newest)
        assert journal.get("a") == newest


def test_a_verdict_is_written_at_once(path):
    with Journal(path) as journal:
        journal.add(ACCEPTED)
        assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_truncated_line_loses_only_its_own_verdict(path, cut):
    filled(path, ACCEPTED, REJECTED)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.get(ACCEPTED.outcome.path) == ACCEPTED
        assert journal.get("a") == (REJECTED if cut == 1 else None), "1: only a newline"
        journal.add(REJECTED)
        journal.add(GIVEN_UP)
        assert journal.get("c") == GIVEN_UP
    with Journal(path) as journal:
        for verdict in (ACCEPTED, REJECTED, GIVEN_UP):
            assert journal.get(verdict.outcome.path) == verdict


def test_damaged_lines_and_those_of_other_versions_are_ignored(path):
    filled(path, ACCEPTED)
    later = path.read_bytes().replace(b'"frames"', b'"pictures"').replace(b"b ", b"x ")
    rubbish = b'\n\0\0\0\xff\n[]\n{"outcome": 3}\nnull\n'
    path.write_bytes(later + rubbish + path.read_bytes())
    with Journal(path) as journal:
        assert journal.get(ACCEPTED.outcome.path) == ACCEPTED
        assert journal.get("x é\n.mp4") is None


def test_a_line_with_another_value_in_it_is_no_verdict(path):
    """It is still a line of JSON of the right types."""
    whole = filled(path, ACCEPTED).read_bytes()
    for digit in (b'"frames": ', b'"fps": ', b'"bytes": '):
        at = whole.index(digit) + len(digit)
        changed = b"8" if whole[at : at + 1] != b"8" else b"7"
        path.write_bytes(whole[:at] + changed + whole[at + 1 :])
        with Journal(path) as journal:
            assert journal.get(ACCEPTED.outcome.path) is None


def test_a_tidy_journal_does_not_depend_on_the_order_of_verdicts(path, tmp_path):
    newer = Verdict(Rejection("a", "another"), ((11, 6),), ("aa",))
    with Journal(filled(path, ACCEPTED, REJECTED, newer)) as journal:
        journal.tidy()
        assert journal.get("a") == newer
        journal.add(GIVEN_UP)
        journal.tidy()
        assert journal.get(ACCEPTED.outcome.path) == ACCEPTED
    other = filled(tmp_path / "other", GIVEN_UP, newer, ACCEPTED)
    with Journal(other) as journal:
        journal.tidy()
    assert path.read_bytes() == other.read_bytes()
    assert [path.name for path in path.parent.iterdir()] == ["checked.jsonl"]


def test_a_tidy_journal_is_not_rewritten(path):
    with Journal(filled(path, REJECTED, ACCEPTED)) as journal:
        before = path.stat().st_ino
        journal.tidy()
    assert path.stat().st_ino == before


class FullDisk:
    """A disk with room for a few more bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(data[: self._room])
        self._room -= written
        return written

    def close(self):
        self._file.close()


def test_a_full_disk_is_reported_with_the_journals_path_and_loses_one_line(path):
    with Journal(filled(path, ACCEPTED)) as journal:
        journal._writing = FullDisk(journal._writing, room=20)
        with pytest.raises(OSError, match="No space left") as caught:
            journal.add(REJECTED)
        assert caught.value.filename == str(path)
    with Journal(path) as journal:
        assert journal.get(ACCEPTED.outcome.path) == ACCEPTED
        assert journal.get("a") is None
        journal.add(REJECTED)
        assert journal.get("a") == REJECTED


def test_a_verdict_is_current_while_size_and_time_of_the_files_are_unchanged(tmp_path):
    video, mask = tmp_path / "a.mp4", tmp_path / "m.mp4"
    video.write_bytes(b"video")
    mask.write_bytes(b"mask")
    source = SourceVideo(video, mask=mask)
    verdict = Verdict(RECORD, stamp_of(source))
    assert verdict.is_current(source, 120)
    assert not verdict.is_current(SourceVideo(video), 120), "the mask counts, too"
    os.utime(mask, ns=(1, 1))
    assert not verdict.is_current(source, 120)
    verdict = Verdict(RECORD, stamp_of(source))
    mask.unlink()
    assert not verdict.is_current(source, 120)
    assert stamp_of(source) is None
    assert not Verdict(RECORD, None).is_current(source, 120), "it does not depend on the file"


def test_any_changed_frame_changes_the_stamp_of_its_folder(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"frame")
    stamps = [stamp_of(SourceVideo(tmp_path))]
    (tmp_path / "1.png").write_bytes(b"longer frame")
    stamps.append(stamp_of(SourceVideo(tmp_path)))
    os.utime(tmp_path / "2.png", ns=(2**62, 2**62))
    stamps.append(stamp_of(SourceVideo(tmp_path)))
    (tmp_path / "3.png").write_bytes(b"")
    stamps.append(stamp_of(SourceVideo(tmp_path)))
    (tmp_path / "3.png").rename(tmp_path / "4.png")
    stamps.append(stamp_of(SourceVideo(tmp_path)))
    assert len(set(stamps)) == 5


def test_a_longer_timeout_checks_a_hanging_video_again(tmp_path):
    (tmp_path / "c").touch()
    source = SourceVideo(tmp_path / "c")
    hung = Verdict(Rejection("c", "the decoder hung"), stamp_of(source), given_up_s=9.0)
    assert hung.is_current(source, 9.0)
    assert not hung.is_current(source, 10.0)


@pytest.mark.parametrize(("name", "is_same"), [("{:03d}.png", True), ("frame ({}).png", False)])
def test_frames_in_another_order_are_another_video(tmp_path, monkeypatch, name, is_same):
    """So that a data set made by a version that sorted names otherwise is checked again."""
    for number in range(12):
        (tmp_path / name.format(number)).touch()
    now = stamp_of(SourceVideo(tmp_path))
    monkeypatch.setattr(journals, "in_natural_order", sorted)
    assert (stamp_of(SourceVideo(tmp_path)) == now) is is_same


@pytest.mark.parametrize(
    ("key", "value"),
    [("given_up_s", [9]), ("given_up_s", "soon"), ("stamp", [1]), ("checksums", 3), ("outcome", 3)],
)
def test_a_line_with_values_of_other_types_is_no_verdict(path, key, value):
    row = json.loads(filled(path, GIVEN_UP).read_text())
    path.write_text(json.dumps({**row, key: value}) + "\n")
    with Journal(path) as journal:
        assert journal.get("c") is None
