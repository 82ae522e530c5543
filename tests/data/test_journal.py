"""The journal outlives what stops a run, and tells what has changed since."""

import errno
import os

import pytest

from latte_cli.data.journal import Journal, Verdict, stamp_of
from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord

RECORD = VideoRecord("b é\n.mp4", 3, 8.0, 64, 32, 1, "a cat", "train", 10, "ff", 90, True, "m.avi")
SOUND = Verdict(RECORD, ((10, 5), (7, 6)), ("ff", "00"))
REFUSED = Verdict(Rejection("a", "why"), ((10, 5),), ("ff",))
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
    with Journal(filled(path, SOUND, REFUSED, GIVEN_UP)) as journal:
        for verdict in (SOUND, REFUSED, GIVEN_UP):
            assert journal.get(verdict.outcome.path) == verdict
        assert journal.get("never seen") is None


def test_the_last_verdict_on_a_video_holds(path):
    newer = Verdict(Rejection("a", "another"), ((11, 6),), ("aa",))
    with Journal(filled(path, REFUSED, SOUND, newer)) as journal:
        assert journal.get("a") == newer
        newest = Verdict(Rejection("a", "a third"))
        journal.add(newest)
        assert journal.get("a") == newest


def test_a_verdict_is_on_its_way_to_the_disk_before_the_next(path):
    with Journal(path) as journal:
        journal.add(SOUND)
        assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_costs_itself_alone(path, cut):
    filled(path, SOUND, REFUSED)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.get(SOUND.outcome.path) == SOUND
        assert journal.get("a") == (REFUSED if cut == 1 else None), "1: the line's end alone"
        journal.add(REFUSED)
        journal.add(GIVEN_UP)
        assert journal.get("c") == GIVEN_UP
    with Journal(path) as journal:
        for verdict in (SOUND, REFUSED, GIVEN_UP):
            assert journal.get(verdict.outcome.path) == verdict


def test_lines_of_other_versions_and_rubbish_are_as_if_not_there(path):
    filled(path, SOUND)
    later = path.read_bytes().replace(b'"frames"', b'"pictures"').replace(b"b ", b"x ")
    rubbish = b'\n\0\0\0\xff\n[]\n{"outcome": 3}\nnull\n'
    path.write_bytes(later + rubbish + path.read_bytes())
    with Journal(path) as journal:
        assert journal.get(SOUND.outcome.path) == SOUND
        assert journal.get("x é\n.mp4") is None


def test_a_tidy_journal_does_not_tell_how_it_grew(path, tmp_path):
    newer = Verdict(Rejection("a", "another"), ((11, 6),), ("aa",))
    with Journal(filled(path, SOUND, REFUSED, newer)) as journal:
        journal.tidy()
        assert journal.get("a") == newer
        journal.add(GIVEN_UP)
        journal.tidy()
        assert journal.get(SOUND.outcome.path) == SOUND
    other = filled(tmp_path / "other", GIVEN_UP, newer, SOUND)
    with Journal(other) as journal:
        journal.tidy()
    assert path.read_bytes() == other.read_bytes()
    assert [path.name for path in path.parent.iterdir()] == ["checked.jsonl"]


def test_a_tidy_journal_is_left_alone(path):
    with Journal(filled(path, REFUSED, SOUND)) as journal:
        before = path.stat().st_ino
        journal.tidy()
    assert path.stat().st_ino == before


class FullDisk:
    """A disk with room for so many bytes more."""

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


def test_a_full_disk_is_told_by_the_journals_name_and_costs_the_last_line(path):
    with Journal(filled(path, SOUND)) as journal:
        journal._writing = FullDisk(journal._writing, room=20)
        with pytest.raises(OSError, match="No space left") as caught:
            journal.add(REFUSED)
        assert caught.value.filename == str(path)
    with Journal(path) as journal:
        assert journal.get(SOUND.outcome.path) == SOUND
        assert journal.get("a") is None
        journal.add(REFUSED)
        assert journal.get("a") == REFUSED


def test_a_verdict_stands_as_long_as_the_files_look_as_they_did(tmp_path):
    video, mask = tmp_path / "a.mp4", tmp_path / "m.mp4"
    video.write_bytes(b"video")
    mask.write_bytes(b"mask")
    source = SourceVideo(video, mask=mask)
    verdict = Verdict(RECORD, stamp_of(source))
    assert verdict.is_current(source, 120)
    assert not verdict.is_current(SourceVideo(video), 120), "a mask is a file of it"
    os.utime(mask, ns=(1, 1))
    assert not verdict.is_current(source, 120)
    verdict = Verdict(RECORD, stamp_of(source))
    mask.unlink()
    assert not verdict.is_current(source, 120)
    assert stamp_of(source) is None
    assert not Verdict(RECORD, None).is_current(source, 120), "nothing was learnt of the file"


def test_a_folder_of_frames_has_changed_if_any_frame_has(tmp_path):
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


def test_more_patience_gives_a_hanging_video_another_chance(tmp_path):
    (tmp_path / "c").touch()
    source = SourceVideo(tmp_path / "c")
    hung = Verdict(Rejection("c", "the decoder hung"), stamp_of(source), given_up_s=9.0)
    assert hung.is_current(source, 9.0)
    assert not hung.is_current(source, 10.0)
